"""Makes a schema from a catalogue: names first, then fields, indexes, references and checks of each table."""

from __future__ import annotations

from typing import Final

from keyweave.adopt.catalog import Catalog, Table
from keyweave.adopt.choice import Choices
from keyweave.adopt.column_type import SHORT_INTS
from keyweave.adopt.design import DECIDED, HINT, LOST, Design, EntityDesign, Note
from keyweave.adopt.design_fields import FieldMaker
from keyweave.adopt.design_index import IndexMaker
from keyweave.adopt.design_key import choose_keys
from keyweave.adopt.design_reference import break_cycles, make_checks, make_references, reference_problem
from keyweave.adopt.errors import NameRefusedError, UnsupportedTypeError
from keyweave.adopt.naming import module, own, package_problem, pascal, plural, singular, snake
from keyweave.adopt.yaml import one_line

_LONGEST_DOC: Final = 4000
_LONGEST_CLASS: Final = 48
"""Characters of a class; names of its errors are made from it."""


def make(catalog: Catalog, choices: Choices) -> Design:
    """Make the schema of a catalogue.

    Raises:
        NameRefusedError: the package that the caller chose cannot have its name.
        NoKeyError: tables have no key.
        UnknownColumnError: the caller names a column that a table lacks.
        UnsupportedTypeError: columns have types of which nothing is known; all of them are named.
    """
    app = snake(catalog.database) or "app"
    app = app if app[0].isalpha() else f"app_{app}"
    design = Design(_package(choices.package, app), app, catalog.database)
    chosen = choose_keys(catalog.tables, choices)
    keys = {place: columns for place, (columns, _) in chosen.items()}
    for table in catalog.tables:
        design.entities.append(_entity(table, design))
    names = {table.place: entity.name for table, entity in zip(catalog.tables, design.entities, strict=True)}
    unsupported: list[str] = []
    for table, entity in zip(catalog.tables, design.entities, strict=True):
        columns, notes = chosen[table.place]
        entity.notes += notes
        referring = {
            key.columns[0] for key in table.foreign_keys if not reference_problem(key, catalog, keys)
        }
        fields = FieldMaker(design, entity, table, referring, choices.as_text)
        fields.make(columns)
        unsupported += fields.unsupported
        if fields.unsupported:
            continue
        IndexMaker(entity, table, referring).make()
        make_references(entity, table, catalog, keys, names)
        make_checks(entity, table, fields.used_checks)
    if unsupported:
        raise UnsupportedTypeError(
            f"nothing is known of these types: {'; '.join(unsupported)}; keep their values as text with --as-text TYPE"
        )
    break_cycles(design)
    _package_notes(design, catalog)
    return design


def _package(chosen: str, app: str) -> str:
    name = chosen or f"{app[:56]}_store"
    problem = package_problem(name)
    if problem:
        raise NameRefusedError(
            f"the package cannot be called {name!r}: {problem}; choose another name with --package"
        )
    return name


def _entity(table: Table, design: Design) -> EntityDesign:
    words = snake(table.name) or f"table_{len(design.entities) + 1}"
    one = singular(words)
    one = one if one[0].isalpha() else f"table_{one}"
    classes = {each.name for each in design.entities}
    name = pascal(one)[:_LONGEST_CLASS]
    if name in classes:
        name = f"{pascal(snake(table.schema) or 'Other')}{name}"[:_LONGEST_CLASS]
    if name in ("None", "True", "False", "PACKAGE"):
        name = f"{name}Row"
    modules = {module(each.name): each.name for each in design.entities}
    number, base = 1, name
    while name in classes or module(name) in modules:
        number += 1
        name = f"{base}{number}"
    many = words if words[0].isalpha() and name == pascal(one) else plural(module(name))
    many = own(many, {each.plural for each in design.entities})
    entity = EntityDesign(
        name, many, table.schema, table.name, one_line(table.doc)[:_LONGEST_DOC], table.children
    )
    entity.notes += _table_notes(table, name)
    return entity


def _table_notes(table: Table, name: str) -> list[Note]:
    notes = []
    if pascal(singular(snake(table.name) or "x")) != name:
        notes.append(
            Note(DECIDED, f"the entity is called {name}: the table's own name cannot be a class, or is taken")
        )
    if table.partitioned:
        notes.append(Note(LOST, "the partitions of the table: its rows are adopted as those of one entity"))
    if table.parents:
        notes.append(
            Note(
                LOST,
                f"INHERITS ({', '.join(table.parents)}): an entity of its own, which queries of the parent leave out",
            )
        )
    if table.children:
        notes.append(
            Note(LOST, "tables inherit from this one: its entity has the rows of the table itself only")
        )
    if table.triggers:
        notes.append(
            Note(LOST, f"triggers: {', '.join(table.triggers)}; their work is the application's now")
        )
    if table.row_security:
        notes.append(
            Note(LOST, "policies of row level security: the application decides which rows a caller may read")
        )
    return notes


def _package_notes(design: Design, catalog: Catalog) -> None:
    design.notes.append(
        Note(DECIDED, "one group, so that a transaction may write rows of any table, as in PostgreSQL")
    )
    if len(design.entities) > 1:
        design.notes.append(
            Note(
                HINT,
                "entities without references between them may go into groups of their own, which a cluster distributes",
            )
        )
    if any(column.type.name in SHORT_INTS for table in catalog.tables for column in table.columns):
        design.notes.append(Note(DECIDED, "smallint and integer are int, whose values have up to 64 bits"))
    for skipped in catalog.skipped:
        kind = skipped.partition(" ")[0]
        if kind == "table":
            design.notes.append(Note(DECIDED, f"{skipped} is not adopted, as the caller chose"))
        else:
            design.notes.append(Note(LOST, f"the {skipped}: only tables are adopted"))
