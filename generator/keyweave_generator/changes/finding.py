"""Findings: the values that pass from the rules to the reports. This module knows no rule and no output format."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from keyweave_generator.costs import Cost
from keyweave_generator.model import Position


class Category(enum.Enum):
    """The part of an application that a change affects."""

    API = "API"
    STORAGE = "STORAGE"
    INDEX = "INDEX"
    SEMANTIC = "SEMANTIC"
    SAFE = "SAFE"


class Level(enum.Enum):
    """How severe a change is: refused, to be acted upon, or only reported."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    def reaches(self, other: Level) -> bool:
        """Return whether this level is at least as severe as `other`."""
        order = list(Level)
        return order.index(self) <= order.index(other)


class Side(enum.Enum):
    """Which of the two schemas something is written in."""

    OLD = "old"
    NEW = "new"


@dataclass(frozen=True, slots=True)
class Spot:
    """A key in one of the schemas: `path` in the file of `entity`, or in the package file when that is None."""

    side: Side
    entity: str | None
    path: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """The effects of a change, and what to do about it. Each text is one or two sentences."""

    code: str = "Runs unchanged."
    data: str = "Stays as it is."
    deploy: str = "Old and new code can run side by side."
    action: str = "Nothing."
    commands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One result of a rule. `subject` is an entity, record or enum, `part` a field, view, check or value of it."""

    spot: Spot
    message: str
    subject: str = ""
    part: str = ""
    cost: Cost | None = None


@dataclass(frozen=True, slots=True)
class ChangeFinding:
    """A change under the rule that found it. `position` is in the schema of `side`."""

    rule: str
    category: Category
    level: Level
    position: Position
    side: Side
    subject: str
    part: str
    message: str
    effect: Effect
    cost: Cost | None = None

    @property
    def order(self) -> tuple[str, int, int, str, str]:
        """Sorting key: file, line, column, rule, then text."""
        return (self.position.file, self.position.line, self.position.column, self.rule, self.message)


@dataclass(frozen=True, slots=True)
class Ignored:
    """A finding that the package file accepts, with its reason."""

    finding: ChangeFinding
    reason: str


@dataclass(frozen=True, slots=True)
class Review:
    """The outcome of a comparison.

    Attributes:
        findings: what was found, sorted by position.
        ignored: what was found and is accepted.
        against: the name of the old schema; empty when there was none, so that everything is new.
        prefix: what reports put before file names of the old schema, to distinguish them from new files: `main:` or nothing.
    """

    findings: tuple[ChangeFinding, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    against: str = ""
    prefix: str = ""

    def where(self, finding: ChangeFinding) -> str:
        """The position of a finding as text: `file:line:column`."""
        return f"{self.prefix if finding.side is Side.OLD else ''}{finding.position}"

    def count(self, level: Level) -> int:
        """How many findings have exactly this level."""
        return sum(finding.level is level for finding in self.findings)

    def reaching(self, level: Level) -> tuple[ChangeFinding, ...]:
        """The findings that are at least as severe as `level`."""
        return tuple(finding for finding in self.findings if finding.level.reaches(level))
