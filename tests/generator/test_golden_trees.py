"""The golden trees run every line of the rendering that any schema runs, so that a change of it shows in one of them."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, Final

import keyweave_generator
from keyweave_generator.load import load_sources
from keyweave_generator.model import Schema
from keyweave_generator.scripts import scripts
from tests.generator.accepted.corpus import GOLDEN, NAMES, sources, unformatted
from tests.generator.example import real_sources

HOME: Final = str(Path(keyweave_generator.__file__).parent)
CASES: Final = Path(__file__).resolve().parent.parent / "cases"
TEMPLATE: Final = "<template>"
"""What Jinja calls the file of a compiled template."""

ELSEWHERE: Final = {"names.py", "pattern.py"}
"""Left out: the stories of the cases call everything by the names that it makes; `test_pattern` shows every form."""


def lines_run(schema: Schema) -> set[tuple[str, int]]:
    """The lines of modules and compiled templates that rendering a schema runs, its formatting aside."""
    found: set[tuple[str, int]] = set()

    def line(frame: FrameType, event: str, _: object) -> Any:
        if event == "line":
            file = frame.f_code.co_filename
            found.add(
                (frame.f_globals.get("name", "") if file == TEMPLATE else Path(file).name, frame.f_lineno)
            )
        return line

    def call(frame: FrameType, _: str, __: object) -> Any:
        file = frame.f_code.co_filename
        return line if file == TEMPLATE or file.startswith(HOME) else None

    scripts.cache_clear()  # no matter which schema or test made them first
    before = sys.gettrace()
    sys.settrace(call)
    try:
        unformatted(schema)
    finally:
        sys.settrace(before)
    return found


def test_a_golden_tree_shows_every_line_that_any_schema_runs() -> None:
    ran = {name: lines_run(load_sources(sources(name))) for name in NAMES}
    shown = lines_run(load_sources(real_sources())).union(*(ran[name] for name in GOLDEN))
    hidden = {
        f"{name}: {module}:{number}"
        for name, lines in ran.items()
        for module, number in lines - shown
        if module not in ELSEWHERE
    }
    assert sorted(hidden) == [], "let the case `complete` use it as well"


def test_expected_texts_stay_under_4000_lines() -> None:
    """Golden trees, and the texts of rejected schemas and of changes."""
    expected = [
        *(path for path in (CASES / "accepted").glob("*/expected/**/*") if path.is_file()),
        *(CASES / "rejected").glob("*/stderr.txt"),
        *(CASES / "changes").glob("*/expected.txt"),
    ]
    lines = sum(len(path.read_text("utf-8").splitlines()) for path in expected)
    assert 2_000 < lines < 4_000
