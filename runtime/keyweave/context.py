"""What every flow is given: the keyspace, the package, the policy, and where time and chance come from."""

from __future__ import annotations

import copy
import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from keyweave.access_path import Access
from keyweave.document import Codec
from keyweave.entity import Entity, Package
from keyweave.keyspace import Keyspace, Partition
from keyweave.recent import Recent
from keyweave.retention import Lifetime
from keyweave.stats import Stats

if TYPE_CHECKING:
    from keyweave.telemetry.reporting import Telemetry
    from keyweave.unit import UnitOfWork

__all__ = ["Context", "Policy", "Script", "ServerClock", "Stats", "new_op"]

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often flows try. All times in seconds unless the name says otherwise.

    Attributes:
        deadline: total time of one operation, tries and pauses included.
        attempts: tries of a write that loses to other writers.
        backoff: longest first pause between tries; it doubles with every try and is drawn at random.
        backoff_limit: longest pause.
        lock_ttl: life of an advisory lock whose owner died.
        lock_wait: longest wait for an advisory lock.
        grace_ms: milliseconds between a row's deadline and the native TTL that frees it if nothing swept it.
        marker_ttl: how long a plan that leaves no document is remembered for a retry.
        chunk: most rows that one plan deletes.
        moment: time between the two looks after which a check reports drift; longer than any plan takes.
        sweep_every: after so many writes, one also looks for rows to sweep; 0 for never.
        sweep_rows: most rows that such a write sweeps.
        remembered: most rows of which a process keeps what it wrote, for the next write of them; 0 for none.
    """

    deadline: float = 10.0
    attempts: int = 64
    backoff: float = 0.002
    backoff_limit: float = 0.1
    lock_ttl: float = 5.0
    lock_wait: float = 30.0
    grace_ms: int = _DAY_MS
    marker_ttl: int = 60
    chunk: int = 500
    moment: float = 0.05
    sweep_every: int = 64
    sweep_rows: int = 64
    remembered: int = 1024


class ServerClock:
    """The server's time, estimated from its last answer and this machine's monotonic clock."""

    __slots__ = ("_monotonic", "_seen")

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic: Final = monotonic
        # Both readings in one value: a thread never sees the time of one answer with the age of another.
        self._seen = (0, 0.0)

    def set(self, micros: int) -> None:
        """Take the server's time, in microseconds since 1970, as of now."""
        self._seen = (micros, self._monotonic())

    def now(self) -> int:
        """The server's time as it probably is, in microseconds since 1970."""
        micros, at = self._seen
        return micros + int((self._monotonic() - at) * 1_000_000)

    def passed(self, deadline: int) -> bool | None:
        """Whether `deadline` (microseconds since 1970) has passed; None when only the server can tell.

        The margin allows for a slow round trip and for 200 ppm of drift since the last answer.
        """
        micros, at = self._seen
        age = self._monotonic() - at
        margin = 100_000 + int(age * 200)
        distance = deadline - (micros + int(age * 1_000_000))
        if micros == 0 or -margin <= distance <= margin:
            return None
        return distance < 0


class Script:
    """A Lua script and the digest by which the server knows it."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name: Final = name
        self.text: Final = text
        self.sha: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


@dataclass(slots=True)
class Context:
    """What flows work with.

    Attributes:
        package: everything generated from the schema.
        keyspace: the keys of this store's namespace.
        policy: how long and how often to try.
        address: host and port, or path of the socket, for error messages.
        retention: how long rows live, by entity name.
        unit: the transaction that repositories of this context belong to, or None.
        monotonic: seconds, as `time.monotonic`.
        chance: for jitter.
        unbuilt: indexes, as entity and name, that are kept by writes but must not be read yet.
        encrypted: the connection uses TLS.
        local: the connection stays on this machine.
        settings_hidden: the server refuses CONFIG GET, so it is not asked again.
        declared_only: the server refuses keys that were not declared, so pages take two round trips.
        telemetry: who watches operations, or None.
        writes: plans that were applied in groups whose rows may end.
        tended: how many sweepers of this store are at work; writes sweep only when rows pile up.
        kept: rows that such a sweeper met in its last round and could not remove.
        tidied: rows that writes have swept; a sweeper leaves out as many.
        ending: groups with rows that may end.
        accesses: the views that help with a filter, by entity, order and filtered fields, once worked out.
    """

    package: Package
    keyspace: Keyspace
    policy: Policy
    address: str
    retention: Mapping[str, Lifetime]
    unit: UnitOfWork | None = None
    monotonic: Callable[[], float] = time.monotonic
    chance: random.Random = field(default_factory=random.Random)
    stats: Stats = field(default_factory=Stats)
    codecs: Mapping[str, Codec] = field(default_factory=dict)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    clock: ServerClock = field(init=False)
    recent: Recent = field(init=False)
    unbuilt: set[str] = field(default_factory=set)
    declared_only: bool = False
    telemetry: Telemetry | None = None
    encrypted: bool = False
    local: bool = True
    settings_hidden: bool = False
    writes: int = 0
    tended: int = 0
    kept: int = 0
    tidied: int = 0
    ending: frozenset[str] = field(init=False)
    accesses: dict[tuple[str, str, frozenset[str]], Access] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = ServerClock(self.monotonic)
        self.ending = frozenset(self.package.entities[name].group for name in self.retention)
        self.recent = Recent(self.policy.remembered)
        if not self.codecs:
            self.codecs = {name: Codec(entity) for name, entity in self.package.entities.items()}
        if not self.scripts:
            scripts = dict(self.package.scripts)
            # A server at its memory limit refuses scripts that may write; one that only frees memory must still run.
            scripts["free"] = scripts["apply"].replace("#!lua", "#!lua flags=allow-oom", 1)
            self.scripts = {name: Script(name, text) for name, text in scripts.items()}

    def inside(self, unit: UnitOfWork) -> Context:
        """This context, with every read and write going through `unit`."""
        inner = object.__new__(Context)
        for name in self.__slots__:
            setattr(inner, name, getattr(self, name))
        inner.unit = unit
        return inner

    def hasty(self) -> Context:
        """This context, but giving up at the first failure."""
        hurried = copy.copy(self)
        hurried.policy = replace(self.policy, deadline=0.0)
        return hurried

    def partition(self, entity: Entity[Any]) -> Partition:
        """The partition that holds the rows of `entity`."""
        return self.keyspace.partition(entity.group)

    def codec(self, entity: Entity[Any]) -> Codec:
        """The codec of `entity`."""
        return self.codecs[entity.name]

    def retain(self, entity: Entity[Any]) -> int:
        """Microseconds that rows of `entity` live once their retention applies; 0 for an entity without."""
        lifetime = self.retention.get(entity.name)
        return lifetime.micros if lifetime is not None else 0

    def untidy(self, partition: Partition) -> bool:
        """Whether it is the turn of this write to look for rows to sweep."""
        if partition.group not in self.ending or not self.policy.sweep_every:
            return False
        self.writes += 1
        return self.writes % self.policy.sweep_every == 0

    def pause(self, attempt: int) -> float:
        """Seconds to wait before try number `attempt` + 1: exponential, bounded, with full jitter."""
        longest = min(self.policy.backoff_limit, self.policy.backoff * (1 << min(attempt, 16)))
        return self.chance.uniform(0, longest)


def new_op() -> str:
    """A fresh plan id: 72 random bits. From the system, because a forked process shares its parent's generator."""
    return os.urandom(9).hex()
