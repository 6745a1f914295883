"""What a repair does about each kind of drift, and what it did."""

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
    Kind.WRONG_OWNER: "give the claim to its owner",
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
    Kind.ENDLESS_MARK: "let it end in a minute",
}
"""Kinds that a repair mends, and how."""

REASONS: Final[dict[Kind, str]] = {
    Kind.UNREADABLE_DOCUMENT: "its data is for a person to judge",
    Kind.WRONG_KEY: "rename it to the key of the id that it holds, or delete it",
    Kind.UNCLEAR_OWNER: "mend or delete the document that holds the claim",
    Kind.DUPLICATE_VALUE: "two documents have the value: change one of them",
    Kind.DANGLING_REFERENCE: "restore the row that it refers to, or delete the referring row",
    Kind.FOREIGN_KEY: "this schema knows no such key: delete it, or use the schema that does",
    Kind.FOREIGN_ENTRY: "this schema knows no such entity",
    Kind.WRONG_TYPE: "a document's key holds another type: look at it",
}
"""Kinds that are left alone, and what a person can do."""


@dataclass(slots=True)
class Repairs:
    """What a repair did, or would do.

    Attributes:
        report: what was read in the last round, and what was found there.
        mended: what was repaired; in a dry run, what would be.
        left: what was left alone.
        postponed: what could not be repaired now, because a key was in the way or others were quicker.
    """

    report: Report = field(default_factory=Report)
    mended: Counter[DriftGroup] = field(default_factory=Counter)
    left: Counter[DriftGroup] = field(default_factory=Counter)
    postponed: Counter[DriftGroup] = field(default_factory=Counter)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to repair by hand or in another run."""
        return not self.left and not self.postponed


def drift_of(findings: Iterable[Drift]) -> Counter[DriftGroup]:
    """Findings, counted."""
    return Counter(DriftGroup(finding.where, finding.kind) for finding in findings)


def mendable(finding: Drift) -> bool:
    """Whether a repair does something about it."""
    if finding.kind is Kind.WRONG_TYPE:
        return finding.suspect.place.what is not KeyKind.DOCUMENT
    return finding.kind in REMEDIES
