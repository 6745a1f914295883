"""The errors of callers for refusals of plans."""

from __future__ import annotations

from typing import Any

from keyweave.changes.answer import Refusal, Status
from keyweave.errors import ConflictError, KeyweaveError, ReferenceViolationError
from keyweave.model.entity import Entity


def refused(refusal: Refusal) -> KeyweaveError:
    """Return the caller's error for a refusal."""
    guard, entity = refusal.guard, refusal.guard.entity
    if refusal.status in (Status.EXISTS, Status.DEAD, Status.FREED):
        return entity.taken(guard.key)
    if refusal.status is Status.TAKEN:
        return entity.violated(guard.detail, guard.key)
    if refusal.status is Status.NO_TARGET:
        return dangling_reference(entity, guard.detail, guard.key)
    if refusal.status is Status.MISSING:
        return entity.missing(guard.key)
    text = f"{entity.row(guard.key)}: the row changed since it was loaded"
    return ConflictError(text, key=entity.shown(guard.key))


def dangling_reference(entity: Entity[Any], field: str, key: str) -> ReferenceViolationError:
    """Return the error for a reference whose target does not exist."""
    target = next(reference.target for reference in entity.references if reference.field == field)
    return ReferenceViolationError(
        f"{entity.row(key)}: {field}: no such {target}",
        entity=entity.name,
        field=field,
        target=target,
        key=entity.shown(key),
    )
