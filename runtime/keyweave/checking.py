"""What a check found: drift between documents and the entries that they imply, by kind, without ids or values."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Report:
    """The result of a check.

    Attributes:
        documents: how many documents were read.
        entries: how many index entries were compared.
        drift: number of differences by kind, such as `TaskState.by_status: missing entry`.
    """

    documents: int = 0
    entries: int = 0
    drift: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        """Whether every index agrees with its documents."""
        return not self.drift
