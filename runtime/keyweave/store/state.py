"""What changes while a store is open: one object, which every context of the store shares, so no copy learns alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from keyweave.store.access_path import AccessPath
from keyweave.store.clock import ServerClock
from keyweave.store.recent import Recent
from keyweave.store.stats import Stats


@dataclass(slots=True)
class StoreState:
    """What a store has learned and counted since it was opened.

    Attributes:
        clock: the server's time.
        recent: rows as this process wrote them last.
        stats: what happened inside operations.
        unbuilt: indexes, as entity and name, that are kept by writes but must not be read yet.
        settings_hidden: the server refuses CONFIG GET, so it is not asked again.
        writes: writes of groups whose rows may end.
        sweepers: how many sweepers of this store are at work; writes sweep only when rows pile up.
        unsweepable: rows that such a sweeper met in its last round and could not remove.
        swept_by_writes: rows that writes have swept; a sweeper leaves out as many.
        access_paths: the views that help with a filter, by entity, order and filtered fields, once worked out.
    """

    clock: ServerClock
    recent: Recent
    stats: Stats = field(default_factory=Stats)
    unbuilt: set[str] = field(default_factory=set)
    settings_hidden: bool = False
    writes: int = 0
    sweepers: int = 0
    unsweepable: int = 0
    swept_by_writes: int = 0
    access_paths: dict[tuple[str, str, frozenset[str]], AccessPath] = field(default_factory=dict)
