"""What every flow is given: the keyspace, the package, the policy, and where time and chance come from."""

from __future__ import annotations

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from keyweave.document import Codec
from keyweave.entity import Entity, Package
from keyweave.errors import ConfigurationError
from keyweave.keyspace import Keyspace, Partition
from keyweave.recent import Recent

if TYPE_CHECKING:
    from keyweave.unit import UnitOfWork

_DAY_MS: Final = 24 * 60 * 60 * 1000

LONGEST_RETENTION: Final = 36_500 * _DAY_MS * 1000
"""In microseconds. A deadline has sixteen digits, so that the head of a document keeps its layout: until 2286."""


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
        remembered: most rows of which a process keeps what it wrote, for the next upsert; 0 for none.
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
    remembered: int = 1024


@dataclass(slots=True)
class Stats:
    """What happened inside operations, counted since the store was opened."""

    conflicts: int = 0
    retries: int = 0
    replays: int = 0
    lock_waits: int = 0
    dead_met: int = 0
    healed: int = 0
    swept: int = 0


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
        retention: microseconds per entity name.
        unit: the transaction that repositories of this context belong to, or None.
        monotonic: seconds, as `time.monotonic`.
        chance: for jitter.
        unbuilt: indexes, as entity and name, that are kept by writes but must not be read yet.
        declared_only: the server refuses keys that were not declared, so pages take two round trips.
    """

    package: Package
    keyspace: Keyspace
    policy: Policy
    address: str
    retention: Mapping[str, int]
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

    def __post_init__(self) -> None:
        self.clock = ServerClock(self.monotonic)
        self.recent = Recent(self.policy.remembered)
        if not self.codecs:
            self.codecs = {name: Codec(entity) for name, entity in self.package.entities.items()}
        if not self.scripts:
            self.scripts = {name: Script(name, text) for name, text in self.package.scripts.items()}

    def inside(self, unit: UnitOfWork) -> Context:
        """This context, with every read and write going through `unit`."""
        inner = Context(
            self.package,
            self.keyspace,
            self.policy,
            self.address,
            self.retention,
            unit,
            self.monotonic,
            self.chance,
            self.stats,
            self.codecs,
            self.scripts,
            self.unbuilt,
        )
        inner.clock = self.clock
        inner.recent = self.recent
        inner.declared_only = self.declared_only
        return inner

    def partition(self, entity: Entity[Any]) -> Partition:
        """The partition that holds the rows of `entity`."""
        return self.keyspace.partition(entity.group)

    def codec(self, entity: Entity[Any]) -> Codec:
        """The codec of `entity`."""
        return self.codecs[entity.name]

    def pause(self, attempt: int) -> float:
        """Seconds to wait before try number `attempt` + 1: exponential, bounded, with full jitter."""
        longest = min(self.policy.backoff_limit, self.policy.backoff * (1 << min(attempt, 16)))
        return self.chance.uniform(0, longest)


def new_op() -> str:
    """A fresh plan id: 72 random bits. From the system, because a forked process shares its parent's generator."""
    return os.urandom(9).hex()


def resolve_retention(package: Package, overrides: Mapping[str, int]) -> dict[str, int]:
    """Retention per entity in microseconds: the schema's, replaced by `overrides`.

    Raises:
        ConfigurationError: an override names no entity with retention, is not positive or too long.
    """
    retention = {
        name: entity.retention.after
        for name, entity in package.entities.items()
        if entity.retention is not None
    }
    for name, micros in overrides.items():
        if name not in retention:
            known = ", ".join(sorted(retention)) or "none"
            raise ConfigurationError(
                f"retention: {name!r} is not an entity with retention (there are: {known})"
            )
        if micros <= 0:
            raise ConfigurationError(f"retention: {name} must be longer than zero")
        if micros > LONGEST_RETENTION:
            raise ConfigurationError(f"retention: {name} must be at most 36500 days")
        retention[name] = micros
    return retention
