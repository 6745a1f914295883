"""Whether the map of an adoption fits the database and the generated package, before any row is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyweave.adopt.catalog import Catalog, Table
from keyweave.adopt.errors import MapError, UnknownColumnError
from keyweave.adopt.mapping import AdoptMap, FieldMap, TableMap
from keyweave.adopt.value import KINDS
from keyweave.model.entity import Entity, Package


@dataclass(frozen=True, slots=True)
class Pair:
    """A table and the entity that its rows become.

    Attributes:
        source: the map of the table.
        table: what the catalogue says about it.
        entity: the descriptor of the generated package.
    """

    source: TableMap
    table: Table
    entity: Entity[Any]

    @property
    def key(self) -> list[FieldMap]:
        """The fields of the key, in its order."""
        by_column = {each.column: each for each in self.source.fields}
        return [by_column[column] for column in self.source.key]


def pairs(mapping: AdoptMap, catalog: Catalog, package: Package) -> list[Pair]:
    """Return the tables with their entities, so that an entity comes after those to which it refers, where that can be.

    Raises:
        MapError: the map does not fit the package.
        UnknownColumnError: a column is missing, or is in no field.
    """
    tables = {table.place: table for table in catalog.tables}
    found = {}
    for each in mapping.tables:
        table = tables.get((each.table_schema, each.table))
        if table is not None:
            found[each.entity] = Pair(each, table, _entity(each, package))
            _check_columns(found[each.entity])
    ordered: dict[str, Pair] = {}
    for name in found:
        _place(name, found, ordered, set())
    return list(ordered.values())


def _place(name: str, found: dict[str, Pair], ordered: dict[str, Pair], above: set[str]) -> None:
    if name in ordered or name in above or name not in found:
        return
    for reference in found[name].entity.references:
        _place(reference.target, found, ordered, {*above, name})
    ordered[name] = found[name]


def _entity(table: TableMap, package: Package) -> Entity[Any]:
    entity = package.entities.get(table.entity)
    if entity is None:
        raise MapError(
            f"the package {package.name} has no entity {table.entity!r} for {table.label}; run keyweave generate, or correct the map"
        )
    record: Any = entity.record
    fields = record.__struct_fields__
    for each in table.fields:
        if each.field not in fields:
            raise MapError(
                f"{table.entity} has no field {each.field!r} for {table.label}.{each.column}; run keyweave generate, or correct the map"
            )
        if each.kind not in KINDS and (not each.kind.startswith("list:") or each.kind[5:] not in KINDS):
            raise MapError(f"{table.label}.{each.column}: there is no kind of values {each.kind!r}")
    mapped = {each.field for each in table.fields}
    missing = [name for name in entity.key_fields if name not in mapped]
    if missing:
        raise MapError(
            f"{table.label}: the map has no column for {table.entity}.{missing[0]}, a part of its key"
        )
    unknown = set(table.key) - {each.column for each in table.fields}
    if unknown:
        raise MapError(f"{table.label}: the map has no field for the key column {min(unknown)!r}")
    return entity


def _check_columns(pair: Pair) -> None:
    columns = {column.name for column in pair.table.columns}
    mapped = {each.column for each in pair.source.fields}
    for name in sorted(mapped - columns):
        raise UnknownColumnError(
            f"{pair.source.label} has no column {name!r}, from which the map takes a field"
        )
    for name in sorted(columns - mapped - set(pair.source.left_out)):
        raise UnknownColumnError(
            f"{pair.source.label} has a column {name!r} that the map lacks; write the schema again, or put it under left_out "
            "in the map"
        )
