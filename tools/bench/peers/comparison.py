"""The whole comparison: rows in every library, results compared, calls timed, promises counted, and LangGraph's savers."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

from tests.servers.running import Running, new_namespace
from tools.bench.peers import promises, server
from tools.bench.peers.calls import CALLS, Call, Turn
from tools.bench.peers.opening import opened, present
from tools.bench.peers.promises import Amounts
from tools.bench.peers.results import Compared, Peers
from tools.bench.peers.rows import rows
from tools.bench.peers.savers import compared_savers
from tools.bench.peers.side import Side
from tools.bench.peers.timing import compare

LIBRARIES: Final = (
    "redis",
    "hiredis",
    "redis-om",
    "redisvl",
    "rom",
    "langgraph-checkpoint-redis",
    "langgraph",
)


@dataclass(frozen=True, slots=True)
class Effort:
    """How much a comparison does.

    Attributes:
        stored: rows that every side holds.
        checks: turns of each call whose results are compared.
        turns: timed turns of each call at most.
        seconds: of each call at most.
        amounts: of the promises.
    """

    stored: int
    checks: int
    turns: int
    seconds: float
    amounts: Amounts


EFFORTS: Final = {
    "full": Effort(3_000, 3, 400, 3.0, Amounts(8, 50, 50, 50)),
    "quick": Effort(300, 2, 30, 0.3, Amounts(8, 10, 10, 20)),
    "tiny": Effort(120, 2, 2, 0.0, Amounts(2, 4, 5, 5)),
}


def run(kind: str) -> Peers:
    """Make a comparison of one of `EFFORTS` on a server of its own.

    Raises:
        KeyError: there is no such kind.
        RuntimeError: a server does not start, or a race failed.
    """
    effort = EFFORTS[kind]
    started, began = datetime.now(UTC), time.monotonic()
    before = os.getloadavg()[0]
    with server.running() as running:
        kinds, missing = present(server.has_search())
        calls, guarantees = _mappers(running, kinds, effort)
        savers, remnants, absent = compared_savers(
            running, server.has_search(), effort.checks, effort.turns, effort.seconds
        )
        return Peers(
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 1),
            server=server.described(running),
            versions={name: found for name in LIBRARIES if (found := _version(name)) is not None},
            load=(round(before, 2), round(os.getloadavg()[0], 2)),
            cores=os.cpu_count() or 1,
            stored=effort.stored,
            processes=effort.amounts.processes,
            notes={each.name: each.notes for each in kinds},
            missing=missing | absent,
            calls=calls,
            savers=savers,
            guarantees=guarantees,
            remnants=remnants,
        )


def _mappers(running: Running, kinds: list[type[Side]], effort: Effort) -> tuple[Any, Any]:
    socket, namespace = str(running.socket), new_namespace("peers")
    with opened(kinds, socket, namespace) as sides:
        for side in sides:
            for start in range(0, effort.stored, 500):
                side.bulk(rows(range(start, min(start + 500, effort.stored))))
            side.forget()
        calls = [_compared(call, sides, effort) for call in CALLS]
        return tuple(calls), promises.count(sides, socket, namespace, effort.amounts)


def _compared(call: Call, sides: list[Side], effort: Effort) -> Compared:
    once = partial(_once, call, effort.stored)
    return compare(call.name, sides, once, effort.checks, effort.turns, effort.seconds)


def _once(call: Call, stored: int, side: Side, number: int, wanted: bool) -> tuple[int, Any]:
    """Make a call of a turn."""
    turn = Turn(number, stored)
    prepared = call.prepare(side, turn)
    started = time.perf_counter_ns()
    found = call.make(side, turn, prepared)
    took = time.perf_counter_ns() - started
    result = call.result(side, turn, found) if wanted else None
    call.undo(side, turn)
    return took, result


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
