"""Rows as the final state holds them, read past every flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeAlias

from tools.simulate.server.database import Database

if TYPE_CHECKING:
    from tools.simulate.run import Run

Rows: TypeAlias = dict[str, dict[str, Any]]
"""Records by entity and key, those past their deadline included."""


_NEVER: Final = 1 << 60


def _first(pair: tuple[bytes, Any]) -> bytes:
    return pair[0]


def documents_of(database: Database, prefix: str) -> dict[tuple[str, str], bytes]:
    """Every document by entity and key."""
    start = prefix.encode()
    found = {}
    for key, value in sorted(database.values.items(), key=_first):
        name, colon, row = key.removeprefix(start).decode().partition(":")
        if database.deadlines.get(key, _NEVER) * 1000 <= database.now:
            continue
        if colon and key.startswith(start) and "." not in name and name[0] != "@" and type(value) is bytes:
            found[name, row] = value
    return found


def rows_of(run: Run) -> Rows:
    """Every row of a run."""
    context = run.reader
    rows: Rows = {name: {} for name in run.package.entities}
    for database, partition in run.places():
        for (name, key), document in documents_of(database, partition.tag).items():
            if run.is_row(partition, name, document):
                rows[name][key] = context.codecs[name].load(document)
    return rows
