"""The change of one row, with the entries that the row has and will have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

from keyweave.document.codec import Codec, Prepared, entries_of
from keyweave.effects import Word
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, Entry, Score
from keyweave.model.record import Record, Stored

PROVISIONAL: Final = 1 << 53
"""The smallest score of rows that are not written yet. It is greater than every real moment."""

Dangling: TypeAlias = tuple[Entity[Any], str, int | None, list[Entry]]
"""Entries of a row that has no document, or a document of a revision that does not imply them: entity, key, revision or
None, entries."""


class Change:
    """The change of one row.

    Attributes:
        entity: the row's entity.
        key: the row's id.
        old: what the store holds, with its snapshot, or None when there is no live row.
        prepared: what to write, or None to delete the row.
        record: the caller's record, which gets the managed values, or None.
        guard: `revision`, `absent`, `unchanged`, `same`, `dead`, or `gone` for a row that the native TTL freed.
        deadline: for `gone`: the row's deadline, as ZSCORE returns it.
        document: for `same`: the row's whole document.
        counts: views that must keep their number of members: (entity, view, values, number).
        dangling: entries to remove in the same step, because their row has no document or one that does not imply them.
        superseded: states that the row passes through in this step, of writers that share a plan: their records, and what
            each of them wrote.
        recreated: the unit deleted the row and created it again, so the new row keeps nothing of the old one.
        sequence: number of the write within its unit; rows are written in this order.
    """

    __slots__ = (
        "_old_entries",
        "counts",
        "dangling",
        "deadline",
        "document",
        "entity",
        "guard",
        "key",
        "old",
        "prepared",
        "record",
        "recreated",
        "sequence",
        "superseded",
    )

    def __init__(
        self,
        entity: Entity[Any],
        key: str,
        *,
        old: Stored | None,
        old_entries: list[Entry] | None = None,
        prepared: Prepared | None,
        record: Record | None = None,
        guard: str,
        deadline: Word | None = None,
        document: bytes = b"",
    ) -> None:
        self.entity: Final = entity
        self.key: Final = key
        self.old: Final = old
        self._old_entries = old_entries
        self.prepared = prepared
        self.record = record
        self.guard: Final = guard
        self.deadline: Final = deadline
        self.document: Final = document
        self.counts: Sequence[tuple[Entity[Any], str, tuple[str, ...], int]] = ()
        self.dangling: list[Dangling] | tuple[()] = ()
        self.superseded: Sequence[tuple[Record, Prepared]] = ()
        self.recreated = False
        self.sequence = 0

    def add_dangling(self, dangling: Dangling) -> None:
        """Let the change remove entries of another row; see `dangling`."""
        if isinstance(self.dangling, tuple):
            self.dangling = []
        self.dangling.append(dangling)

    def provisional_score(self, score: Score) -> float:
        """Return the number that orders an entry of this row before it is written.

        Moments that the server has not set yet come last, in the order of the writes.
        """
        if score == REVISION or (score == CREATED and (self.old is None or self.recreated)):
            return PROVISIONAL + 2 * self.sequence
        return score_number(score, self.old)

    @property
    def old_entries(self) -> list[Entry]:
        """The entries that the row has: those that were found, or else those that `old` implies."""
        if self._old_entries is not None:
            return self._old_entries
        return entries_of(self.entity, self.old) if self.old is not None else []

    @property
    def new_entries(self) -> list[Entry]:
        """The entries that the row will have."""
        return self.prepared.entries if self.prepared is not None else []


def replacement(codec: Codec, record: Record, stored: Stored | None, prepared: Prepared) -> Change:
    """Return the change that replaces `stored` by a record, or inserts the record when `stored` is None."""
    return Change(
        codec.entity,
        prepared.key,
        old=stored,
        prepared=prepared,
        record=record,
        guard="revision" if stored is not None else "absent",
    )


def score_number(score: Score, stored: Stored | None) -> float:
    """Return the number that orders an entry of a stored row."""
    if score == CREATED:
        return stored.created if stored is not None else PROVISIONAL
    if score == REVISION:
        return stored.revision if stored is not None else PROVISIONAL
    return float(score)
