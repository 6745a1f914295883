"""Rows in memory: the latest of each kind, those below a root, and a row as another class. Nothing here asks a server."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from keyweave.model.record import Record

R = TypeVar("R", bound=Record)


def latest_by(rows: Iterable[R], field: str) -> dict[Any, R]:
    """The last row of each value of `field`; of rows from old to new, the newest."""
    return {getattr(row, field): row for row in rows}


def rooted(rows: Sequence[R], key: str, parent: str) -> list[R]:
    """Those of `rows` that a chain of parents inside `rows` connects to a row without a parent, in the same order.

    Args:
        key: name of the field that identifies a row.
        parent: name of the field that holds the key of a row's parent, or None.
    """
    reached: set[Any] = {None}
    found: list[R] = []
    for row in rows:
        if getattr(row, parent) in reached:
            reached.add(getattr(row, key))
            found.append(row)
    if len(found) == len(rows):
        return found  # every row came after its parent, as nearly always
    children: dict[Any, list[Any]] = {}
    for row in rows:
        children.setdefault(getattr(row, parent), []).append(getattr(row, key))
    reached = {None}
    level: list[Any] = [None]
    while level:
        level = [child for each in level for child in children.get(each, ())]
        reached.update(level)
    return [row for row in rows if getattr(row, parent) in reached]


def recast(kind: type[R], record: Record, **more: Any) -> R:
    """A record of another class with the fields of `record`, which remembers nothing of the store.

    Args:
        kind: a class whose fields `record` has, but for those in `more`.
        more: fields that `record` lacks, or values in place of its own.
    """
    fields = {name: getattr(record, name) for name in kind.__struct_fields__ if name not in more}
    return kind(**fields, **more)
