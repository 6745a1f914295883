"""The state of an open store: one object that all contexts of the store share, so each sees what the others learned."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyweave.store.access_path import Candidates, Choices
from keyweave.store.clock import ServerClock
from keyweave.store.durability import Durability
from keyweave.store.ledger import Ledger
from keyweave.store.placing import KnownHomes, Placing
from keyweave.store.policy import Policy
from keyweave.store.recent import Recent
from keyweave.store.stats import Stats
from keyweave.store.turns import LockQueue, Turns


@dataclass(slots=True)
class StoreState:
    """What a store has learned and counted since it was opened.

    Attributes:
        ledger: the slots of plans under way.
        clock: the server's time, or the time of one server where there are several.
        clocks: on a cluster, the time of the master that holds a partition, by the partition's tag.
        recent: recently written rows.
        stats: counters of events inside operations.
        unbuilt: names of indexes (`TaskState.by_status`) that writes keep but reads must not use yet.
        settings_hidden: whether the server has refused CONFIG GET, so that it is not sent again.
        writes: number of writes to groups whose rows may have a deadline.
        sweepers: number of running sweepers of this store. While one runs, writes sweep only a backlog.
        unsweepable: number of rows that a sweeper could not remove in its last round.
        swept_by_writes: number of rows that writes have swept. A sweeper pauses longer for them.
        cursors: the secret that encrypts cursors: the namespace's, or one of this store's own until that is known.
        access_paths: cached candidates of filters, by entity, order and filtered fields.
        choices: what the planner chose for kinds of filters, by the entity's name.
        searches: searches for the entries of freed rows that are not complete, by the tag of the partition; see
            `keyweave.expiry.search`. An operation takes one out while it works on it.
        lockers: transactions that lock one row, by the key of the lock; see `keyweave.read.lock`.
        confirmable: the levels of durability on which the server is known to confirm writes.
        levels: the contexts of writes that are confirmed on a level of their own.
        policy: the policy with which the store was opened.
        parts: its copies that are in one partition, by the level of durability, then by the partition's tag.
        placings: what is kept for each partition, by its tag, in a store with several partitions of a group.
        homes: where rows were that this process met, in a store with several partitions of a group.
        known: the monotonic time at which the numbers of partitions were read last; 0 before they were.
        spreads: how often other numbers of partitions were learned.
        greeted: `spreads` when the last handshake began that came to its end; what it reads of partitions is unknown of later ones.
        names: the names of all keys of the namespace, where one scan has found those of many namespaces; None: each walk scans.
    """

    ledger: Ledger
    clock: ServerClock
    recent: Recent
    cursors: bytes = field(repr=False)
    clocks: dict[str, ServerClock] = field(default_factory=dict)
    stats: Stats = field(default_factory=Stats)
    unbuilt: set[str] = field(default_factory=set)
    settings_hidden: bool = False
    writes: int = 0
    sweepers: int = 0
    unsweepable: int = 0
    swept_by_writes: int = 0
    access_paths: dict[tuple[Hashable, ...], Candidates] = field(default_factory=dict)
    choices: dict[str, Choices] = field(default_factory=dict)
    searches: dict[str, Any] = field(default_factory=dict)
    lockers: Turns[LockQueue] = field(default_factory=lambda: Turns(LockQueue))
    confirmable: set[Durability] = field(default_factory=set)
    levels: dict[Durability | None, Any] = field(default_factory=dict, repr=False)
    policy: Policy | None = field(default=None, repr=False)
    parts: dict[Durability | None, dict[str, Any]] = field(default_factory=dict, repr=False)
    placings: dict[str, Placing] = field(default_factory=dict)
    homes: KnownHomes = field(default_factory=KnownHomes)
    known: float = 0.0
    spreads: int = 0
    greeted: int = 0
    names: Sequence[bytes] | None = field(default=None, repr=False)

    def of_tenant(self, tenant: str, cursors: bytes, writes: int) -> StoreState:
        """Return the state of a tenant of this store.

        What concerns the server or the schema is shared: ledger, clock, levels that the server confirms, what was found out for
        filters, and counters. What concerns rows or indexes is the tenant's own; the rows that are remembered only share their slots.

        Args:
            tenant: its name.
            cursors: the secret of its cursors until that of the namespace is known.
            writes: where its count of writes begins.
        """
        return StoreState(
            self.ledger,
            self.clock,
            self.recent.of_tenant(tenant),
            cursors=cursors,
            stats=self.stats,
            settings_hidden=self.settings_hidden,
            writes=writes,
            access_paths=self.access_paths,
            choices=self.choices,
            confirmable=self.confirmable,
            policy=self.policy,
        )
