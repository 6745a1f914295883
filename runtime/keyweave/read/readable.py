"""Documents of lists: one that cannot be read must not make the others unreadable.

It is left out of the list, counted and logged. A read by key raises its error, and so does a list inside a transaction,
because a transaction may decide by what is in the list.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final, TypeVar

from keyweave.errors import CorruptDocumentError
from keyweave.model.entity import Entity
from keyweave.model.record import Record
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_LOG: Final = logging.getLogger("keyweave")


def load_readable(context: Context, entity: Entity[R], documents: Sequence[bytes]) -> list[R]:
    """Return the records of those documents that can be read.

    Raises:
        CorruptDocumentError: inside a transaction, a document cannot be read.
    """
    found = load_each(context, entity, documents)
    return [record for record in found if record is not None] if None in found else found  # type: ignore[return-value]


def load_each(context: Context, entity: Entity[R], documents: Sequence[bytes]) -> list[R | None]:
    """Return the record of each document, None for one that cannot be read.

    Raises:
        CorruptDocumentError: inside a transaction, a document cannot be read.
    """
    codec = context.codecs[entity.name]
    try:
        records: list[R | None] = codec.load_all(documents)
    except CorruptDocumentError:
        if context.unit is not None:
            raise
        return [_load(context, entity, document) for document in documents]
    return records


def _load(context: Context, entity: Entity[R], document: bytes) -> R | None:
    try:
        record: R = context.codecs[entity.name].load(document)
    except CorruptDocumentError as error:
        stats = context.state.stats
        stats.meet_unreadable(entity.name)
        # Each time that the number has doubled, so that a list that is read often does not fill the log.
        if stats.unreadable & (stats.unreadable - 1) == 0:
            _LOG.warning(
                "%s; lists leave it out (%d times so far); `keyweave check --show-ids` names it",
                error,
                stats.unreadable,
            )
        return None
    return record
