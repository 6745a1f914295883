"""What became of the rows of one table."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from keyweave.adopt.row import MODULUS

_EXAMPLES: Final = 5


@dataclass(slots=True)
class Outcome:
    """The rows of one table by result.

    Attributes:
        table: `schema.table`.
        entity: the entity.
        read: rows of the source.
        written: rows that were written now.
        present: rows that an earlier run wrote, and that are equal.
        renewed: rows that changed at the source since an earlier run, written again.
        expired: rows past the deadline of a retention of the schema; not written.
        refused: rows that a record cannot hold; not written.
        conflicts: rows whose key, or one of whose unique values, another row has; not written.
        changed: rows that an application changed in the store; left as they are.
        missing: rows of the source that the store lacks; the refused and conflicting ones among them.
        differing: rows that the two sides do not hold alike.
        gone: rows that an earlier run wrote, and that the source no longer has.
        own: rows that an application wrote into the store.
        shifted: rows whose moment of the last change is a microsecond or more later in the store, because they changed at
            the source and their moment did not.
        source_hash: sum of the hashes of the rows of the source.
        store_hash: the same of the store, without rows that an application wrote.
        source_rows: how many rows the sum of the source has.
        store_rows: how many rows the sum of the store has.
        examples: some keys by result.
        reasons: why rows were refused.
    """

    table: str
    entity: str
    read: int = 0
    written: int = 0
    present: int = 0
    renewed: int = 0
    expired: int = 0
    refused: int = 0
    conflicts: int = 0
    changed: int = 0
    missing: int = 0
    differing: int = 0
    gone: int = 0
    own: int = 0
    shifted: int = 0
    source_hash: int = 0
    store_hash: int = 0
    source_rows: int = 0
    store_rows: int = 0
    examples: dict[str, list[str]] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)

    @property
    def equal(self) -> bool:
        """Whether both sides hold the same rows, apart from those that an application wrote or that have ended."""
        return (self.source_rows, self.source_hash) == (self.store_rows, self.store_hash)

    def example(self, result: str, key: str) -> None:
        """Note a key as an example of a result."""
        known = self.examples.setdefault(result, [])
        if len(known) < _EXAMPLES and key not in known:
            known.append(key)

    def add_source(self, value: int) -> None:
        """Add a row of the source to the sum."""
        self.source_rows += 1
        self.source_hash = (self.source_hash + value) % MODULUS

    def add_store(self, value: int) -> None:
        """Add a row of the store to the sum."""
        self.store_rows += 1
        self.store_hash = (self.store_hash + value) % MODULUS

    def take_store(self, value: int) -> None:
        """Take a row of the store out of the sum: it is none of the source."""
        self.store_rows -= 1
        self.store_hash = (self.store_hash - value) % MODULUS

    def to_dict(self) -> dict[str, Any]:
        """Return the result for programs."""
        names = (
            "table entity read written present renewed expired refused conflicts changed missing differing gone own shifted "
            "source_rows store_rows"
        ).split()
        found: dict[str, Any] = {name: getattr(self, name) for name in names}
        found["source_hash"], found["store_hash"] = f"{self.source_hash:064x}", f"{self.store_hash:064x}"
        found["equal"] = self.equal
        return {**found, "reasons": dict(self.reasons), "examples": self.examples}
