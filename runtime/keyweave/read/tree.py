"""Trees: a row with its descendants, read by one script up to its bound, then level by level."""

from __future__ import annotations

from itertools import chain, islice
from typing import Any, Final, TypeVar

from keyweave.changes.change import Dangling
from keyweave.effects import Flow, Word
from keyweave.errors import ValidationError
from keyweave.exchange.ask import ask_script
from keyweave.exchange.handshake import require_built
from keyweave.exchange.heal import dangling_members, heal_on_the_way
from keyweave.model.entity import Entity
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record, memory_of
from keyweave.read.gather import gather
from keyweave.read.get import find, selects
from keyweave.read.readable import load_each
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

BOUND: Final = 500
"""Maximum number of descendants in one reply, to limit the server's output buffer."""


def tree(
    context: Context,
    entity: Entity[R],
    root: str,
    via: str,
    *,
    max_depth: int,
    partition_value: Any = None,
) -> Flow[list[R]]:
    """Return the row `root` and its descendants, ordered by depth and within one depth by creation.

    Args:
        root: key of the root.
        via: view that finds a row's children.
        max_depth: number of levels below the root to read.
        partition_value: as for `read.get.get`; of the root.

    Raises:
        ValidationError: `max_depth` is not a whole number from 0.
        ViewNotBuiltError: the view is not built.

    Returns:
        The records; empty when there is no such row. A row that is its own ancestor appears once.
    """
    if partition_value is not None:
        partition_value = entity.partition_value(partition_value)
    if context.router is not None:
        known = {"max_depth": max_depth, "partition_value": partition_value}
        return list((yield from context.router.row(tree, context, entity, root, via, **known)))
    below = range(_checked_depth(max_depth, entity.name))
    levels: list[list[R]]
    levels, complete = yield from context.strategy.levels(
        context, entity, checked_text(root), via, below.stop
    )
    if not levels or (partition_value is not None and not selects(entity, levels[0][0], partition_value)):
        return []
    rows: list[R] = []
    seen: set[str] = set()
    for level in levels:
        level.sort(key=_creation)
        rows += level
        seen.update([entity.key_of(row) for row in level])
    level = levels[-1]
    for _ in () if complete else below[len(levels) - 1 :]:
        parents = [(entity.key_of(parent),) for parent in level]
        lists = yield from gather(context, entity, via, parents, newest=False)
        level = []
        for child in chain.from_iterable(lists):
            key = entity.key_of(child)
            if key not in seen:
                seen.add(key)
                level.append(child)
        if not level:
            break
        level.sort(key=_creation)
        rows += level
    return rows


def _checked_depth(depth: object, entity: str) -> int:
    if not isinstance(depth, int) or isinstance(depth, bool) or depth < 0:
        rule = "max_depth must be a whole number from 0"
        raise ValidationError(f"{entity}: {rule}", entity=entity, field="max_depth", rule=rule)
    return depth


def levels_by_script(
    context: Context, entity: Entity[R], root: str, via: str, depth: int
) -> Flow[tuple[list[list[R]], bool]]:
    """Return the levels of a tree that one script reads, and whether the tree is complete."""
    if context.unbuilt:
        yield from require_built(context, entity, via)
    partition = context.partition(entity)
    arguments: tuple[Word, ...] = (
        partition.document_prefix(entity.name),
        partition.view_prefix(entity.name, via),
        root,
        depth,
        BOUND,
    )
    reply: Any = yield from ask_script(context, "tree", (partition.document(entity.name, root),), arguments)
    complete, dangling = reply[0] == 1, reply[1]
    entries: list[Dangling] = []
    for parent, member in zip(dangling[::2], dangling[1::2], strict=True):
        entries += dangling_members(entity, entity.views[via], (parent.decode(),), [member])
    if entries:
        yield from heal_on_the_way(context, entries)
    records = iter(load_each(context, entity, list(chain.from_iterable(reply[2:]))))
    levels = [islice(records, len(level)) for level in reply[2:]]
    return [[record for record in level if record is not None] for level in levels], complete


def levels_by_keys(
    context: Context, entity: Entity[R], root: str, *_: Any
) -> Flow[tuple[list[list[R]], bool]]:
    """Return only the root, so that its descendants are read level by level."""
    first = yield from find(context, entity, root)
    return [[first]] if first is not None else [], False


def _creation(record: Any) -> tuple[int, int]:
    stored = memory_of(record)
    assert stored is not None
    # Buffered rows of a transaction come last, in the order of their creation.
    return (0, stored.created) if stored.created > 0 else (1, -stored.created)
