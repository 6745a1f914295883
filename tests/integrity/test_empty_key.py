"""A key of the type string may be empty; such a row is checked, repaired, exported and imported as any other."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands
from keyweave.effects import Flow, Send
from keyweave.integrity.drift import Report
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import written
from tests.servers.running import new_namespace, server_url

SOURCES = {
    "package.yaml": """
package: blank_store
namespace: {app: blank, version: v1, environment: test, tenant: t}
groups: {all: {}}
""",
    "word.yaml": """
entity: Word
group: all
key: text
fields:
  text: {type: string}
  kind: {type: string}
  code: {type: string}
  parent: {type: string, optional: true}
views:
  by_kind: {fields: [kind], order: created, why: lists}
  by_text: {fields: [], order: text, why: lists}
  by_parent: {fields: [parent], order: created, why: the cascade}
unique:
  code: {fields: [code]}
references:
  parent: {entity: Word, on_delete: cascade, via: by_parent}
retention:
  when: kind == 'old'
  after: 30d
""",
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    made = written(load_sources(SOURCES), tmp_path_factory.mktemp("blank"))
    importlib.import_module("blank_store.sync")
    return made


@pytest.fixture
def store(package: Any) -> Iterator[Any]:
    with package.sync.Store.open(server_url(), namespace=new_namespace("blank")) as opened:
        opened.words.create(package.Word(text="", kind="old", code="c"))
        opened.words.create(package.Word(text="a", kind="new", code="d", parent=""))
        yield opened


def test_it_is_read_by_every_way(store: Any) -> None:
    assert store.words.get("").code == "c"
    assert [row.text for row in store.words.by_kind("old")] == [""]
    assert [row.text for row in store.words.by_text()] == ["", "a"]
    assert [row.text for row in store.words.by_parent("")] == ["a"]
    assert store.words.get_by_code("c").text == ""
    assert store.words.exists("")


def test_it_is_checked_and_repaired(store: Any) -> None:
    assert store.check() == Report(documents=2, entries=8)
    session, repairs = store.session, Repairs()
    key = session.context.keyspace.partition("all").view("Word", "by_kind", ("old",))

    def remove() -> Flow[None]:
        yield Send((("DEL", key),))

    session.run(remove())
    assert not store.check().clean
    session.run(reindex(session.context, repairs))
    assert store.check().clean
    assert [row.text for row in store.words.by_kind("old")] == [""]


def test_it_is_exported_and_imported(store: Any, package: Any, tmp_path: Path) -> None:
    file, namespace = tmp_path / "words.ndjson", store.session.context.keyspace.namespace.tenant
    app = commands.assemble(commands.installed())
    shared = ["--url", server_url(), "--package", "blank_store", "--namespace"]
    exported = CliRunner().invoke(app, ["export", str(file), *shared, namespace])
    assert exported.exit_code == 0, exported.output
    other = new_namespace("filled")
    imported = CliRunner().invoke(app, ["import", str(file), *shared, other])
    assert (imported.exit_code, imported.output.split()) == (0, ["2", "written"])
    with package.sync.Store.open(server_url(), namespace=other) as filled:
        assert filled.words.get("").to_dict() == store.words.get("").to_dict()
        assert filled.check().clean


def test_its_children_end_with_it(store: Any) -> None:
    store.words.delete("")
    assert store.words.find("a") is None
    assert store.check().clean
