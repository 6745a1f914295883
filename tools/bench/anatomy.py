"""Where the time of a call goes: round trips, bytes, the server's work, and the work of this process.

The work of this process is what the call takes when the answers are at hand. What is left of a call's time is the kernel,
the wire, and two processes waiting for each other.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any, Final

from tools.bench.bare import BareSide, pack
from tools.bench.case import Case, Turn
from tools.bench.data import Data
from tools.bench.results import Anatomy
from tools.bench.world import Server

_FIRST: Final = 500_000


async def dissect(case: Case, bare: BareSide, server: Server, data: Data, turns: int) -> Anatomy:
    """Medians over some calls of Keyweave on `server`; `bare` has the commands that they send."""
    trips, commands, sent, received, served, worked = [], [], [], [], [], []
    for number in range(turns):
        turn = Turn(_FIRST + number, data)
        arguments = await case.prepare(bare, turn)
        await server.client.config_resetstat()
        pipelines = await bare.spied(case, arguments)
        stats = await server.client.info("commandstats")
        trips.append(len(pipelines))
        commands.append(sum(len(each.commands) for each in pipelines))
        sent.append(sum(len(pack(each.commands)) for each in pipelines))
        received.append(sum(_size(each.replies) for each in pipelines))
        served.append(_served([str(command[0]) for each in pipelines for command in each.commands], stats))
        took = await bare.answered(case, await case.prepare(bare, turn), pipelines)
        if took is not None:
            worked.append(took)
    return Anatomy(
        trips=round(statistics.median(trips)),
        commands=round(statistics.median(commands)),
        sent=round(statistics.median(sent)),
        received=round(statistics.median(received)),
        server=round(statistics.median(served), 1),
        client=round(statistics.median(worked or [0]), 1),
    )


def _served(names: Sequence[str], stats: dict[str, Any]) -> float:
    """Microseconds that the server spent. What a script calls is in the script's time, and in the command's own, too."""
    total = 0.0
    for name in names:
        found = stats.get(f"cmdstat_{name.lower()}")
        if found is not None:
            total += float(found["usec_per_call"])
    return total


def _size(reply: Any) -> int:
    if isinstance(reply, list):
        return sum(map(_size, reply))
    return len(reply) if isinstance(reply, bytes) else 8
