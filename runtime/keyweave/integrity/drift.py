"""What a check finds: drift between documents and the entries derived from them, by kind.

A drift has the keys and ids that it is about, for repairs; a report has numbers only.
"""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from keyweave.keyspace.parse import ParsedKey


class Kind(enum.StrEnum):
    """The kinds of drift, as text for people. `Kind.code` is the name for programs."""

    MISSING_ENTRY = "missing entry"
    STALE_ENTRY = "entry without a document"
    WRONG_VALUE = "entry under the wrong value"
    WRONG_SCORE = "wrong score"
    MISSING_CLAIM = "missing claim"
    STALE_CLAIM = "claim without a document"
    UNDUE_CLAIM = "claim on a value that its owner does not have"
    WRONG_OWNER = "claim with the wrong owner"
    UNCLEAR_OWNER = "claim held by a document that cannot be read"
    DUPLICATE_VALUE = "unique value of two documents"
    MISSING_DEADLINE = "missing expiry entry"
    STALE_DEADLINE = "expiry entry without a document"
    UNDUE_DEADLINE = "expiry entry of a document without a deadline"
    WRONG_DEADLINE = "wrong expiry entry"
    MISSING_TTL = "deadline without a native TTL"
    UNDUE_TTL = "native TTL without a deadline"
    WRONG_TTL = "wrong native TTL"
    DANGLING_REFERENCE = "dangling reference"
    UNREADABLE_DOCUMENT = "unreadable document"
    WRONG_KEY = "document under the wrong key"
    WRONG_TYPE = "key of the wrong type"
    FOREIGN_KEY = "unknown key"
    FOREIGN_ENTRY = "expiry entry of an unknown entity"
    CLOCK_BEHIND = "clock behind the documents"
    BAD_CLOCK = "unreadable clock"
    ENDING_KEY = "native TTL on a key that must not expire"
    ENDLESS_MARK = "lock, marker or ledger without a TTL"
    BAD_SLOT = "unreadable slot of a ledger"
    MISSING_HOME = "row or unique value that its home does not find"
    DOUBLE_ROW = "row or unique value in two partitions"

    @property
    def code(self) -> str:
        """The name for programs, such as `missing_entry`."""
        return self.name.lower()


class Suspect(NamedTuple):
    """A row, an entry of an index, or a key to inspect.

    Attributes:
        place: the document, the index that holds the entry, or the key.
        member: id of the row; None for a key.
        value: of a claim, the claimed value; of an expiry entry, the entity; of a clock, the revision that it must reach; of an
            entry in an order of strings, the whole member.
    """

    place: ParsedKey
    member: str | None = None
    value: str = ""

    @property
    def identity(self) -> tuple[str | None, ...]:
        """The values that identify it among suspects."""
        return self.place.key, self.member, self.value

    @property
    def row(self) -> str:
        """The id of the row; the suspect must not be a key."""
        assert self.member is not None
        return self.member


class Drift(NamedTuple):
    """One difference between a document and what is derived from it.

    Attributes:
        kind: what is wrong.
        where: the entity, index, field or special key, without ids and values.
        suspect: what was inspected.
        place: the index that has, or lacks, an entry; else the key of the suspect.
        value: the claimed value, for drift of a claim.
        other: the id of the other row that is involved in a claim.
    """

    kind: Kind
    where: str
    suspect: Suspect
    place: str
    value: str = ""
    other: str = ""

    @property
    def identity(self) -> tuple[str | None, ...]:
        """The values that identify it among drifts."""
        return self.kind.name, self.place, self.value, *self.suspect.identity


class DriftGroup(NamedTuple):
    """A kind of drift at one entity, index or field: what reports count by."""

    where: str
    kind: Kind

    def __str__(self) -> str:
        return f"{self.where}: {self.kind}"

    def __repr__(self) -> str:
        return str(self)


@dataclass(slots=True)
class Report:
    """The result of a check.

    Attributes:
        documents: number of documents that were read.
        entries: number of index entries that were compared.
        drift: number of differences by place and kind, such as `TaskState.by_status: missing entry`.
        unswept: number of rows that the native TTL freed and no sweep has removed yet, at most 10,000; no drift.
        set_aside: number of keys that repairs have set aside for a person to inspect; no drift.
        others: number of keys of indexes that another version of the schema keeps here; they were not compared.
        unbuilt: names of indexes that are not built yet; they were not compared.
        unfinished: of each group whose partitions are being doubled, what to do about it; no drift.
        vacant: number of homes without a row or unique value; the next `store.sweep` removes them; no drift.
    """

    documents: int = 0
    entries: int = 0
    drift: Counter[DriftGroup] = field(default_factory=Counter)
    unswept: int = 0
    set_aside: int = 0
    others: int = 0
    unbuilt: tuple[str, ...] = ()
    vacant: int = 0
    unfinished: tuple[str, ...] = ()

    @property
    def clean(self) -> bool:
        """Whether every index matches its documents."""
        return not self.drift

    def add(self, drift: Drift) -> None:
        """Count a drift."""
        self.drift[DriftGroup(drift.where, drift.kind)] += 1
