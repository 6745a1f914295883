"""What one run does: the operations of clients, the rates of faults and the failovers, made by a seed."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from tools.simulate.draws import chance, weighted

KEYS: Final = ("k0", "k1")
CODES: Final = ("red", "blue")
SERVERS: Final = 3
PARTITIONS: Final = 4

FAULTS: Final = (
    "request lost",
    "reply lost",
    "slow request",
    "slow reply",
    "refused",
    "crash before",
    "crash after",
    "stall",
)


class Operation(NamedTuple):
    """One operation of a client.

    Attributes:
        kind: `create`, `recode`, `delete`, `get` or `vacate`.
        key: of the row.
        code: its unique value, or None.
        partition: number of the partition that the row is created in.
        pause: virtual microseconds before it.
    """

    kind: str
    key: str
    code: str | None
    partition: int
    pause: int


class Failover(NamedTuple):
    """A server is away for some time, and comes back with another clock and without its scripts.

    Attributes:
        server: its number.
        at: virtual microseconds.
        lasts: virtual microseconds.
        jump: microseconds by which its clock changes.
    """

    server: int
    at: int
    lasts: int
    jump: int


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run.

    Attributes:
        seed: draws what happens to each exchange.
        clients: the operations of each client.
        rates: how often each fault happens to an exchange.
        failovers: of servers.
        skews: microseconds by which the servers' clocks differ from virtual time.
        deadline: seconds of one operation.
        crash: an exchange (client, operation, number) at which its client ends, and whether the request is sent before; or None.
    """

    seed: int
    clients: tuple[tuple[Operation, ...], ...]
    rates: dict[str, float]
    failovers: tuple[Failover, ...]
    skews: tuple[int, ...]
    deadline: float
    crash: tuple[tuple[int, int, int], bool] | None = None

    def quiet(self) -> Scenario:
        """The same operations without faults."""
        return replace(self, rates={}, failovers=())


_KINDS: Final = (("create", 6.0), ("delete", 3.0), ("recode", 2.0), ("get", 2.0), ("vacate", 2.0))


_REST: Final = 2_000_000_000
"""Virtual microseconds, more than twice the life of a fence, that some clients rest before an operation."""


def _operation(source: random.Random, spread: int, rests: float) -> Operation:
    pause = _REST if source.random() < rests else spread
    return Operation(
        weighted(source, _KINDS),
        source.choice(KEYS),
        source.choice((None, *CODES)),
        source.randrange(PARTITIONS),
        source.randrange(pause),
    )


def scenario(seed: int) -> Scenario:
    """The scenario of a seed. One in four has no faults, and in one in four clients hardly pause."""
    source = chance(seed, 21)
    spread = source.choice((2_000, 20_000, 200_000, 2_000_000))
    rests = source.choice((0.0, 0.0, 0.3))
    clients = tuple(
        tuple(_operation(source, spread, rests) for _ in range(source.randint(2, 6)))
        for _ in range(source.randint(2, 6))
    )
    faulty = source.random() < 0.75
    rates = {name: source.choice((0.0, 0.02, 0.1)) for name in FAULTS} if faulty else {}
    failovers = tuple(
        Failover(
            source.randrange(SERVERS),
            source.randrange(3_000_000),
            source.randrange(1_000_000),
            source.choice((0, 0, 1_000_000, 60_000_000, -1_000_000, -60_000_000)),
        )
        for _ in range(source.randint(0, 3) if faulty else 0)
    )
    skews = tuple(source.randint(-100_000_000, 100_000_000) for _ in range(SERVERS))
    return Scenario(seed, clients, rates, failovers, skews, source.choice((0.3, 2.0, 10.0)))
