"""What a build of indexes came to."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyweave.integrity.remedy import Repairs

SHOWN = 1000
"""Most colliding rows that are kept by their ids."""


@dataclass(slots=True)
class Build:
    """A build of the indexes that are new to a namespace.

    Attributes:
        wanted: indexes that were not built, as entity and name.
        collisions: number of values that several rows claim, by unique constraint; with one, nothing was changed.
        colliding: up to `SHOWN` pairs of rows with one value: constraint, id, id.
        repairs: what was written, and what could not be.
        passed: writes of older code during the build, by index: it is not complete while there are any.
        built: indexes that are complete now.
    """

    wanted: tuple[str, ...] = ()
    collisions: dict[str, int] = field(default_factory=dict)
    colliding: list[tuple[str, str, str]] = field(default_factory=list)
    repairs: Repairs = field(default_factory=Repairs)
    passed: dict[str, int] = field(default_factory=dict)
    built: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every index that was wanted is built."""
        return set(self.wanted) == set(self.built)
