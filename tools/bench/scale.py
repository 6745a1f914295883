"""The same calls beside few and beside many rows, on one server, in turns: does a call get slower as data grows?"""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Final

from tools.bench.case import Case, Turn
from tools.bench.data import FULL, Data, Size
from tools.bench.loading import load_keyweave
from tools.bench.machine import machine, server_version
from tools.bench.measuring import Effort
from tools.bench.progress import Steps
from tools.bench.results import Growth, Run, timing
from tools.bench.sides import VALKEY, KeyweaveRows, Side
from tools.bench.world import keyweave_server, valkey_url

_FEW: Final = "few"
_MANY: Final = "many"


def size(tasks: int) -> Size:
    """About this many tasks, and as much of the rest as a full run has."""
    return replace(FULL, executions=tasks // 10)


async def scale(cases: Sequence[Case], few: Size, many: Size, seed: int, effort: Effort, steps: Steps) -> Run:
    """Load two amounts of data into one Valkey, and time every case whose result does not grow with them."""
    started, began = datetime.now(UTC), time.monotonic()
    bounded = [case for case in cases if not case.grows]
    async with AsyncExitStack() as stack:
        url = valkey_url(stack)
        worlds: list[tuple[Side, Data]] = []
        versions: dict[str, str] = {}
        for name, each in ((_FEW, few), (_MANY, many)):
            server = await keyweave_server(stack, name, url)
            data = Data(seed, each)
            await load_keyweave(server.engine, data, steps.begin(f"{each.tasks} tasks", each.families))
            worlds.append((Side(name, server.engine, KeyweaveRows(server.engine)), data))
            versions |= await server_version(server)
        before = os.getloadavg()[0]
        advance = steps.begin("latency", len(bounded))
        growth = []
        for case in bounded:
            growth.append(await _grown(case, worlds, effort))
            advance(1)
        return Run(
            kind="scale",
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 1),
            seed=seed,
            data={"few tasks": few.tasks, "many tasks": many.tasks, **asdict(many)},
            compared=0,
            load=(round(before, 2), round(os.getloadavg()[0], 2)),
            machine=machine(versions),
            settings={"side": VALKEY, "append-only file": "appendfsync everysec"},
            growth=growth,
        )


async def _grown(case: Case, worlds: Sequence[tuple[Side, Data]], effort: Effort) -> Growth:
    took: dict[str, list[float]] = {side.name: [] for side, _ in worlds}
    until = time.monotonic() + effort.seconds
    gc.collect()
    gc.disable()
    try:
        for number in range(effort.most):
            if number >= effort.least and time.monotonic() > until:
                break
            for side, data in worlds if number % 2 else reversed(worlds):
                outcome = await side.once(case, Turn(number, data))
                took[side.name].append(outcome.took / 1_000)
    finally:
        gc.enable()
    few, many = timing(_FEW, took[_FEW]), timing(_MANY, took[_MANY])
    few.samples = many.samples = []
    return Growth(name=case.name, few=few, many=many, ratio=round(many.p50 / few.p50, 3))
