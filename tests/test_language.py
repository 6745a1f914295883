"""Words that house style has replaced: they may not come back into names, docstrings, comments or pages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent

REPLACED: Final = {
    r"whoever|whosoever": "name the actor: the caller, another process",
    r"nobody|somebody|everybody": "name the actor: no caller, another process, every caller",
    r"told|tells?": "report, return or log",
    r"in_vain|in vain": "without a result",
    r"dear|dearer|dearest": "expensive, slower",
    r"spend|spends": "take; of a duration: record_duration",
    r"mend|mends|mendable": "repair",
    r"tended|tidied|untidy|hasty|kin": "sweepers, swept_by_writes, without_retries, row_and_referrers",
    r"looked(?!.up)": "examined; of a key: looked up",
    r"doom|doomed": "_as_deletion",
}
"""What may not come back -> what to write."""

WHO: Final = r"(?:^|[.:;(] )who |test_who_|\bto who\b|\bfor who\b"
"""`who` without a person before it. A user, an operator or a developer may be followed by `who`."""

CODE: Final = ("runtime", "generator", "engine", "examples", "tests", "tools")
PAGES: Final = [
    *(ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")),
    *ROOT.glob("examples/*/README.md"),
]

PUBLIC: Final = {"mended"}
"""Names of the interface that keep an older word: `Repairs.mended`, and the key `mended` of `keyweave reindex --format json`."""

ONE_MEANING: Final = {
    "Finding": "keyweave.health.report",
    "ChangeFinding": "keyweave_generator.changes.finding",
    "Drift": "keyweave.integrity.drift",
    "Progress": "keyweave.integrity.survey",
    "Page": "keyweave.model.page",
    "Review": "keyweave_generator.changes.finding",
}
"""Classes whose name stands for one thing -> the module that defines it."""


def python_files() -> list[Path]:
    return sorted(
        path
        for folder in CODE
        for path in (ROOT / folder).rglob("*.py")
        if "cases" not in path.parts and path != Path(__file__).resolve()
    )


def lua_files() -> list[Path]:
    return sorted((ROOT / "generator/keyweave_generator/lua").rglob("*.lua"))


def words_of(path: Path) -> Iterator[tuple[int, str]]:
    """Names, docstrings and comments of a Python file, with their lines; texts that are data are left out."""
    source = path.read_text("utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            if isinstance(node.value.value, str):
                yield node.lineno, " ".join(node.value.value.split())
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def found(text: str) -> Iterator[str]:
    """The replaced words in a text; words of a name are joined by `_`, and code in backquotes is left out."""
    plain = re.sub(r"`[^`]*`", "", text)
    for pattern, better in REPLACED.items():
        for match in re.finditer(rf"(?<![A-Za-z])(?:{pattern})(?![A-Za-z])", plain, re.IGNORECASE):
            if match[0] not in PUBLIC:
                yield f"{match[0]!r}: {better}"
    for match in re.finditer(WHO, plain, re.IGNORECASE):
        yield f"{match[0]!r}: name the actor"


def report(path: Path, words: Iterator[tuple[int, str]]) -> list[str]:
    place = path.relative_to(ROOT).as_posix()
    return [f"{place}:{line}: {each}" for line, text in words for each in found(text)]


@pytest.mark.parametrize("folder", CODE)
def test_no_replaced_word_comes_back_into_code(folder: str) -> None:
    files = [path for path in python_files() if path.is_relative_to(ROOT / folder)]
    assert files
    assert [each for path in files for each in report(path, words_of(path))] == []


def test_no_replaced_word_comes_back_into_scripts_and_pages() -> None:
    files = [*lua_files(), *PAGES, *sorted((ROOT / "docs").rglob("*.md"))]
    assert len(files) > 30
    assert [
        each for path in files for each in report(path, enumerate(path.read_text("utf-8").splitlines(), 1))
    ] == []


def test_the_search_finds_names_docstrings_and_comments(tmp_path: Path) -> None:
    path = tmp_path / "a.py"
    path.write_text(
        'def test_who_waits_is_told() -> None:\n    """Whoever asks is answered."""\n    spend = 1  # in vain\n',
        "utf-8",
    )
    assert sorted({line for line, text in words_of(path) for _ in found(text)}) == [1, 2, 3]
    assert len([each for _, text in words_of(path) for each in found(text)]) == 5
    assert not list(found("A user who may look a key up; `Repairs.mended`; the index that was looked up"))


def test_a_class_name_stands_for_one_thing() -> None:
    defined: dict[str, list[str]] = {name: [] for name in ONE_MEANING}
    for path in (path for folder in ("runtime", "generator") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name in defined:
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts[1:])
                defined[node.name].append(module)
    assert defined == {name: [module] for name, module in ONE_MEANING.items()}
