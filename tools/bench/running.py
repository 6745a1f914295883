"""One run: open everything, compare, time, and return the results."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from tools.bench.anatomy import dissect
from tools.bench.case import Case
from tools.bench.data import FULL, QUICK, TINY, Data, Size
from tools.bench.machine import has_search, machine, server_version
from tools.bench.measuring import Effort, measure, taking_part
from tools.bench.profiling import Spent, profile
from tools.bench.progress import Steps
from tools.bench.results import Anatomy, CaseTimings, Rate, Run
from tools.bench.sides import REDIS8
from tools.bench.throughput import CALLERS, rates, warm
from tools.bench.verifying import verify
from tools.bench.world import CONNECTIONS, POSTGRES_SETTINGS, World, opened


@dataclass(frozen=True, slots=True)
class Plan:
    """How much a run does.

    Attributes:
        size: of the data.
        turns: calls of each case whose results are compared.
        dissected: calls of each case whose time is taken apart.
        effort: of the timing of each case.
        callers: numbers of callers of the throughput.
        windows: of each side, case and number of callers.
        durable: whether PostgreSQL waits for the disk, as it does by default; without it a run is no measurement.
        rated: words of the names of cases whose throughput is measured; all of them without a word.
    """

    size: Size
    turns: int
    dissected: int
    effort: Effort
    callers: Sequence[int]
    windows: int
    durable: bool = True
    rated: Sequence[str] = ()


PLANS: Final = {
    "full": Plan(FULL, 5, 30, Effort(seconds=3.5, least=30, most=1_500), CALLERS, 2),
    "quick": Plan(
        QUICK,
        2,
        10,
        Effort(seconds=0.35, least=8, most=300),
        (1, 64),
        1,
        rated=(
            "get_user_by_id",
            "workflows.get_state (",
            "loaded before, 0.5",
            "by_status",
            "get_progress_info (100",
        ),
    ),
    "tiny": Plan(
        TINY, 1, 1, Effort(seconds=0, least=2, most=2), (1, 4), 1, durable=False, rated=("tasks.get_state (",)
    ),
}


async def run(
    kind: str, cases: Sequence[Case], seed: int, steps: Steps, *, throughput: bool = True, redis8: bool = True
) -> Run:
    """Make a run of one of `PLANS`.

    Raises:
        Difference: two sides do not do the same work; nothing was timed.
    """
    plan = PLANS[kind]
    started, began = datetime.now(UTC), time.monotonic()
    async with opened(Data(seed, plan.size), steps.begin, redis8=redis8, durable=plan.durable) as world:
        compared = await _compare(world, cases, plan, steps)
        gc.collect()
        gc.freeze()  # the data of the run is no garbage, and the collector need not scan it again
        try:
            before = os.getloadavg()[0]
            timings = await _time(world, cases, plan, steps)
            found = await _rate(world, cases, timings, plan, steps) if throughput else []
            after = os.getloadavg()[0]
        finally:
            gc.unfreeze()
        modules = [await has_search(server) for server in world.servers if server.name == REDIS8]
        return Run(
            kind=kind,
            started=started.isoformat(timespec="seconds"),
            seconds=round(time.monotonic() - began, 1),
            seed=seed,
            data={**asdict(plan.size), "tasks": plan.size.tasks},
            compared=compared,
            load=(round(before, 2), round(after, 2)),
            machine=machine(await _versions(world)),
            search_module=modules[0] if modules else None,
            settings={
                "postgresql": ", ".join((await _durable(world), *POSTGRES_SETTINGS)),
                "postgresql connections": str(CONNECTIONS),
                "append-only file": "appendfsync everysec; always, on a server of its own, where it says so",
            },
            cases=timings,
            rates=found,
        )


async def profiles(
    cases: Sequence[Case], seed: int, turns: int, steps: Steps
) -> dict[str, tuple[Anatomy, list[Spent]]]:
    """Measure the parts of calls of some cases, by name of the case."""
    found = {}
    async with opened(Data(seed, QUICK), steps.begin, redis8=False) as world:
        for case in cases:
            anatomy = await dissect(case, world.bare, world.servers[0], world.data, turns)
            found[case.name] = anatomy, await profile(case, world.ours, world.data, turns)
    return found


async def _compare(world: World, cases: Sequence[Case], plan: Plan, steps: Steps) -> int:
    advance = steps.begin("comparing results", len(cases))
    compared = 0
    for case in cases:
        compared += await verify(case, taking_part(case, world.sides), world.data, plan.turns)
        advance(1)
    return compared


async def _time(world: World, cases: Sequence[Case], plan: Plan, steps: Steps) -> list[CaseTimings]:
    advance = steps.begin("latency", len(cases))
    found = []
    for case in cases:
        timings = await measure(case, world.sides, world.data, plan.effort)
        timings.anatomy = await dissect(case, world.bare, world.servers[0], world.data, plan.dissected)
        found.append(timings)
        advance(1)
    return found


async def _rate(
    world: World, cases: Sequence[Case], timings: Sequence[CaseTimings], plan: Plan, steps: Steps
) -> list[Rate]:
    chosen = [
        (case, timing)
        for case, timing in zip(cases, timings, strict=True)
        if not case.alone and (not plan.rated or any(word in case.name for word in plan.rated))
    ]
    advance = steps.begin("throughput", len(chosen))
    found: list[Rate] = []
    await warm(world.sides, max(plan.callers))
    for case, timing in chosen:
        found += await rates(case, world.sides, world.data, timing, plan.callers, plan.windows)
        advance(1)
    return found


async def _durable(world: World) -> str:
    names = "fsync", "synchronous_commit", "default_toast_compression"
    found = [f"{name}={await world.postgres.pool.fetchval(f'show {name}')}" for name in names]
    return ", ".join(found)


async def _versions(world: World) -> dict[str, str]:
    said: Any = await world.postgres.pool.fetchval("show server_version")
    versions = {"PostgreSQL": str(said)}
    for server in world.servers:
        versions |= await server_version(server)
    return versions
