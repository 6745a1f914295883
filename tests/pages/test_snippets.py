"""Every snippet of the README and of the pages runs as it stands, unless a comment before it gives a reason."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Final

import pytest

from keyweave_generator.load import load
from keyweave_generator.output import write
from keyweave_generator.render import render
from keyweave_generator.scaffold import project, write_new
from tests.pages.story import READ_ONLY
from tests.snippets import fits, snippets, typed
from tests.test_docs import PAGES, ROOT, label

ELSEWHERE: Final = {
    "docs/engine.md": "tests/engine/test_engine_page.py",
    "docs/from-postgresql.md": "tests/adopt/test_page.py",
    "docs/telemetry.md": "tests/telemetry/test_page.py",
    "examples/langgraph/README.md": "examples/langgraph/tests/test_readme.py",
}
"""Pages whose snippets another test runs, because they are about another package than the shop, or need a port or a PostgreSQL."""

OUTER: Final = ("KEYWEAVE", "PYTEST", "MAKE", "MFLAGS")
"""Variables of this run that must not reach a page begin with one of these words."""


def with_snippets() -> list[Path]:
    """The pages with a snippet that runs here."""
    return [
        page
        for page in PAGES
        if label(page) not in ELSEWHERE
        and any(
            each.not_run is None and each.excerpt_of is None and each.language not in READ_ONLY
            for each in snippets(page.read_text(encoding="utf-8"))
        )
    ]


def test_every_snippet_runs(tmp_path: Path) -> None:
    """In one process, which forks for each page: the imports take longer than the snippets."""
    pages = with_snippets()
    assert len(pages) > 12
    write_new(tmp_path / "shop", project("shop", example=True))
    write(tmp_path / "shop" / "generated", render(load(tmp_path / "shop" / "schema")))
    environment = {name: value for name, value in os.environ.items() if not name.startswith(OUTER)}
    programs = str(Path(sys.executable).parent)
    done = subprocess.run(
        [sys.executable, "-m", "tests.pages.story", str(tmp_path), *map(str, pages)],
        cwd=tmp_path,
        env={
            **environment,
            "PATH": f"{programs}{os.pathsep}{environment['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_what_is_not_run_has_a_reason(page: Path) -> None:
    for each in snippets(page.read_text(encoding="utf-8")):
        assert each.not_run is None or len(each.not_run.split()) >= 3, (page, each.line)


def stands_in(part: str, text: str) -> bool:
    """Whether the lines of `part` stand in a text, one after another, all of them indented alike."""
    return any(f"\n{textwrap.indent(part, ' ' * depth)}" in f"\n{text}" for depth in range(0, 17, 4))


def test_a_part_of_a_file_stands_in_that_file() -> None:
    """It is not run here: the file is, by its own tests."""
    shown = [
        (page, each)
        for page in PAGES
        for each in snippets(page.read_text(encoding="utf-8"))
        if each.excerpt_of is not None
    ]
    assert len(shown) > 10
    for page, each in shown:
        text = (ROOT / str(each.excerpt_of)).read_text(encoding="utf-8")
        assert stands_in(each.text, text), (label(page), each.line)


def test_a_part_is_whole_lines_in_their_order() -> None:
    text = "def f():\n    if a:\n        b()\n    c()\n"
    assert stands_in("if a:\n    b()\n", text) and stands_in("c()\n", text)
    assert not any(stands_in(each, text) for each in ("if a:\n    c()\n", "()\n", "if a:\nb()\n"))


def test_no_block_is_overlooked() -> None:
    """Every line that opens a block with a language is found by the parser."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        opened = [
            number
            for number, line in enumerate(text.splitlines(), 1)
            if line.lstrip().startswith("```") and line.strip("` \n")
        ]
        assert [each.line for each in snippets(text) if each.language] == opened, page


def test_pages_that_are_run_elsewhere_are_there() -> None:
    for page, test in ELSEWHERE.items():
        assert (ROOT / page).is_file() and Path(page).name in (ROOT / test).read_text(encoding="utf-8")


def test_the_parser_reads_what_stands_before_a_block() -> None:
    text = (
        "A file, `a/b.py`:\n\n```python\na = 1\n```\n\n"
        "<!-- not run: it needs docker -->\n```console\n$ a\n```\n\n"
        "<!-- setup\nb = 2\n-->\n<!-- exit 3 0 -->\n```console\n$ a \\\n> b\\\n  e\nc\n$ d\n```\n\n- x\n\n  ```json\n  {}\n  ```\n\n"
        "<!-- setup\nc = 4\n-->\n\n<!-- other -->\n"
    )
    first, second, third, fourth, last = snippets(text)
    assert (first.line, first.path, first.text) == (3, "a/b.py", "a = 1\n")
    assert (second.not_run, second.path) == ("it needs docker", None)
    assert (third.setup.strip(), third.exits) == ("b = 2", (3, 0))
    assert [(each.command, each.output) for each in typed(third.text)] == [
        ("a \\\nb\\\n  e", "c\n"),
        ("d", ""),
    ]
    assert (last.language, last.setup, last.line) == ("", "c = 4\n", 30)
    assert snippets("```python a/b.py\n```\n")[0].excerpt_of == "a/b.py"
    assert (fourth.language, fourth.text) == ("json", "{}\n")


def test_a_section_is_left_out_as_a_whole() -> None:
    text = "## A\n\n<!-- section not run: b c d -->\n\n```python\n```\n\n```yaml\n```\n\n## B\n\n```python\n```\n"
    assert [each.not_run for each in snippets(text)] == ["b c d", "b c d", None]


@pytest.mark.parametrize(
    ("shown", "real", "same"),
    [
        ("a 1", "a 1\n", True),
        ("a 1", "a 2\n", False),
        ("a…z", "a\nb\nz", True),
        ("a", "a\nb", False),
        ("at 2026-01-01T00:00:00Z", "at 2026-11-28T21:34:38.914561Z", True),
        ("== 5 passed in 0.73s ==", "==== 5 passed in 12.1s ====", True),
        ("== 5 passed in 0.73s ==", "==== 4 passed in 12.1s ====", False),
    ],
)
def test_outputs_are_compared_but_for_moments_and_durations(shown: str, real: str, same: bool) -> None:
    assert fits(shown, real) is same
