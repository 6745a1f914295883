"""One row with everything that the server holds for it: its keys, its index entries, and whether they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyweave.document.head import Head
from keyweave.effects import Flow
from keyweave.exchange.ask import ask
from keyweave.integrity.drift import Drift, Suspect
from keyweave.integrity.inspect_row import inspect_rows
from keyweave.integrity.survey import entries_of, score_of
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, ParsedKey
from keyweave.look.shown import HIDDEN
from keyweave.model.entity import Entity
from keyweave.model.entry import Entry, ViewEntry
from keyweave.read.get import get
from keyweave.store.context import Context


@dataclass(frozen=True, slots=True)
class ShownEntry:
    """An index entry of a row, as a person may see it.

    Attributes:
        index: name of the view or unique constraint.
        kind: `view` or `unique`.
        key: the key on the server; values of secret fields are hidden.
        member: the member of the view, or the claimed value.
        score: the score in the view; None for a unique value.
    """

    index: str
    kind: str
    key: str
    member: str
    score: float | None


@dataclass(frozen=True, slots=True)
class ShownRow:
    """A row and what the server holds for it.

    Attributes:
        record: the row.
        key: the key of its document.
        size: bytes of the document.
        head: its revision, creation and deadline.
        entries: every index entry that the document implies.
        drift: what is wrong with the row; empty if its indexes agree with the document.
    """

    record: Any
    key: str
    size: int
    head: Head
    entries: tuple[ShownEntry, ...]
    drift: tuple[Drift, ...]


def row_shown(context: Context, entity: Entity[Any], key: str) -> Flow[ShownRow]:
    """Return the row with the id `key`, its keys and entries, and what is wrong with it.

    Raises:
        NotFoundError: there is no live row; the entity's own error.
        CorruptDocumentError: its document cannot be read.
    """
    if context.router is not None:
        shown: ShownRow = yield from context.router.row(row_shown, context, entity, key)
        return shown
    yield from get(context, entity, key)  # raises what is to be said about a row that is missing or ended
    partition = context.partition(entity)
    place = partition.document(entity.name, key)
    (document,) = yield from ask(context, (("GET", place),))
    if not isinstance(document, bytes):
        raise entity.missing(key)  # deleted meanwhile
    record, head = context.codec(entity).peek(document)
    entity.manage(record, head.created, head.revision)
    suspect = Suspect(ParsedKey(place, KeyKind.DOCUMENT, partition, entity, rest=key), key)
    drift = yield from inspect_rows(context, [suspect])
    entries = tuple([_entry(entity, partition, each, head) for each in entries_of(context, entity, record)])
    return ShownRow(record, place, len(document), head, entries, tuple(drift))


def _entry(entity: Entity[Any], partition: Partition, entry: Entry, head: Head) -> ShownEntry:
    secret = entity.record.__secret_fields__
    if not isinstance(entry, ViewEntry):
        value = HIDDEN if secret & set(entity.uniques[entry.unique].fields) else entry.value
        return ShownEntry(entry.unique, "unique", partition.claims(entity.name, entry.unique), value, None)
    view = entity.views[entry.view]
    values = [
        HIDDEN if name in secret else value for name, value in zip(view.selecting, entry.values, strict=True)
    ]
    hidden = view.order in secret
    member = HIDDEN if hidden and view.by_text else entry.member
    score = None if hidden else score_of(entry, head)
    return ShownEntry(entry.view, "view", partition.view(entity.name, entry.view, values), member, score)
