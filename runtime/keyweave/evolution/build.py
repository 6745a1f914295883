"""The result of building indexes."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyweave.integrity.remedy import Repairs

SHOWN = 1000
"""The most pairs of colliding rows that are kept with their ids."""


@dataclass(slots=True)
class Build:
    """The result of building the indexes that are new to a namespace.

    Attributes:
        wanted: indexes that were not built, as entity and name.
        collisions: number of values that several rows claim, by unique constraint; if there are any, nothing was changed.
        colliding: up to `SHOWN` pairs of rows with the same value: constraint, id, id.
        repairs: what was written, and what could not be written.
        passed: number of writes of older code during the build, by index; an index with any is not built.
        built: indexes that are built now.
    """

    wanted: tuple[str, ...] = ()
    collisions: dict[str, int] = field(default_factory=dict)
    colliding: list[tuple[str, str, str]] = field(default_factory=list)
    repairs: Repairs = field(default_factory=Repairs)
    passed: dict[str, int] = field(default_factory=dict)
    built: tuple[str, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every wanted index is built."""
        return set(self.wanted) == set(self.built)
