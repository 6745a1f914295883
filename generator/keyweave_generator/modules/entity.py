"""The module of an entity: its index entries, its checks and its descriptor."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import dropwhile, takewhile

from keyweave_generator.literal import literal, tuple_of
from keyweave_generator.model import Check, Entity, Managed, Schema, TypeKind, TypeRef
from keyweave_generator.names import HEAD_NAMES, stored_name

from .annotations import annotation, kind
from .entries import (
    ROW_ID,
    EntryStatement,
    OrderStatement,
    claim_entry,
    order_statements,
    row_id,
    view_entry,
)
from .filters import filter_fields
from .identifiers import descriptor_name, exists_name, normalizer_name, not_found_name
from .imports import Imports
from .indexes import unique_descriptor, view_descriptor
from .merges import MergeFunctions, merge_functions
from .normalizers import normalized_fields
from .text import micros, names_literal


@dataclass(frozen=True, slots=True)
class CheckStatement:
    """A check. `message` is a literal."""

    name: str
    rule: str
    field: str
    message: str


@dataclass(frozen=True, slots=True)
class EntityModule:
    """The module of an entity.

    Attributes:
        imports: what the module imports.
        name: of the entity.
        record: the class of its rows.
        indexed: the type of what `index_entries` takes. A condition of a schema may be constant by the types of the fields,
            which a type checker would report.
        compares: whether the module has conditions of the schema.
        row_id: the statement that makes the id of a record; empty if the id is the text of a field, or not needed.
        entries: its index entries.
        orders: the orders of its views.
        places: the places in the first of them, as far as every row has them.
        claims: whether it has unique constraints.
        checks: its checks.
        merges: its merges.
        constant: name of its descriptor.
        arguments: of the descriptor; those that have the default are left out.
    """

    imports: Imports
    name: str
    record: str
    indexed: str
    compares: bool
    row_id: str
    entries: tuple[EntryStatement, ...]
    orders: tuple[OrderStatement, ...]
    places: str
    claims: bool
    checks: tuple[CheckStatement, ...]
    merges: tuple[MergeFunctions, ...]
    constant: str
    arguments: str

    @property
    def later_orders(self) -> list[OrderStatement]:
        """The orders whose places `places` does not have."""
        return list(dropwhile(lambda each: not each.has, self.orders))


def entity_module(entity: Entity, schema: Schema) -> EntityModule:
    """The view model for an entity."""
    imports = Imports()
    imports.runtime("Entry")
    if entity.checks:
        imports.runtime("CheckViolationError")
        imports.use("typing", "Any")
    record = f"{imports.use('..', 'models')}.{entity.name}"
    wheres = [*(view.where for view in entity.views), *(unique.where for unique in entity.uniques)]
    conditional = any(where is not None for where in wheres)
    imports.use("collections.abc", "Mapping")
    imports.runtime("Places")
    imports.runtime("Sets")
    plain = frozenset(
        each.name for each in schema.enums if not any({":", "%"} & {*value} for value in each.values)
    )
    entries = [view_entry(view, entity, imports, plain) for view in entity.views]
    orders = order_statements(entity, imports)
    if entity.uniques:
        imports.runtime("ClaimEntry")
    rules = [check.rule for check in entity.checks]
    if entity.retention is not None and entity.retention.when is not None:
        rules.append(entity.retention.when)
    for rule in rules:
        for module, name in rule.imports:
            imports.use(module, name)
    entries += [claim_entry(unique, entity, imports) for unique in entity.uniques]
    return EntityModule(
        imports,
        entity.name,
        record,
        imports.use("typing", "Any") if conditional else record,
        conditional or bool(rules),
        f"{ROW_ID} = {row_id(entity, imports)}" if any(ROW_ID in each.expression for each in entries) else "",
        tuple(entries),
        tuple(orders),
        ", ".join(each.place for each in takewhile(lambda each: not each.has, orders)),
        bool(entity.uniques),
        tuple(_check(entity, check) for check in entity.checks),
        tuple(merge_functions(merge, entity, schema, imports) for merge in entity.merges),
        descriptor_name(entity),
        ", ".join(f"{name}={value}" for name, value in _arguments(entity, schema, imports)),
    )


def _check(entity: Entity, check: Check) -> CheckStatement:
    message = f"{entity.name}: check {check.name}: {' '.join((check.doc or check.rule.source).split())}"
    return CheckStatement(
        check.name, check.rule.python, check.rule.fields[0] if check.rule.fields else "", literal(message)
    )


def _arguments(entity: Entity, schema: Schema, imports: Imports) -> Iterator[tuple[str, str]]:
    """The arguments of the descriptor, in the order of its class."""
    imports.runtime("Entity")
    models, errors = imports.use("..", "models"), imports.use("..", "errors")
    yield "name", f'"{entity.name}"'
    yield "group", f'"{entity.group}"'
    yield "record", f"{models}.{entity.name}"
    yield "key", literal(entity.key_names[0] if len(entity.key_names) == 1 else "")
    yield "partition_by", f'"{entity.partition_by}"'
    yield from _key_kind(entity, imports)
    known = [*HEAD_NAMES, *(stored_name(field.name) for field in entity.fields)]
    yield "known", f"frozenset({{{', '.join(map(literal, known))}}})"
    yield "entries", "index_entries"
    yield "check", "check"
    yield "places", "index_places"
    normalized = normalized_fields(entity.fields, schema)
    if normalized:
        yield "normalize", f"{models}.{normalizer_name(entity.name)}"
    if len(entity.key_names) == 1 and entity.key_parts[0].trim:
        yield "normalize_key", imports.runtime("trimmed")
    yield from _names("json", (field.name for field in entity.fields if _holds_json(field.type, schema)))
    yield from _names("nested", (field.name for field in entity.fields if _holds_records(field.type)))
    merges = [merge_functions(merge, entity, schema, imports) for merge in entity.merges]
    yield from _mapping("merges", {each.field: each.constant for each in merges})
    for managed in Managed:
        for field in entity.fields:
            if field.managed is managed:
                yield managed.value, literal(field.name)
    yield from _names("normalized", normalized)
    renamed = tuple(
        (stored_name(field.renamed_from), stored_name(field.name))
        for field in entity.fields
        if field.renamed_from
    )
    if renamed:
        yield "renamed", tuple_of(map(names_literal, renamed))
    yield from _names("enums", (field.name for field in entity.fields if field.type.kind is TypeKind.ENUM))
    yield from _mapping("filters", {field.name: f'"{kind(field.type)}"' for field in filter_fields(entity)})
    yield from _names("nullable", (field.name for field in filter_fields(entity) if field.optional))
    yield from _names("trimmed", (field.name for field in filter_fields(entity) if field.trim))
    yield from _mapping(
        "views", {view.name: view_descriptor(view, entity, schema, imports) for view in entity.views}
    )
    yield from _mapping("uniques", {each.name: unique_descriptor(each, imports) for each in entity.uniques})
    if entity.references:
        yield "references", _references(entity, imports)
    if entity.retention is not None:
        yield "retention", _retention(entity, imports)
    yield "not_found", f"{errors}.{not_found_name(entity)}"
    if entity.exists_error:
        yield "exists", f"{errors}.{exists_name(entity)}"


def _key_kind(entity: Entity, imports: Imports) -> Iterator[tuple[str, str]]:
    """The types of keys."""
    if len(entity.key_names) == 1:
        key_kind = kind(entity.key_parts[0].type)
        if key_kind != "str":
            yield "key_kind", literal(key_kind)
        return
    yield "key_kind", literal("tuple")
    types = {
        part.name: (
            f"{imports.use('..', 'models')}.{part.type.name}"
            if part.type.kind is TypeKind.ENUM
            else annotation(part.type, imports)
        )
        for part in entity.key_parts
    }
    yield from _mapping("parts", types)


def _names(argument: str, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    found = tuple(names)
    if found:
        yield argument, names_literal(found)


def _mapping(argument: str, values: dict[str, str]) -> Iterator[tuple[str, str]]:
    if values:
        parts = ", ".join(f'"{name}": {value}' for name, value in values.items())
        yield argument, f"{{{parts}}}"


def _references(entity: Entity, imports: Imports) -> str:
    made = imports.runtime("Reference")
    parts = [
        f'{made}("{each.field}", "{each.entity}", {each.on_delete.value == "cascade"}, "{each.via}")'
        for each in entity.references
    ]
    return tuple_of(parts)


def _retention(entity: Entity, imports: Imports) -> str:
    retention = entity.retention
    assert retention is not None
    if retention.at is not None:
        return f"{imports.runtime('Retention')}(lambda record: record.{retention.at} is not None, at={literal(retention.at)})"
    assert retention.after is not None
    when = retention.when.python if retention.when is not None else "True"
    words = [f"lambda record: {when}", str(micros(retention.after))]
    if retention.recommended is not None:
        words.append(str(tuple(map(micros, retention.recommended))))
    if retention.sliding:
        words.append("sliding=True")
    return f"{imports.runtime('Retention')}({', '.join(words)})"


def _holds_records(type_: TypeRef) -> bool:
    """Whether values of a type hold nested records."""
    return type_.kind is TypeKind.RECORD or (type_.of is not None and _holds_records(type_.of))


def _holds_json(type_: TypeRef, schema: Schema) -> bool:
    """Whether values of a type hold json, also in lists, maps or nested records."""
    if type_.of is not None:
        return _holds_json(type_.of, schema)
    if type_.kind is not TypeKind.RECORD:
        return type_.name == "json"
    record = next(each for each in schema.records if each.name == type_.name)
    return any(_holds_json(field.type, schema) for field in record.fields)
