"""Deleting a row as this process remembers it, with the rows that refer to it: one plan without a read."""

from __future__ import annotations

from typing import Any

from keyweave.changes.change import Change
from keyweave.commit.commit import commit
from keyweave.commit.family import removal
from keyweave.commit.guess import learn_family, remembered_family
from keyweave.commit.packed_removal import send_removals, was_applied
from keyweave.effects import Flow
from keyweave.errors import CorruptDocumentError
from keyweave.model.entity import Entity
from keyweave.model.record import Stored
from keyweave.store.context import Context


def discard_remembered(
    context: Context, entity: Entity[Any], key: str, guess: Stored
) -> Flow[tuple[bool, Change | None]]:
    """Try to remove a row with the rows that refer to it, all as this process last wrote them.

    Returns:
        Whether it was removed. If not, also the removal of the document in the refusal, where it is known that no row can refer
        to it. Without that, the caller has to read the row: it may be deleted, past its deadline, or have other referrers.
    """
    family = remembered_family(context, entity, key, guess)
    if family is None:
        return False, None
    shown = not context.package.referrers[entity.name]
    begun = yield from send_removals(context, family, shown=shown)
    document: bytes | None = None
    right = begun is not None and was_applied(context, family, begun)
    if not right:
        try:
            refusal = yield from commit(context, family, with_document=shown, begun=begun)
            right = refusal is None
            document = refusal.document if refusal is not None else None
        except CorruptDocumentError:
            pass  # reading the rows shows which one it is
    learn_family(context, family, right=right)
    return right, removal(context, entity, key, document, "revision") if document is not None else None
