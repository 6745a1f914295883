"""Playing a case: every kill has servers of its own, writers, a failure, and a count of the acknowledged writes that are gone."""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.servers.guarded import guarded
from tools.durability.cases import Case
from tools.durability.disk import compiled, lose_power, watched
from tools.durability.writers import missing, seconds_per_write, writing
from tools.faults.site.proxy import Proxy
from tools.faults.site.server import Server
from tools.faults.site.way import Weather

_CUT: Final = 0.1
"""Seconds at most between the loss of the link to the replica and that of the primary."""

_COSTS: Final = 15


@dataclass(slots=True)
class Tally:
    """What a case did.

    Attributes:
        kills: number of failures.
        acknowledged: number of writes whose call returned before the failure.
        unconfirmed: number of writes that raised DurabilityError.
        lost: number of acknowledged writes that were gone.
        hit: number of failures that lost one.
        cost: seconds of the median write of a single writer; 0 before it is measured.
    """

    kills: int = 0
    acknowledged: int = 0
    unconfirmed: int = 0
    lost: int = 0
    hit: int = 0
    cost: float = 0.0


def play(
    case: Case,
    kills: int,
    command: Sequence[str],
    *,
    seed: int = 0,
    after: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Play a case.

    Args:
        kills: how many failures.
        command: the words that start a server.
        seed: of the moments of the failures.
        after: called after each failure.

    Raises:
        RuntimeError: a server does not start, or a loss of power cannot be played because there is no C compiler.
    """
    chance, tally = random.Random(seed), Tally()
    failure = _failover if case.failure == "failover" else _fail
    with guarded("durability-") as folder:
        library = compiled(folder) if case.failure == "power" else None
        for number in range(kills):
            home = folder / str(number)
            failure(case, home, command, library, chance, tally)
            tally.kills += 1
            after(tally)
            shutil.rmtree(home)
    return tally


def _fail(
    case: Case, home: Path, command: Sequence[str], library: Path | None, chance: random.Random, tally: Tally
) -> None:
    """Kill one server, drop what is not on its disk if power fails, and start it again."""
    log = home / "fsyncs"
    words = list(command) if library is None else watched(command, library, log)
    server = Server(words, home / "server", case.fsync, listens=False)
    try:
        server.start()
        _measure(case, server, tally)
        with writing(server.socket, case.durable, chance.uniform(*case.seconds)) as crew:
            if library is None:
                server.kill()
            else:
                lose_power(server, log)
        server.start()
        _count(tally, crew.unconfirmed, crew.acknowledged, missing(server.socket, crew.acknowledged))
    finally:
        server.close()


def _failover(
    case: Case, home: Path, command: Sequence[str], _: Path | None, chance: random.Random, tally: Tally
) -> None:
    """Cut a replica off, kill its primary, and promote the replica."""
    primary = Server(command, home / "primary", case.fsync, listens=True)
    replica = Server(command, home / "replica", case.fsync, listens=False)
    proxy = Proxy(primary.socket, 0)
    try:
        primary.start()
        replica.start()
        replica.ask("REPLICAOF", "127.0.0.1", proxy.port)
        replica.wait_for_link()
        _measure(case, primary, tally)
        with writing(primary.socket, case.durable, chance.uniform(*case.seconds)) as crew:
            proxy.change(Weather(refuse=True))
            proxy.cut(1.0, "both")
            time.sleep(chance.uniform(0.0, _CUT))
            primary.kill()
        replica.ask("REPLICAOF", "NO", "ONE")
        _count(tally, crew.unconfirmed, crew.acknowledged, missing(replica.socket, crew.acknowledged))
    finally:
        proxy.close()
        replica.close()
        primary.close()


def _measure(case: Case, server: Server, tally: Tally) -> None:
    """Measure what a write costs, once in a case."""
    if not tally.cost:
        tally.cost = seconds_per_write(server.socket, case.durable, _COSTS)


def _count(tally: Tally, unconfirmed: list[str], acknowledged: list[str], lost: list[str]) -> None:
    tally.acknowledged += len(acknowledged)
    tally.unconfirmed += len(unconfirmed)
    tally.lost += len(lost)
    tally.hit += bool(lost)
