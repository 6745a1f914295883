"""Rules about changes that affect neither code nor data: documentation, and the order of declarations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from keyweave_generator.model import Schema

from .finding import Category, Change, Effect, Level, Side, Spot
from .pairs import SchemaPair
from .rule import rule

Location = tuple[str, tuple[str, ...]]
"""The entity in whose file a part is, or nothing for the package file, and its path there."""


@rule(
    "DOCUMENTATION_CHANGED",
    SchemaPair,
    Category.SAFE,
    Level.INFO,
    "A `doc` or `why` changes.",
    Effect(code="Docstrings and the keyspace page have another text."),
)
def documentation_changed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each text of a part that is in both schemas."""
    before = _docs(pair.old)
    for location, text in _docs(pair.new).items():
        if location in before and before[location] != text:
            yield _change(location, "the documentation changed")


@rule(
    "DECLARATION_ORDER_CHANGED",
    SchemaPair,
    Category.SAFE,
    Level.INFO,
    "The same parts are declared in another order.",
    Effect(code="Generated code lists them in another order. All arguments of records are keywords."),
)
def declaration_order_changed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each list whose parts are in both schemas, in another order."""
    before = _orders(pair.old)
    for location, names in _orders(pair.new).items():
        known = before.get(location, ())
        if [name for name in known if name in names] != [name for name in names if name in known]:
            yield _change(location, "the order of declaration changed")


def _change(location: Location, message: str) -> Change:
    entity, path = location
    spot = Spot(Side.NEW, entity or None, path)
    subject = entity or (path[1] if path[0] in ("enums", "records") and len(path) > 1 else "")
    inside = path if entity else path[2:]
    part = inside[1] if len(inside) > 1 else ""
    where = ".".join(filter(None, (subject, part))) or "the package"
    return Change(spot, f"{where}: {message}", subject, part)


def _docs(schema: Schema) -> Mapping[Location, str]:
    found: dict[Location, str] = {("", ("doc",)): schema.doc}
    found |= {("", ("groups", each.name, "doc")): each.doc for each in schema.groups}
    found |= {("", ("enums", each.name, "doc")): each.doc for each in schema.enums}
    for record in schema.records:
        found["", ("records", record.name, "doc")] = record.doc
        for field in record.fields:
            found["", ("records", record.name, "fields", field.name, "doc")] = field.doc
    for entity in schema.entities:
        name = entity.name
        found[name, ("doc",)] = entity.doc
        found |= {(name, ("fields", each.name, "doc")): each.doc for each in entity.fields}
        found |= {(name, ("views", each.name, "why")): each.why for each in entity.views}
        found |= {(name, ("unique", each.name, "doc")): each.doc for each in entity.uniques}
        found |= {(name, ("checks", each.name, "doc")): each.doc for each in entity.checks}
    return found


def _orders(schema: Schema) -> Mapping[Location, tuple[str, ...]]:
    found: dict[Location, tuple[str, ...]] = {("", ("enums",)): tuple(each.name for each in schema.enums)}
    found["", ("records",)] = tuple(each.name for each in schema.records)
    for enum in schema.enums:
        found["", ("enums", enum.name, "values")] = enum.values
        found["", ("enums", enum.name, "reserved")] = enum.reserved
        found["", ("enums", enum.name, "sets")] = tuple(enum.sets)
        found |= {("", ("enums", enum.name, "sets", name)): values for name, values in enum.sets.items()}
    for record in schema.records:
        found["", ("records", record.name, "fields")] = tuple(each.name for each in record.fields)
        found["", ("records", record.name, "reserved")] = record.reserved
    for entity in schema.entities:
        name = entity.name
        found[name, ("fields",)] = tuple(each.name for each in entity.fields)
        found[name, ("views",)] = tuple(each.name for each in entity.views)
        found[name, ("unique",)] = tuple(each.name for each in entity.uniques)
        found |= {(name, ("unique", each.name, "normalize")): each.normalize for each in entity.uniques}
        found[name, ("references",)] = tuple(each.field for each in entity.references)
        found[name, ("checks",)] = tuple(each.name for each in entity.checks)
        found[name, ("merge",)] = tuple(each.field for each in entity.merges)
        found[name, ("reserved",)] = entity.reserved
    return found
