"""What a step of the server's clock does to deadlines, to `created_at` and `updated_at`, to lists and `get`, and to the ledger.

The real flows and scripts run on a server in memory, whose clock a test sets. `docs/moving-clocks.md` says the same in words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from compozy_store import Status
from compozy_store.entities import TASK_STATE, USER, WORKFLOW_STATE
from keyweave.effects import Call, Command, ConnectionFailure, Flow, Send, Sleep
from keyweave.errors import OutcomeUnknownError
from keyweave.expiry.sweep import sweep
from keyweave.integrity.check import check
from keyweave.model.record import memory_of
from keyweave.read.get import find
from keyweave.read.page import page
from keyweave.write.outcome import outcome
from keyweave.write.save import change, create
from tests.harness import run, task, user
from tests.scripted import LOST, Scripted
from tools.simulate.server.node import Node

SECOND = 1_000_000
HOUR = 3600 * SECOND
DAY = 24 * HOUR
RETENTION = 14 * DAY


class Stepping:
    """A client and a server whose clock can be set. Time passes only when a test says so."""

    def __init__(self) -> None:
        self.client = Scripted()
        self.context = self.client.context
        self.node = Node()
        self.sent: list[Command] = []

    @property
    def at(self) -> int:
        """Microseconds since the beginning."""
        return int((self.client.time.now - 100.0) * SECOND)

    def now(self) -> int:
        """The server's time."""
        return self.at + self.node.offset

    def step(self, micros: int) -> None:
        """Set the server's clock forward or back."""
        self.node.offset += micros

    def wait(self, seconds: float) -> None:
        """Let time pass on both machines."""
        self.client.time.now += seconds

    def run(self, flow: Flow[Any], *, lost: int = 0, meanwhile: Callable[[], object] = lambda: None) -> Any:
        """Run a flow. The answers of its first plans are lost, and `meanwhile` is called after each of them."""
        answer: Any = None
        failure: ConnectionFailure | None = None
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                return stop.value
            answer = failure = None
            if isinstance(effect, Send):
                self.sent += effect.commands
                answer = self.node.pipeline(effect.commands, self.at)
                if lost and any("rows" in command for command in effect.commands):
                    lost, failure = lost - 1, LOST
                    meanwhile()
            elif isinstance(effect, Sleep):
                self.wait(effect.seconds)
            else:
                assert isinstance(effect, Call)
                answer = effect.function(*effect.arguments)

    def listed(self) -> list[str]:
        """Ids of the finished tasks in their list."""
        flow = page(self.context, TASK_STATE, "by_status", ("SUCCESS",), limit=10, cursor=None, newest=False)
        rows = self.run(flow)
        return [row.task_exec_id for row in rows.rows]

    def got(self) -> bool:
        """Whether `get` finds the finished task."""
        return self.run(find(self.context, TASK_STATE, "t")) is not None


@pytest.fixture
def stepping() -> Stepping:
    """With an execution and a task that is finished, so that it has a deadline."""
    made = Stepping()
    made.run(create(made.context, WORKFLOW_STATE, run()))
    made.run(create(made.context, TASK_STATE, task("t", status=Status.SUCCESS)))
    assert (made.listed(), made.got()) == (["t"], True)
    return made


def test_a_step_forward_ends_rows_for_lists_at_once_and_for_get_within_a_tenth_of_a_second(
    stepping: Stepping,
) -> None:
    stepping.step(RETENTION)
    assert stepping.listed() == []
    stepping.wait(0.11)
    assert not stepping.got()


def test_a_step_back_shows_ended_rows_again_unless_they_were_swept(stepping: Stepping) -> None:
    stepping.step(RETENTION)
    stepping.wait(1.0)
    assert (stepping.listed(), stepping.got()) == ([], False)
    stepping.step(-RETENTION)
    stepping.wait(1.0)
    assert (stepping.listed(), stepping.got()) == (["t"], True)
    stepping.step(RETENTION)
    stepping.wait(1.0)
    assert stepping.run(sweep(stepping.context)) == 1
    stepping.step(-RETENTION)
    stepping.wait(1.0)
    assert (stepping.listed(), stepping.got()) == ([], False)
    assert stepping.run(check(stepping.context)).clean


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_new_deadlines_count_from_the_time_after_the_step(stepping: Stepping, step: int) -> None:
    stepping.step(step)
    record = task("later", status=Status.SUCCESS)
    stepping.run(create(stepping.context, TASK_STATE, record))
    stored = memory_of(record)
    assert stored is not None
    assert stored.expires == stepping.now() + RETENTION


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_revisions_only_grow_and_are_ahead_of_a_clock_that_stepped_back(
    stepping: Stepping, step: int
) -> None:
    first = user("u0")
    stepping.run(create(stepping.context, USER, first))
    before = stepping.now()
    stepping.step(step)
    stepping.wait(1.0)
    second = user("u1")
    stepping.run(create(stepping.context, USER, second))
    stepping.run(change(stepping.context, USER, "u0", lambda row: setattr(row, "role", second.role)))
    changed = stepping.run(find(stepping.context, USER, "u0"))
    assert first.created_at == changed.created_at
    assert micros(first, "created_at") < micros(second, "created_at") < micros(changed, "updated_at")
    if step > 0:
        assert micros(second, "created_at") == stepping.now()
    else:
        assert micros(second, "created_at") == before + 1
        stepping.wait(3600.0)
        third = user("u2")
        stepping.run(create(stepping.context, USER, third))
        assert micros(third, "created_at") == stepping.now()


def micros(record: Any, field: str) -> int:
    """A moment in microseconds since 1970."""
    stored = memory_of(record)
    assert stored is not None
    return int(stored.created if field == "created_at" else stored.revision)


def test_a_write_after_a_step_forward_is_sent_again_once_and_applied_once(stepping: Stepping) -> None:
    stepping.step(HOUR)
    stepping.sent.clear()
    stepping.run(create(stepping.context, USER, user("u")))
    assert sum("rows" in command for command in stepping.sent) == 2
    stepping.sent.clear()
    stepping.run(create(stepping.context, USER, user("v")))
    assert sum("rows" in command for command in stepping.sent) == 1


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_lost_answer_is_found_whatever_the_step_was(stepping: Stepping, step: int) -> None:
    record = user("u")
    flow = create(stepping.context, USER, record)
    stepping.run(flow, lost=1, meanwhile=lambda: stepping.step(step))
    assert stepping.run(find(stepping.context, USER, "u")).created_at == record.created_at


def test_a_step_back_lets_no_try_happen_after_its_slot_was_used_again(stepping: Stepping) -> None:
    """The latest time of the try has passed, and comes again."""
    stepping.run(create(stepping.context, USER, user("u")))
    late = next(command for command in reversed(stepping.sent) if "rows" in command)
    stepping.run(change(stepping.context, USER, "u", lambda row: setattr(row, "email", "new@x")))
    stepping.step(HOUR)
    stepping.step(-2 * HOUR)
    (answer,) = stepping.node.pipeline([late], stepping.at)
    assert answer[0] == b"STALE"


def test_a_step_of_a_day_ends_ledgers_and_an_outcome_then_stays_unknown(stepping: Stepping) -> None:
    context = stepping.context.without_retries()
    with pytest.raises(OutcomeUnknownError) as caught:
        stepping.run(create(context, USER, user("u")), lost=9)
    stepping.step(DAY + HOUR)
    with pytest.raises(OutcomeUnknownError) as again:
        stepping.run(outcome(stepping.context, caught.value))
    assert again.value is caught.value
