"""Every order of the steps of short schedules, on Keyweave and on PostgreSQL, and what is expected of each order.

`expected/` holds one line for each order that is possible: the steps, `~` behind one that had to wait, how the
sessions ended where that is not plain success, and the final state. After an intended change,
KEYWEAVE_UPDATE_GOLDENS=1 writes them anew; read the difference.
"""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path
from typing import Any

import pytest

from compozy_engine import Engine
from tests.contract.engines import SERVER
from tests.isolation.acting import actor
from tests.isolation.exploring import Played, explore
from tests.isolation.schedules import EXPECTED_ERRORS, SCHEDULES, Schedule
from tests.isolation.stages import theatre

EXPECTED = Path(__file__).with_name("expected")
KINDS = ("keyweave", "postgresql") if SERVER == "embedded" else ("keyweave",)


def reported(run: Played, state: str) -> str:
    """One order on one line."""
    ends = []
    for name, outcome in sorted(run.outcomes.items()):
        if isinstance(outcome, Exception):
            assert isinstance(outcome, EXPECTED_ERRORS), repr(outcome)
            ends.append(f"{name}: {type(outcome).__name__}")
        elif outcome is not None:
            ends.append(f"{name} saw {', '.join(map(str, outcome))}")
    return " | ".join([" ".join(run.steps), *([" ".join(ends)] if ends else []), state])


async def orders(kind: str, schedule: Schedule) -> tuple[list[str], set[str]]:
    """Every order as a line, and the final states."""
    lines, states = [], set()
    async with theatre(kind, schedule.setup, schedule.sessions) as stage:
        async for run in explore(stage):
            state = await schedule.look(actor(stage.engine))
            if isinstance(stage.engine, Engine):
                report = await stage.engine.store.check()
                assert report.clean, report.drift
            lines.append(reported(run, state))
            states.add(state)
    return lines, states


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_every_order_has_the_expected_result(name: str, kind: str) -> None:
    schedule = SCHEDULES[name]
    lines, states = asyncio.run(orders(kind, schedule))
    ends = schedule.ends if kind == "keyweave" or schedule.postgres is None else schedule.postgres
    assert states == ends
    text = "\n".join([f"# {schedule.why}", f"# {kind}: {len(lines)} orders", *lines, ""])
    place = EXPECTED / f"{re.sub(r'[^a-z]+', '-', name.lower())}.{kind}.txt"
    if os.environ.get("KEYWEAVE_UPDATE_GOLDENS"):
        place.write_text(text, encoding="utf-8")
    assert text == place.read_text(encoding="utf-8")


def test_every_expectation_belongs_to_a_schedule() -> None:
    files = {
        f"{re.sub(r'[^a-z]+', '-', name.lower())}.{kind}.txt"
        for name in SCHEDULES
        for kind in ("keyweave", "postgresql")
    }
    assert {path.name for path in EXPECTED.iterdir()} == files


def test_keyweave_allows_nothing_that_postgresql_does_not() -> None:
    for name, schedule in SCHEDULES.items():
        allowed: Any = schedule.postgres if schedule.postgres is not None else schedule.ends
        assert schedule.ends <= allowed, name
