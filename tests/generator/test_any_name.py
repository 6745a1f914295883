"""Every well-formed name works, for entities and fields, unless Python or the head of documents has it."""

from __future__ import annotations

import builtins
import importlib
import keyword
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from keyweave import aio, sync
from keyweave.model import entity as descriptors
from keyweave.model import record
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import unformatted
from tests.servers.running import new_namespace, server_url

PACKAGE = """
package: {name}
namespace: {{app: names, version: v1, environment: dev, tenant: default}}
groups: {{g: {{}}}}
enums:
  Enum: {{values: [one, two], sets: {{name: [one]}}}}
records:
  Decimal: {{fields: {{value: {{type: decimal, default: 1}}, uuid: {{type: uuid, optional: true}}}}}}
"""

ENTITY = """
entity: {name}
group: g
key: id
fields:
  id: {{type: id, auto: uuid7}}
  kind: {{type: Enum, default: one}}
  price: {{type: decimal, default: 1}}
  day: {{type: date, optional: true}}
  owner: {{type: uuid, optional: true}}
  parts: {{type: list, of: Decimal, default: []}}
  above: {{type: id, optional: true}}
unique:
  price: {{fields: [price, owner]}}
views:
  all: {{fields: [], order: created, why: All.}}
  by_kind: {{fields: [kind, owner], order: created, why: Kinds.}}
  by_above: {{fields: [above], order: created, why: Parts.}}
references:
  above: {{entity: {name}, on_delete: cascade}}
hierarchy: {{parent: above}}
checks:
  sane: {{rule: "price >= 0 and (day is null or day > '2000-01-01')"}}
"""

ENTITIES = [
    *(
        "Session",
        "Transaction",
        "Page",
        "Store",
        "Property",
        "Class",
        "Repository",
        "Rows",
        "Sweeper",
        "Context",
    ),
    *("Record", "Value", "Entity", "View", "Unique", "Reference", "Retention", "Package", "Merge", "Entry"),
    *(
        "Any",
        "Literal",
        "Sequence",
        "Callable",
        "Iterator",
        "Annotated",
        "Never",
        "TypeVar",
        "Generic",
        "Self",
    ),
    *(
        "UUID",
        "Date",
        "Time",
        "Datetime",
        "Timedelta",
        "UTC",
        "StrEnum",
        "Meta",
        "Struct",
        "Exception",
        "Error",
    ),
    *(
        "Object",
        "Type",
        "List",
        "Dict",
        "Set",
        "Int",
        "Str",
        "Bool",
        "Model",
        "Errors",
        "Sync",
        "Aio",
        "Filters",
    ),
    *(
        "Check",
        "Health",
        "Stats",
        "Outcome",
        "Sweep",
        "Close",
        "Open",
        "Tenant",
        "Exact",
        "Created",
        "Revision",
    ),
]

FIELDS = sorted(
    {
        name
        for name in [
            *(
                "order",
                "limit",
                "at",
                "list",
                "reading",
                "key",
                "keys",
                "record",
                "records",
                "field",
                "fields",
                "by",
            ),
            *(
                "null",
                "true",
                "false",
                "len",
                "self",
                "cls",
                "name",
                "value",
                "values",
                "entity",
                "entries",
                "models",
            ),
            *(
                "errors",
                "date",
                "time",
                "datetime",
                "decimal",
                "uuid",
                "set",
                "json",
                "enum",
                "msgspec",
                "typing",
            ),
            *(
                "page",
                "rows",
                "one",
                "first",
                "count",
                "reverse",
                "between",
                "scan",
                "explain",
                "where",
                "having",
            ),
            *(
                "to_dict",
                "to_json",
                "id",
                "type",
                "match",
                "case",
                "cursor",
                "batch",
                "newest",
                "wait",
                "function",
            ),
            *dir(builtins),
            *dir(sync.Repository if hasattr(sync, "Repository") else object),
            *keyword.softkwlist,
            *dir(descriptors),
            *dir(record),
            *sys.stdlib_module_names,
        ]
        if name.isidentifier()
        and name == name.lower()
        and name.isascii()
        and name[0].isalpha()
        and "__" not in name
    }
    - set(keyword.kwlist)
)


def made(name: str, files: dict[str, str], home: Path) -> ModuleType:
    """The package of a schema, imported with both flavours."""
    sources = {"package.yaml": PACKAGE.format(name=name), **files}
    for path, text in unformatted(load_sources(sources)).items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text, encoding="utf-8")
    for flavour in ("sync", "aio"):
        importlib.import_module(f"{name}.{flavour}")
    return importlib.import_module(name)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_entities_may_have_any_name(home: Path) -> None:
    package = made("entity_names", {f"{name}.yaml": ENTITY.format(name=name) for name in ENTITIES}, home)
    module = importlib.import_module("entity_names.sync")
    with module.Store.open(server_url(), namespace=new_namespace("names")) as store:
        repositories = {
            type(getattr(store, name)).__name__: getattr(store, name)
            for name in type(store).__slots__
            if not name.startswith("_")
        }
        for name in ENTITIES:
            rows: Any = repositories[f"{name}Repository"]
            row = rows.create(getattr(package, name)())
            assert rows.get(row.id) == row
            assert rows.tree(row.id) == [row]
            rows.delete(row.id)
        assert store.check().clean


@pytest.mark.parametrize("part", range(4))
def test_fields_may_have_any_name(home: Path, part: int) -> None:
    names = FIELDS[part::4]
    lines = [
        f"  {name!r}: {{type: {kind}, optional: true}}"
        for name, kind in zip(names, KINDS * 200, strict=False)
    ]
    text = "\n".join(
        ["entity: Thing", "group: g", "key: thing_id", "fields:", "  thing_id: {type: id}", *lines]
    )
    package = made(f"field_names_{part}", {"thing.yaml": text + "\n"}, home)
    module = importlib.import_module(f"field_names_{part}.sync")
    with module.Store.open(server_url(), namespace=new_namespace("names")) as store:
        row = store.things.create(package.Thing(thing_id="1"))
        assert store.things.get("1") == row
        store.things.delete("1")
        assert store.check().clean


KINDS = ["string", "int", "decimal", "date", "time", "uuid", "datetime", "bool"]
"""Types of the fields, in turns."""


def test_there_are_names_to_try() -> None:
    assert len(FIELDS) > 300
    assert aio.__name__
