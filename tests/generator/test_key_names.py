"""Entities and parts of keys may have the names that the code for composite keys uses itself."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import written
from tests.schemas.hold import mypy_finds
from tests.servers.running import new_namespace, server_url

PACKAGE = """
package: named_keys_store
namespace: {app: named, version: v1, environment: test, tenant: t}
groups: {all: {}}
"""
ENTITIES = ("Record", "Records", "Any", "Callable", "Decimal", "Entity", "RepositoryOfRecords", "Tuple")
PARTS = (
    "self",
    "cls",
    "key",
    "keys",
    "record",
    "fields",
    "int",
    "datetime",
    "tuple",
    "str",
    "entity",
    "row_id",
    "uuid",
)


def entity(name: str, number: int) -> str:
    """An entity of that name, whose key has two of the parts."""
    parts = [PARTS[number % len(PARTS)], PARTS[(number + 5) % len(PARTS)]]
    fields = "\n".join(f"  {part}: {{type: {'int' if part == 'int' else 'string'}}}" for part in parts)
    return f"""
entity: {name}
group: all
key: [{', '.join(parts)}]
fields:
{fields}
  size: {{type: int, default: 0}}
views:
  all: {{fields: [], order: size, why: lists}}
"""


def test_entities_and_parts_of_keys_may_have_the_names_that_generated_code_uses(tmp_path: Path) -> None:
    names = [f"{name}{'' if turn == 0 else turn}" for turn in range(2) for name in ENTITIES]
    sources = {f"{name.lower()}.yaml": entity(name, number) for number, name in enumerate(names)}
    schema = load_sources({"package.yaml": PACKAGE, **sources})
    package = written(schema, tmp_path / "generated")
    assert mypy_finds(tmp_path / "generated", ["named_keys_store"], tmp_path / "cache") == ""
    blocking = importlib.import_module("named_keys_store.sync")
    with blocking.Store.open(server_url(), namespace=new_namespace("names")) as store:
        for each in schema.entities:
            repository = getattr(store, each.many)
            parts = {part.name: 5 if part.type.name == "int" else "a b" for part in each.key_parts}
            record = repository.create(getattr(package, each.name)(**parts))
            key = tuple(parts.values())
            assert repository.get(*key) == record
            assert repository.increment(*key, "size").size == 1
            assert repository.change(*key, lambda row: None).size == 1
            assert repository.update(*key, size=3).size == 3
            assert repository.all().keys() == [key]
            assert repository.where(**parts).one().size == 3
            repository.delete(*key)
            with pytest.raises(LookupError):
                repository.get(*key)
