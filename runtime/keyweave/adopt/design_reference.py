"""The references and checks of an entity, from the foreign keys and checks of a table."""

from __future__ import annotations

from collections.abc import Mapping

from keyweave.adopt.catalog import Catalog, Check, ForeignKey, Table
from keyweave.adopt.condition import check_of
from keyweave.adopt.design import DECIDED, LOST, Design, EntityDesign, FieldDesign, Note, Part
from keyweave.adopt.naming import own, snake
from keyweave.adopt.sql import UnknownSqlError, parse

Place = tuple[str, str]


def reference_problem(key: ForeignKey, catalog: Catalog, keys: Mapping[Place, tuple[str, ...]]) -> str:
    """Return why a foreign key cannot be a reference; empty if it can."""
    label = ".".join(key.target)
    if len(key.columns) > 1:
        return f"it has {len(key.columns)} columns, and a reference is one field"
    if not any(table.place == key.target for table in catalog.tables):
        return f"{label} is not adopted"
    theirs = keys[key.target]
    if len(theirs) > 1:
        return f"the key of {label} has {len(theirs)} columns, and a reference is one field"
    if theirs != key.target_columns:
        return f"it refers to {label}.{key.target_columns[0]}, which is not the key"
    if not key.valid:
        return "it is not valid, so rows may break it"
    return ""


def make_references(
    entity: EntityDesign,
    table: Table,
    catalog: Catalog,
    keys: Mapping[Place, tuple[str, ...]],
    names: Mapping[Place, str],
) -> None:
    """Make a reference of every foreign key that can be one, with the view that it needs."""
    for key in table.foreign_keys:
        problem = reference_problem(key, catalog, keys)
        field = entity.by_column(key.columns[0])
        if not problem and field is None:
            problem = f"the field of {key.columns[0]} is missing"
        if not problem and field is not None and field.name in entity.references.parts:
            problem = "the field refers to another row already"
        if problem or field is None:
            label = f"the foreign key {key.name} ({', '.join(key.columns)}) to {'.'.join(key.target)}"
            entity.references.notes.append(Note(LOST, f"{label}: {problem}"))
            continue
        if key.target == table.place and not _may_be_null(entity, field):
            entity.references.notes.append(
                Note(LOST, f"the foreign key {key.name}: a key cannot refer to a row of its own entity")
            )
            continue
        entity.references.parts[field.name] = _reference(entity, key, field, names[key.target])


def _may_be_null(entity: EntityDesign, field: FieldDesign) -> bool:
    """Let a reference to the entity itself be null: otherwise no row could be the first. False for a part of the key."""
    if field.attributes.get("optional"):
        return True
    if field.name in entity.key:
        return False
    field.attributes["optional"] = True
    field.notes.append(
        Note(
            LOST, "not null: a field that refers to its own entity may be null, or no row could be the first"
        )
    )
    return True


def _reference(entity: EntityDesign, key: ForeignKey, field: FieldDesign, target: str) -> Part:
    notes: list[Note] = []
    on_delete = "cascade" if key.on_delete == "CASCADE" else "restrict"
    if key.on_delete in ("SET NULL", "SET DEFAULT"):
        notes.append(
            Note(LOST, f"ON DELETE {key.on_delete}: the delete is refused instead; change these rows first")
        )
    elif key.on_delete == "NO ACTION":
        notes.append(Note(DECIDED, "ON DELETE NO ACTION is restrict, which is checked at once"))
    if key.on_update not in ("NO ACTION", "RESTRICT"):
        notes.append(Note(LOST, f"ON UPDATE {key.on_update}: the key of a row never changes here"))
    if key.deferrable:
        notes.append(
            Note(LOST, f"{key.name} is deferrable: here a row is written after the one it refers to")
        )
    return Part({"entity": target, "on_delete": on_delete, "via": _via(entity, field)}, notes)


def _via(entity: EntityDesign, field: FieldDesign) -> str:
    """The view over the field alone; made if there is none."""
    for name, part in entity.views.parts.items():
        attributes = part.attributes
        if attributes["fields"] != [field.name] or "each" in attributes or "where" in attributes:
            continue
        order = str(attributes["order"]).partition(" ")[0]
        by = entity.fields.get(order)
        if by is None or order in ("created", "revision"):
            return name
        if not by.attributes.get("optional") and by.type not in ("string", "id"):
            return name
    name = own(f"by_{field.name}", [*entity.views.parts, *entity.unique.parts])
    why = f"The reference {field.name}: the rows of one {entity_word(field.name)}."
    entity.views.parts[name] = Part({"fields": [field.name], "order": "created", "why": why})
    return name


def entity_word(field: str) -> str:
    """Return what a referring field means: `customer_id` gives `customer`."""
    return field.removesuffix("_id") or field


def break_cycles(design: Design) -> None:
    """Leave out references that are required and form a cycle, because no row could be the first."""
    by_name = {entity.name: entity for entity in design.entities}
    done: set[str] = set()
    for entity in design.entities:
        _visit(entity, by_name, [], done)


def _visit(
    entity: EntityDesign, by_name: Mapping[str, EntityDesign], path: list[str], done: set[str]
) -> None:
    if entity.name in done:
        return
    path.append(entity.name)
    for name, part in list(entity.references.parts.items()):
        target = str(part.attributes["entity"])
        if target == entity.name or entity.fields[name].attributes.get("optional"):
            continue
        if target in path:
            del entity.references.parts[name]
            cycle = " -> ".join([*path[path.index(target) :], target])
            entity.references.notes.append(
                Note(
                    LOST,
                    f"the reference {name} to {target}: {cycle} is a cycle, so no row could be the first",
                )
            )
        else:
            _visit(by_name[target], by_name, path, done)
    path.pop()
    done.add(entity.name)


def make_checks(entity: EntityDesign, table: Table, used: set[str]) -> None:
    """Make a check of every check of the table and its domains that can be one."""
    for check in table.checks:
        if check.name not in used:
            _check(entity, check, entity.by_column, table.name)
    for column in table.columns:
        field = entity.by_column(column.name)
        for number, text in enumerate(column.type.domain_checks, 1):
            name = f"{column.name}_{column.type.domain.rpartition('.')[2]}"
            made = Check(name if number == 1 else f"{name}_{number}", text)
            if column.type.array:
                note = Note(
                    LOST, f"the check {text} of the domain {column.type.domain}, on elements of an array"
                )
                entity.checks.notes.append(note)
            else:
                _check(entity, made, lambda name, field=field: field if name == "VALUE" else None, "")


def _check(entity: EntityDesign, check: Check, fields: object, table: str) -> None:
    assert callable(fields)
    if not check.valid:
        entity.checks.notes.append(
            Note(LOST, f"the check {check.name}: it is not valid, so rows may break it: {check.text}")
        )
        return
    try:
        rule, lacks = check_of(parse(check.text), fields)
    except UnknownSqlError as error:
        rule, lacks = "", str(error)
    notes = []
    if lacks:
        kept = "only a part of it is kept, because it" if rule else "it"
        notes = [Note(LOST, f"the check {check.name}: {kept} has {lacks}: {check.text}")]
    elif not rule:
        notes = [Note(DECIDED, f"the check {check.name} always holds here: {check.text}")]
    if not rule:
        entity.checks.notes += notes
        return
    name = snake(check.name.removeprefix(f"{table}_")) or "check"
    name = name if name[0].isalpha() else f"check_{name}"
    entity.checks.parts[own(name, entity.checks.parts)] = Part({"rule": rule}, notes)
