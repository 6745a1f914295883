"""Which columns hold when a row was created and last changed, and whether the rows allow that the store manages them."""

from __future__ import annotations

from typing import Any, Final

from psycopg import sql

from keyweave.adopt.catalog import Column, Moments, Table
from keyweave.adopt.naming import snake
from keyweave.adopt.source import Connection

_CREATED: Final = (
    "created_at created created_on created_date create_time created_time creation_date creation_time inserted_at inserted_on "
    "date_created"
).split()
_UPDATED: Final = (
    "updated_at updated updated_on updated_date update_time updated_time modified_at modified modified_on modified_date "
    "last_modified last_updated changed_at date_modified date_updated"
).split()
_MOMENTS: Final = ("timestamptz", "timestamp")

FIRST: Final = "2001-09-09 01:46:40+00"
"""The first moment that the head of a document can hold."""


def read_moments(connection: Connection, table: Table) -> Moments:
    """Return the columns that may be managed, and what their values say about it. Reads the whole table if there are any."""
    created, updated = _candidate(table, _CREATED), _candidate(table, _UPDATED)
    if created is None and updated is None:
        return Moments("", "")
    first = sql.Literal(FIRST)
    counts: list[sql.Composable] = []
    for column in (created, updated):
        name = _moment(column)
        counts += [
            sql.SQL("count(*) filter (where {} is null)").format(name),
            sql.SQL("count(*) filter (where {} < {}::timestamptz)").format(name, first),
            sql.SQL("count(*) filter (where {} > now())").format(name),
        ]
    counts.append(
        sql.SQL("count(*) filter (where {} > {})").format(
            _moment(created or updated), _moment(updated or created)
        )
    )
    query = sql.SQL("select {} from {}{}").format(
        sql.SQL(", ").join(counts),
        sql.SQL("only " if table.children else ""),
        sql.Identifier(table.schema, table.name),
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    created_problem = _problem(row[0:3]) if created is not None else ""
    updated_problem = _problem(row[3:6]) if updated is not None else ""
    if created is not None and updated is not None and not updated_problem and row[6]:
        updated_problem = f"it is before {created.name} in {_rows(row[6])}"
    return Moments(
        created.name if created is not None else "",
        updated.name if updated is not None else "",
        created_problem,
        updated_problem,
    )


def _candidate(table: Table, names: list[str]) -> Column | None:
    """The column that has the first of some names, and the type of a moment."""
    found = {
        snake(column.name): column
        for column in table.columns
        if column.type.name in _MOMENTS and not column.type.array and not column.generated
    }
    return next((found[name] for name in names if name in found), None)


def _moment(column: Column | None) -> sql.Composable:
    if column is None:
        return sql.SQL("null::timestamptz")
    zone = " at time zone 'UTC'" if column.type.name == "timestamp" else ""
    return sql.SQL("({}{})").format(sql.Identifier(column.name), sql.SQL(zone))


def _problem(counts: tuple[Any, ...]) -> str:
    for count, words in zip(
        counts, ("it is null", "it is before 2001-09-09", "it is in the future"), strict=True
    ):
        if count:
            return f"{words} in {_rows(count)}"
    return ""


def _rows(count: int) -> str:
    return f"{count:,} {'row' if count == 1 else 'rows'}"
