"""The parts of the documentation that a machine can check: its schemas load, its code compiles, its links have targets."""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from itertools import chain
from pathlib import Path

import pytest

import keyweave
from keyweave.cli.commands import GROUP
from keyweave.telemetry.catalogue import METRICS, SPAN_ATTRIBUTES
from keyweave_generator.load import load, load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render
from keyweave_generator.scaffold import project
from keyweave_generator.scripts import scripts
from tests.snippets import blocks, schema_files
from tools.site.navigation import INDEX

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("examples/*/README.md"), *DOCS.rglob("*.md")])
IN_DOCS = [page for page in PAGES if page.is_relative_to(DOCS)]


def label(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> list[str]:
    """The targets of a page's links; what looks like one inside a code block is none."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"\]\(([^)\s]+)\)", text)


def anchors(page: Path) -> set[str]:
    """The fragments by which a page's headings can be linked to, as GitHub makes them."""
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_python_compiles(page: Path) -> None:
    for block in blocks(page, "python"):
        compile(block, page.name, "exec")


@pytest.mark.parametrize("page", PAGES, ids=label)
def test_links_have_targets(page: Path) -> None:
    for link in links(page):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if fragment and target.suffix == ".md":
            assert fragment in anchors(target), link


def test_pages_install_the_wheel_of_this_version() -> None:
    named = {
        name
        for page in PAGES
        for name in re.findall(r"keyweave-[\d.]+-py3-none-any\.whl", page.read_text(encoding="utf-8"))
    }
    assert named == {f"keyweave-{keyweave.__version__}-py3-none-any.whl"}


def test_the_readme_names_what_ci_calls() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in ("demo", "test", "docs", "first-row"):
        assert f"$ make {target} " in text
        assert f"\n{target}: " in (ROOT / "Makefile").read_text(encoding="utf-8")


def test_the_index_names_every_page_once() -> None:
    named = [DOCS / link.partition("#")[0] for link in links(INDEX)]
    assert sorted(page for page in named if page in IN_DOCS) == sorted(
        page for page in IN_DOCS if page != INDEX
    )


def test_the_guide_for_contributors_names_files_that_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:runtime|generator|generated|engine|schema|tests|tools|docs)/[^`\s]*)`", text)
    assert len(named) > 30
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_pages_and_docstrings_name_modules_that_there_are() -> None:
    """Names of the runtime and the generator, except for those of metrics, attributes and the entry point group."""
    sources = chain(
        *((ROOT / folder).rglob("*.py") for folder in ("runtime", "generator", "engine", "tools"))
    )
    texts = [path.read_text(encoding="utf-8") for path in (*PAGES, *sources)]
    named = {name for text in texts for name in re.findall(r"`(keyweave(?:_generator)?(?:\.\w+)+)`", text)}
    reported = {GROUP, *SPAN_ATTRIBUTES}
    for metric in METRICS:
        reported |= {metric.name, metric.name.rpartition(".")[0], *metric.attributes}
    assert len(named - reported) > 20
    for name in sorted(named - reported):
        pkgutil.resolve_name(name)


def test_the_page_on_reads_names_commands_and_scripts_that_there_are() -> None:
    text = (DOCS / "how-a-read-works.md").read_text(encoding="utf-8")
    sent = re.findall(r"^\| .* \| `(\w+)`.* \|$", text, flags=re.MULTILINE)
    assert len(sent) > 10
    assert {name for name in sent if not name.isupper()} <= scripts().keys()


def test_the_schema_of_the_guide_is_that_of_a_new_project() -> None:
    shown = schema_files(ROOT / "docs" / "getting-started.md")
    files = project("shop", example=True)
    assert shown.pop("schema/order.yaml") == files["schema/order.yaml"]
    ((path, text),) = shown.items()
    entities = {name.removeprefix("schema/"): text for name, text in files.items() if "schema/" in name}
    assert load_sources(entities | {"package.yaml": text}) is not None
    assert path == "schema/package.yaml"


def test_the_readmes_schema_yields_its_signatures_and_its_code_runs(tmp_path: Path) -> None:
    """In a process of its own, so that the generated package is imported from nowhere else."""
    page = ROOT / "README.md"
    for path, text in schema_files(page).items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    write(tmp_path / "generated", render(load(tmp_path / "schema")))
    (signatures,) = blocks(page, "py")
    generated = (tmp_path / "generated" / "shop_store" / "sync" / "customer.py").read_text(encoding="utf-8")
    assert all(line in generated.splitlines() for line in signatures.splitlines())
    (code,) = blocks(page, "python")
    subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": "generated"},
        check=True,
        timeout=60,
    )


def test_every_example_of_the_reference_is_accepted() -> None:
    page = ROOT / "docs" / "schema-reference.md"
    package, _ = blocks(page, "yaml")
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
