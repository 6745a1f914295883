"""What a repair does about each kind of drift, and the result of a repair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from keyweave.integrity.drift import Drift, DriftGroup, Kind, Report
from keyweave.keyspace.parse import KeyKind

REMEDIES: Final[dict[Kind, str]] = {
    Kind.MISSING_ENTRY: "add the entry",
    Kind.STALE_ENTRY: "remove the entry",
    Kind.WRONG_VALUE: "remove the entry",
    Kind.WRONG_SCORE: "set the score",
    Kind.MISSING_CLAIM: "add the claim",
    Kind.STALE_CLAIM: "release the claim",
    Kind.UNDUE_CLAIM: "release the claim",
    Kind.WRONG_OWNER: "give the claim to the row that has the value",
    Kind.MISSING_DEADLINE: "add the expiry entry",
    Kind.STALE_DEADLINE: "remove the expiry entry",
    Kind.UNDUE_DEADLINE: "remove the expiry entry",
    Kind.WRONG_DEADLINE: "set the expiry entry",
    Kind.MISSING_TTL: "set the native TTL",
    Kind.UNDUE_TTL: "remove the native TTL",
    Kind.WRONG_TTL: "set the native TTL",
    Kind.WRONG_TYPE: "set the key aside and rebuild it",
    Kind.CLOCK_BEHIND: "advance the clock",
    Kind.BAD_CLOCK: "set the clock aside and advance a new one",
    Kind.ENDING_KEY: "remove the native TTL",
    Kind.ENDLESS_MARK: "set a TTL of a minute; of a day for a ledger",
    Kind.BAD_SLOT: "mark the slot as given up",
    Kind.MISSING_HOME: "set the home",
}
"""The kinds of drift that a repair removes, and how."""

REASONS: Final[dict[Kind, str]] = {
    Kind.UNREADABLE_DOCUMENT: "a person must decide: correct the document, or delete it",
    Kind.WRONG_KEY: "rename it to the key of the id that it holds, or delete it",
    Kind.UNCLEAR_OWNER: "correct or delete the document that holds the claim",
    Kind.DUPLICATE_VALUE: "two documents have the value: change one of them",
    Kind.DANGLING_REFERENCE: "restore the row that it refers to, or delete the referring row",
    Kind.DOUBLE_ROW: "two partitions have it: delete one of the rows",
    Kind.FOREIGN_KEY: "this schema has no such key: delete it, or use the schema that has it",
    Kind.FOREIGN_ENTRY: "this schema has no such entity",
    Kind.WRONG_TYPE: "the key of a document has another type: inspect it",
}
"""The kinds that a repair leaves alone, and what a person can do."""


@dataclass(slots=True)
class Repairs:
    """What a repair did, or in a dry run would do.

    Attributes:
        report: what the last round read and found.
        mended: drift that was repaired; in a dry run, that would be.
        left: drift that is left for a person.
        forgotten: number of rows freed by their native TTL whose entries were removed; in a dry run, that would be.
        postponed: drift that could not be repaired now, because of a key of the wrong type or another process's write.
    """

    report: Report = field(default_factory=Report)
    mended: Counter[DriftGroup] = field(default_factory=Counter)
    left: Counter[DriftGroup] = field(default_factory=Counter)
    postponed: Counter[DriftGroup] = field(default_factory=Counter)
    forgotten: int = 0

    @property
    def complete(self) -> bool:
        """Whether nothing is left for a person or for another run."""
        return not self.left and not self.postponed


def drift_of(drifts: Iterable[Drift]) -> Counter[DriftGroup]:
    """Return drifts counted by place and kind."""
    return Counter(DriftGroup(drift.where, drift.kind) for drift in drifts)


def repairable(drift: Drift) -> bool:
    """Return whether a repair can remove the drift."""
    if drift.kind is Kind.WRONG_TYPE:
        return drift.suspect.place.what is not KeyKind.DOCUMENT
    return drift.kind in REMEDIES
