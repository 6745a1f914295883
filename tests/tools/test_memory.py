"""Bytes per row on the server under test and in PostgreSQL, from the same rows."""

from __future__ import annotations

import asyncio

from tests.oracle.server import running
from tests.servers.running import configured_server, server_url
from tools.bench.memory import MAKERS, TABLES, amounts, measure, measure_postgres, report

TASKS = 200


def test_the_same_rows_are_measured_on_both_sides() -> None:
    with configured_server() as server:  # the data of other tests would grow or shrink meanwhile
        ours = measure(server.url, TASKS)
    with running() as dsn:
        postgres = asyncio.run(measure_postgres(dsn, TASKS))
    assert set(MAKERS) == set(TABLES) == set(amounts(TASKS)) == set(ours.whole)
    assert {name: ours.number[name] for name in MAKERS} == amounts(TASKS)
    document = ours.size["TaskState"] / TASKS
    assert 560 < document < ours.whole["TaskState"]
    assert postgres.rows["TaskState"] > 560 and postgres.indexes["TaskState"] > 0
    lines = list(report([ours], postgres, TASKS))
    for name, number in amounts(TASKS).items():
        assert any(line.startswith(f"| {name} | {number} | {ours.whole[name]:.0f} |") for line in lines)
    assert any(line.startswith("| @expiry | 1 |") for line in lines)


def test_a_basic_task_has_no_entry_by_its_execution_type() -> None:
    """The rows that are measured are basic tasks: the view would be a second copy of the view of all tasks."""
    found = measure(server_url(), TASKS)
    assert found.number["TaskState.all"] == 1
    assert not [kind for kind in found.number if kind.startswith("TaskState.by_execution_type")]
