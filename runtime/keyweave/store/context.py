"""The context of flows: keyspace, package, policy, the store's state, and the sources of time and randomness."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from secrets import token_bytes
from typing import Any

from keyweave.changes.packed import RowPacker
from keyweave.changes.unit import UnitOfWork
from keyweave.document.codec import Codec
from keyweave.errors import ConfigurationError
from keyweave.keyspace.doubling import Doubling
from keyweave.keyspace.keys import Keyspace, Partition
from keyweave.model.cursor import SECRET_LENGTH
from keyweave.model.entity import Entity, Package
from keyweave.store.clock import ServerClock
from keyweave.store.durability import Durability
from keyweave.store.ledger import Ledger
from keyweave.store.placing import KnownHomes, Placing, Router
from keyweave.store.policy import Policy
from keyweave.store.recent import Recent
from keyweave.store.retention import Lifetime
from keyweave.store.script import Script, scripts_of
from keyweave.store.state import StoreState
from keyweave.store.strategy import Strategy
from keyweave.store.watch import Watch


@dataclass(frozen=True, slots=True)
class Context:
    """The context of flows. It is immutable; `state` holds everything that changes.

    Attributes:
        package: everything generated from the schema.
        keyspace: the keys of this store's namespace.
        policy: timeouts, attempts and batch sizes.
        address: host and port, or path of the socket, for error messages.
        retention: how long rows live, by entity name.
        strategy: how reads find rows whose keys the caller does not know.
        monotonic: returns seconds, like `time.monotonic`.
        wall: returns seconds, like `time.time`.
        random: source of jitter.
        secret: returns so many random bytes that cannot be guessed.
        timeout: seconds that one exchange may take.
        encrypted: whether the connection uses TLS.
        local: whether the connection stays on this machine.
        clustered: whether partitions are spread over the masters of a cluster.
        direct: whether the channel is the direct one, which takes packed commands.
        telemetry: receives measurements of operations, or None.
        durability: what confirms the writes of this context's store; None: nothing does.
        unit: the transaction that repositories of this context belong to, or None.
        state: what this store has learned and counted; shared by all of its contexts.
        unbuilt: names of indexes that reads must not use yet: the state's set, or nothing in a context that builds them.
        wanted: the number of partitions that the caller asked for, by group; else the namespace's own or the schema's.
        routing: returns the router of a store with several partitions of a group; given True, while they are doubled.
        router: what finds the partitions of rows, in a store with several partitions of a group; None in one with one of each, and
            in a context that is in one partition.
        placing: what is kept for each partition.
        doubling: what one operation believes about groups whose partitions are being doubled; None: it knows of none.
        homing: whether the context is in one of several partitions, so that keys and unique values have homes.
        codecs: by entity name.
        scripts: by name.
        expiring_groups: groups whose rows may have a deadline.
    """

    package: Package
    keyspace: Keyspace
    policy: Policy
    address: str
    retention: Mapping[str, Lifetime]
    strategy: Strategy
    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: random.Random = field(default_factory=random.Random)
    secret: Callable[[int], bytes] = token_bytes
    timeout: float = 5.0
    encrypted: bool = False
    local: bool = True
    clustered: bool = False
    direct: bool = False
    telemetry: Watch | None = None
    durability: Durability | None = None
    unit: UnitOfWork | None = None
    wanted: Mapping[str, int] = field(default_factory=dict)
    routing: Callable[[bool], Router | None] = lambda _: None
    router: Router | None = None
    homing: bool = False
    placing: Placing = field(default_factory=Placing)
    doubling: Mapping[str, Doubling] | None = None
    state: StoreState = field(init=False)
    unbuilt: AbstractSet[str] = field(init=False)
    codecs: Mapping[str, Codec] = field(init=False)
    scripts: Mapping[str, Script] = field(init=False)
    expiring_groups: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        entities = self.package.entities
        micros = {name: lifetime.micros for name, lifetime in self.retention.items()}
        state = StoreState(
            Ledger(self.monotonic),
            ServerClock(self.monotonic, self.wall),
            Recent(self.policy.remembered),
            cursors=self.secret(SECRET_LENGTH),
        )
        state.policy = self.policy
        derived = {
            "state": state,
            "unbuilt": state.unbuilt,
            "codecs": {name: Codec(entity, micros.get(name, 0)) for name, entity in entities.items()},
            "scripts": scripts_of(self.package.scripts),
            "expiring_groups": frozenset(entities[name].group for name in self.retention),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)

    def inside(self, unit: UnitOfWork) -> Context:
        """Return a copy whose reads and writes go through `unit`."""
        return self._with(unit=unit, strategy=self.strategy.inside or self.strategy)

    def using(self, strategy: Strategy) -> Context:
        """Return a copy with another strategy of reading."""
        return self._with(strategy=strategy)

    def learn(self, strategy: Strategy) -> None:
        """Change the strategy of reading, for a store that connects at its first call: before it runs that call."""
        self._learn("strategy", strategy)

    def route(self, router: Router | None) -> None:
        """Let `router` find the partitions of rows from now on; a store learns at its handshake how many there are."""
        self._learn("router", router)

    def _learn(self, name: str, value: object) -> None:
        for context in (self, *tuple(self.state.levels.values())):
            object.__setattr__(context, name, value)

    def spread(self, numbers: Mapping[str, int], doublings: Mapping[str, Doubling]) -> None:
        """Set how many partitions each group has, and which are being doubled; what was kept for other numbers is forgotten."""
        self.keyspace.spread(numbers, doublings)
        self.state.homes = KnownHomes()
        self.state.parts = {}
        self.route(self.routing(bool(doublings)) if max(numbers.values(), default=1) > 1 else None)

    def amid(self, doubling: Mapping[str, Doubling]) -> Context:
        """Return a copy for one operation while partitions are doubled."""
        return self._with(doubling=doubling)

    def share_of(self, partition: Partition) -> tuple[int, str] | None:
        """Return what this operation believes about a partition: the number that there will be, and `all` or `half`; None in general."""
        known = self.doubling.get(partition.group) if self.doubling is not None else None
        return (known.target, known.share(partition.index)) if known is not None else None

    def on_level(self, durability: Durability | None) -> Context:
        """Return a context whose writes are confirmed on another level; the same one for each level."""
        found: Context = self.state.levels.setdefault(durability, self._with(durability=durability))
        # These may have become known between the copy and its entry.
        object.__setattr__(found, "strategy", self.strategy)
        object.__setattr__(found, "router", self.router)
        return found

    def at(self, partition: Partition) -> Context:
        """Return a copy that is in one partition: flows with it neither read nor write any other.

        In a store with one partition of each group it is this context itself.
        """
        if self.router is None and not self.homing:
            return self
        if self.telemetry is not None and self.keyspace.number(partition.group) > 1:
            self.telemetry.placed(partition.group, partition.index)
        state = self.state
        if (
            self.doubling is not None
            or self.unit is not None
            or self.policy is not state.policy
            or self.unbuilt is not state.unbuilt
        ):
            return self._at(partition)
        parts = state.parts.get(self.durability)
        if parts is None:
            parts = state.parts.setdefault(self.durability, {})
        found: Context | None = parts.get(partition.tag)
        if found is None or found.strategy is not self.strategy:
            found = parts[partition.tag] = self._at(partition)
        return found

    def _at(self, partition: Partition) -> Context:
        """Return a new copy that is in one of several partitions, or in the only partition of a group."""
        several = self.keyspace.number(partition.group) > 1
        placing = self.state.placings.setdefault(partition.tag, Placing()) if several else self.placing
        keyspace = self.keyspace.only(partition)
        return self._with(keyspace=keyspace, router=None, homing=several, placing=placing)

    def of_tenant(self, tenant: str) -> Context:
        """Return the context of another tenant of this store; see `StoreState.of_tenant`.

        Raises:
            TenantNameError: the name is empty, too long or no text.
        """
        keyspace = self.keyspace.of_tenant(tenant)
        # A state may be forgotten after a few writes and made anew. A count that begins at random keeps the share of writes that sweep.
        begun = self.random.randrange(self.policy.sweep_every) if self.policy.sweep_every else 0
        state = self.state.of_tenant(tenant, self.secret(SECRET_LENGTH), begun)
        return self._with(
            keyspace=keyspace,
            state=state,
            unbuilt=state.unbuilt,
            router=None,
            homing=False,
            placing=Placing(),
        )

    def learn_server(self, other: Context) -> None:
        """Take over what another context of the same store learned of the server when it connected."""
        self.state.settings_hidden = other.state.settings_hidden
        if self.strategy is not other.strategy:
            self.learn(other.strategy)

    def without_retries(self) -> Context:
        """Return a copy that raises the first failure instead of retrying."""
        return self._with(policy=replace(self.policy, deadline=0.0))

    def reading_unbuilt(self) -> Context:
        """Return a copy for building indexes: every index counts as built. The copy shares the state like every other."""
        return self._with(unbuilt=frozenset())

    def _with(self, **changed: Any) -> Context:
        """Return a copy with some attributes replaced. Derived attributes are shared, so a transaction's copy is cheap."""
        other = object.__new__(Context)
        for name in self.__slots__:
            object.__setattr__(other, name, changed[name] if name in changed else getattr(self, name))
        return other

    def partition(self, entity: Entity[Any]) -> Partition:
        """Return the partition that holds the rows of `entity`.

        Raises:
            ConfigurationError: there are several, and what runs does not support that.
        """
        try:
            return self.keyspace.partition(entity.group)
        except ValueError:
            raise unsupported(self.keyspace.number(entity.group), entity.group) from None

    def clock_of(self, entity: Entity[Any]) -> ServerClock:
        """Return the clock of the server that holds the rows of `entity`."""
        return self.state.clock if not self.clustered else self.clock(self.partition(entity))

    def clock(self, partition: Partition) -> ServerClock:
        """Return the clock of the server that holds a partition."""
        if not self.clustered:
            return self.state.clock
        clocks = self.state.clocks
        return clocks.get(partition.tag) or clocks.setdefault(
            partition.tag, ServerClock(self.monotonic, self.wall)
        )

    def codec(self, entity: Entity[Any]) -> Codec:
        """Return the codec of `entity`."""
        return self.codecs[entity.name]

    def packer(self, entity: Entity[Any]) -> RowPacker | None:
        """Return what packs the plans that write one row of `entity`; None where plans are not packed."""
        if self.doubling is not None:
            return None
        packers = self.placing.packers
        if entity.name not in packers:
            packs = self.direct and self.policy.command_words is None
            packers[entity.name] = self._new_packer(entity) if packs else None
        return packers[entity.name]

    def _new_packer(self, entity: Entity[Any]) -> RowPacker:
        return RowPacker(
            entity,
            self.partition(entity),
            self.view_prefixes(entity),
            sha=self.scripts["apply"].sha,
            grace_ms=self.policy.grace_ms,
            writer=self.package.writer,
        )

    def view_prefixes(self, entity: Entity[Any]) -> Mapping[str, str]:
        """Return what the keys of each view of `entity` begin with, as its `places` expects it."""
        known = self.placing.view_prefixes
        found = known.get(entity.name)
        if found is None:
            found = known[entity.name] = self.partition(entity).view_prefixes(entity)
        return found

    def due_for_sweep(self, group: str) -> bool:
        """Count a write to `group`, and return whether this write should sweep: one of every `sweep_every` does."""
        if group not in self.expiring_groups or not self.policy.sweep_every or self.doubling is not None:
            return False
        self.state.writes += 1
        return self.state.writes % self.policy.sweep_every == 0

    def backoff(self, attempt: int) -> float:
        """Return the seconds to wait before attempt number `attempt` + 1: exponential, bounded, with full jitter."""
        longest = min(self.policy.backoff_limit, self.policy.backoff * (1 << min(attempt, 16)))
        return self.random.uniform(0, longest)


def unsupported(number: int, group: str) -> ConfigurationError:
    """Return the error of what works on groups with one partition only."""
    return ConfigurationError(
        f"this is not supported in a group with several partitions: {group} has {number}; docs/limits.md lists what is"
    )
