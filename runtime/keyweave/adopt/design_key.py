"""Which columns identify the rows of a table."""

from __future__ import annotations

from collections.abc import Iterable

from keyweave.adopt.catalog import Index, Table
from keyweave.adopt.choice import Choices
from keyweave.adopt.design import DECIDED, Note
from keyweave.adopt.errors import NoKeyError, UnknownColumnError


def choose_keys(
    tables: Iterable[Table], choices: Choices
) -> dict[tuple[str, str], tuple[tuple[str, ...], list[Note]]]:
    """Return the key columns of each table, by schema and name, with the notes of the decision.

    Raises:
        NoKeyError: tables have none; all of them are named.
        UnknownColumnError: the caller names a column that a table lacks.
    """
    found: dict[tuple[str, str], tuple[tuple[str, ...], list[Note]]] = {}
    without: list[str] = []
    for table in tables:
        given = choices.keys.get(table.label) or choices.keys.get(table.name)
        key = _given(table, given) if given else _own_key(table)
        if key is None:
            without.append(table.label)
        else:
            found[table.place] = key
    if without:
        names = ", ".join(without)
        raise NoKeyError(
            f"no primary key, and no unique constraint over columns that are never null: {names}; name the columns that "
            f"identify a row with --key {without[0]}=COLUMN,COLUMN, or choose other tables with --tables"
        )
    return found


def _given(table: Table, columns: tuple[str, ...]) -> tuple[tuple[str, ...], list[Note]]:
    for name in columns:
        column = table.column(name)
        if column is None:
            known = ", ".join(each.name for each in table.columns)
            raise UnknownColumnError(f"{table.label} has no column {name!r} (there are: {known})")
        if column.nullable:
            raise NoKeyError(f"{table.label}.{name} may be null, so it cannot identify a row")
    return columns, [Note(DECIDED, f"the key is {', '.join(columns)}, as the caller chose")]


def _own_key(table: Table) -> tuple[tuple[str, ...], list[Note]] | None:
    for index in table.indexes:
        if index.primary:
            return index.columns, []
    usable = [index for index in table.indexes if _identifies(table, index)]
    if not usable:
        return None
    best = min(usable, key=lambda index: (len(index.parts), not index.constraint, index.name))
    note = Note(
        DECIDED,
        f"the table has no primary key; the key is that of {best.name}, whose columns are never null",
    )
    return best.columns, [note]


def _identifies(table: Table, index: Index) -> bool:
    columns = [table.column(name) for name in index.columns]
    whole = index.unique and index.valid and not index.where and not index.deferrable
    return whole and all(column is not None and not column.nullable for column in columns)
