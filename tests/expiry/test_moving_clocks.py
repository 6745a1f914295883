"""The server's clock steps, or this machine sleeps: every read answers by the server's time, at no cost for other rows."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store.entities import TASK_STATE, USER
from keyweave.effects import Send
from keyweave.exchange.deadline import current_time
from keyweave.read import get as get_flows
from tests.scripted import HEAD, Scripted
from tests.scripted import USER as USER_DOCUMENT

NOW = 1_700_000_000_000_000
MINUTE = 60_000_000


def task_until(expires: int) -> bytes:
    head = HEAD.replace(b'"expires":0', b'"expires":%d' % expires)
    return head + (
        b',"task_exec_id":"t","task_id":"t","workflow_exec_id":"w","workflow_id":"f",'
        b'"component":"task","status":"SUCCESS"}'
    )


def time_of(micros: int) -> list[bytes]:
    return [b"%d" % (micros // 1_000_000), b"%d" % (micros % 1_000_000)]


def opened() -> Scripted:
    scripted = Scripted()
    scripted.context.state.clock.set(NOW)
    return scripted


def commands(scripted: Scripted) -> list[list[str]]:
    return [
        [str(command[0]) for command in effect.commands]
        for effect in scripted.effects
        if isinstance(effect, Send)
    ]


@pytest.mark.parametrize("step", [2 * MINUTE, -2 * MINUTE])
def test_a_get_follows_a_step_of_the_servers_clock(step: int) -> None:
    """The row ends between the time before the step and the time after it."""
    scripted = opened()
    scripted.time.now += 1.0
    ends = NOW + step // 2
    found = scripted.run(
        get_flows.find(scripted.context, TASK_STATE, "t"), [[task_until(ends), time_of(NOW + step)]]
    )
    assert (found is None) == (step > 0)
    assert commands(scripted) == [["GET", "TIME"]]


def test_many_rows_follow_a_step_of_the_servers_clock_in_one_exchange() -> None:
    scripted = opened()
    scripted.time.now += 1.0
    row = task_until(NOW + MINUTE)
    answers: list[Any] = [[[row, row], time_of(NOW + 2 * MINUTE)]]
    assert scripted.run(get_flows.get_many(scripted.context, TASK_STATE, ["t", "s"]), answers) == [None, None]
    assert commands(scripted) == [["MGET", "TIME"]]


def test_the_time_is_asked_for_at_most_ten_times_a_second() -> None:
    scripted = opened()
    row = task_until(NOW + MINUTE)
    scripted.time.now += 1.0
    scripted.run(get_flows.find(scripted.context, TASK_STATE, "t"), [[row, time_of(NOW + 1_000_000)]])
    for _ in range(9):
        scripted.time.now += 0.01
        scripted.run(get_flows.find(scripted.context, TASK_STATE, "t"), [[row]])
    assert commands(scripted) == [["GET", "TIME"], *[["GET"]] * 9]


def test_a_row_of_an_entity_without_retention_never_asks_for_the_time() -> None:
    scripted = opened()
    scripted.time.now += 3600.0
    scripted.run(get_flows.find(scripted.context, USER, "u"), [[USER_DOCUMENT]])
    assert commands(scripted) == [["GET"]]


def test_what_depends_on_no_row_uses_an_estimate_for_a_minute() -> None:
    scripted = opened()
    context, partition = scripted.context, scripted.context.keyspace.partitions()[0]
    scripted.time.now += 59.0
    assert scripted.run(current_time(context, partition), []) == NOW + 59_000_000
    scripted.time.now += 2.0
    assert scripted.run(current_time(context, partition), [[time_of(NOW + 5 * MINUTE)]]) == NOW + 5 * MINUTE
