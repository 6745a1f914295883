"""The documentation is true where a machine can tell: its schemas load, its code compiles, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from keyweave_generator.load import load_sources

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])


def blocks(page: Path, language: str) -> list[str]:
    """The fenced code blocks of one language."""
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), target


def test_the_first_schema_loads() -> None:
    package, purchase = blocks(ROOT / "docs" / "getting-started.md", "yaml")
    schema = load_sources({"package.yaml": package, "purchase.yaml": purchase})
    assert [entity.name for entity in schema.entities] == ["Purchase"]


def test_the_readmes_entity_loads_and_its_code_runs() -> None:
    package = (ROOT / "schema" / "package.yaml").read_text(encoding="utf-8")
    (entity,) = blocks(ROOT / "README.md", "yaml")
    assert load_sources({"package.yaml": package, "user.yaml": entity}).entities[0].name == "User"
    (signatures,) = blocks(ROOT / "README.md", "py")
    generated = (ROOT / "generated" / "compozy_store" / "sync" / "user.py").read_text(encoding="utf-8")
    assert all(line in generated.splitlines() for line in signatures.splitlines())
    (code,) = blocks(ROOT / "README.md", "python")
    exec(compile(code, "README.md", "exec"), {})


def test_every_example_of_the_reference_is_accepted() -> None:
    page = ROOT / "docs" / "schema-reference.md"
    (package,) = blocks(page, "yaml")
    rows = re.findall(r"^\| `\w+` \| .* \| `(.+)` \|$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    fields = """
fields:
  isbn: {type: id}
  title: {type: string}
  shelf: {type: Shelf, default: open}
  reader: {type: string, optional: true}
  part_of: {type: id, optional: true}
  marks: {type: list, of: Mark, default: []}
"""
    parts = [row for row in rows if not row.startswith("views")]
    views = next(row for row in rows if row.startswith("views"))
    views = views[:-1] + ", by_part_of: {fields: [part_of], order: created, why: Parts of a book.}}"
    schema = load_sources({"package.yaml": package, "book.yaml": "\n".join([*parts, views, fields])})
    book = schema.entities[0]
    assert book.retention is not None and book.merges and book.hierarchy and book.uniques and book.checks
