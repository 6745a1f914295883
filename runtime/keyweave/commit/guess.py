"""The removal of a row with the rows that refer to it, as this process remembers them: a guess that needs no read.

The plan is guarded by the revision of each row and by the number of rows that refer to it. So if another writer has changed or
added one, the guess costs one exchange, and nothing is removed.
"""

from __future__ import annotations

from typing import Any, Final

from keyweave.changes.change import Change
from keyweave.commit.family import RowId
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context

_PAUSE: Final = 16
"""Deletes of an entity's rows that read the family after a wrong guess."""


def remembered_family(context: Context, entity: Entity[Any], key: str) -> list[Change] | None:
    """Return the removals of a row and of the rows that refer to it, leaves first; None if the family has to be read."""
    pause = context.state.unguessed.get(entity.name, 0)
    if pause:
        context.state.unguessed[entity.name] = pause - 1
        return None
    root = context.state.recent.get(entity.name, key)
    if root is None or context.unbuilt or context.policy.command_words is not None:
        return None
    found: dict[RowId, Change] = {(entity.name, key): _removal(context, entity, key, root, "revision")}
    waiting = list(found.values())
    while waiting:
        parent = waiting.pop()
        parent.counts = []
        for referrer in context.package.referrers[parent.entity.name]:
            rows, reference = referrer.entity, referrer.reference
            codec, number = context.codec(rows), 0
            for child_key, stored in context.state.recent.rows(rows.name):
                if reference.key_in(codec.snapshot_of(stored)) != parent.key:
                    continue
                if not reference.cascade or len(found) == context.policy.chunk:
                    return None
                number += 1
                if (rows.name, child_key) not in found:
                    child = _removal(context, rows, child_key, stored, "unchanged")
                    found[rows.name, child_key] = child
                    waiting.append(child)
            parent.counts.append((rows, reference.via, (parent.key,), number))
    return list(reversed(found.values()))


def forget_family(context: Context, family: list[Change]) -> None:
    """Forget the rows of a guess that was wrong, and let the next deletes of such rows read their families."""
    for change in family:
        context.state.recent.drop(change.entity.name, change.key)
    context.state.unguessed[family[-1].entity.name] = _PAUSE


def _removal(context: Context, entity: Entity[Any], key: str, stored: Stored, guard: str) -> Change:
    entries = context.codec(entity).entries_of(stored)
    return Change(entity, key, old=stored, old_entries=entries, prepared=None, guard=guard)
