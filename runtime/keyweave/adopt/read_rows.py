"""Reads the rows of a table by a cursor of the server, in batches, in the snapshot of the connection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, Final

from psycopg import sql

from keyweave.adopt.fit import Pair
from keyweave.adopt.source import Connection
from keyweave.adopt.value import selected

BATCH: Final = 500
"""Rows of one batch."""

_numbers: Final = itertools.count(1)


def read_rows(connection: Connection, pair: Pair, batch: int = BATCH) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a table, with the columns in the order of the map."""
    source = pair.source
    query = sql.SQL("select {} from {}{}").format(
        sql.SQL(", ").join(selected(each.column, each.kind) for each in source.fields),
        sql.SQL("only " if source.only else ""),
        sql.Identifier(source.table_schema, source.table),
    )
    with connection.cursor(name=f"adopt_{next(_numbers)}") as cursor:
        cursor.execute(query)
        while rows := cursor.fetchmany(batch):
            yield rows


def count_rows(connection: Connection, pair: Pair) -> int:
    """Return about how many rows a table has, for the progress."""
    if pair.table.estimate > 0:
        return pair.table.estimate
    query = sql.SQL("select count(*) from {}{}").format(
        sql.SQL("only " if pair.source.only else ""),
        sql.Identifier(pair.source.table_schema, pair.source.table),
    )
    row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def which_exist(connection: Connection, pair: Pair, keys: Sequence[Sequence[str]]) -> set[tuple[str, ...]]:
    """Return those of some keys, as texts, whose rows the table has."""
    columns = [pair.table.column(each.column) for each in pair.key]
    arrays, joins, given = [], [], []
    for place, column in enumerate(columns):
        assert column is not None
        name = sql.Identifier(f"k{place}")
        # The catalogue's own spelling of a type is SQL.
        arrays.append(sql.SQL("%s::text[]::{}[]").format(sql.SQL(column.type.shown)))
        joins.append(sql.SQL("t.{} = u.{}").format(sql.Identifier(column.name), name))
        given.append(sql.SQL("u.{}::text").format(name))
    query = sql.SQL("select {} from unnest({}) u({}) join {}{} t on {}").format(
        sql.SQL(", ").join(given),
        sql.SQL(", ").join(arrays),
        sql.SQL(", ").join(sql.Identifier(f"k{place}") for place in range(len(columns))),
        sql.SQL("only " if pair.source.only else ""),
        sql.Identifier(pair.source.table_schema, pair.source.table),
        sql.SQL(" and ").join(joins),
    )
    values = [[key[place] for key in keys] for place in range(len(columns))]
    return {tuple(row) for row in connection.execute(query, values)}
