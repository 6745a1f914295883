"""Trees: a row with everything below it, level by level; the children of a whole level are read at once."""

from __future__ import annotations

from itertools import chain
from typing import Any, TypeVar

from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.errors import ValidationError
from keyweave.flows.gathering import gather
from keyweave.flows.reading import find
from keyweave.record import Record, memory_of

R = TypeVar("R", bound=Record)


def tree(context: Context, entity: Entity[R], root: str, via: str, *, max_depth: int) -> Flow[list[R]]:
    """The row `root`, then its descendants by depth, and within one depth by creation.

    Args:
        root: key of the row to begin with.
        via: view that finds a row's children.
        max_depth: how many levels below the root to read.

    Raises:
        ValidationError: `max_depth` is no whole number from 0.

    Returns:
        The records; empty when there is no such row. A row that is its own ancestor appears once.
    """
    levels = _checked_depth(max_depth, entity.name)
    first = yield from find(context, entity, root)
    if first is None:
        return []
    rows: list[R] = [first]
    seen = {root}
    level: list[R] = [first]
    for _ in range(levels):
        below: list[R] = []
        parents = [(getattr(parent, entity.key),) for parent in level]
        families = yield from gather(context, entity, via, parents, newest=False)
        for child in chain.from_iterable(families):
            key = getattr(child, entity.key)
            if key not in seen:
                seen.add(key)
                below.append(child)
        if not below:
            break
        below.sort(key=_creation)
        rows += below
        level = below
    return rows


def _checked_depth(depth: object, entity: str) -> int:
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        rule = "max_depth must be a whole number from 0"
        raise ValidationError(f"{entity}: {rule}", entity=entity, field="max_depth", rule=rule)
    return depth


def _creation(record: Any) -> tuple[int, int]:
    stored = memory_of(record)
    assert stored is not None
    # Rows that a transaction has not written yet come last, in the order in which it made them.
    return (0, stored.created) if stored.created > 0 else (1, -stored.created)
