"""A sweeper, with literal replies: pauses, errors, and writes whose sweep fails."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from compozy_store import Status, WorkflowState
from compozy_store.entities import WORKFLOW_STATE
from keyweave.effects import Send, ServerError, Sleep
from keyweave.errors import ConfigurationError, StoreReadOnlyError, StoreUnavailableError
from keyweave.expiry import tend as tend_flows
from keyweave.expiry.tend import Pace, SweepProgress
from keyweave.write import save as save_flows
from tests.scripted import UNSENT, Scripted

NOW = [b"1700000000", b"0"]
APPLIED = [b"OK", b"1700000000000001", b"1700000000000001", b"0"]
NOTHING: list[Any] = [[NOW], [[]], [NOW], [[]]]
"""No row is due in either partition."""


def pauses(scripted: Scripted, answers: list[Any], pace: Pace, progress: SweepProgress) -> list[float]:
    """The seconds that a sweeper sleeps after each round, until the replies are used up; without the pauses of `ask`."""
    flow, left = tend_flows.tend(scripted.context, pace, progress), list(answers)
    found: list[float] = []
    step: Any = None
    failure: BaseException | None = None
    while True:
        effect = flow.send(step) if failure is None else flow.throw(failure)
        step = failure = None
        if isinstance(effect, Sleep):
            found.append(effect.seconds)
            if not left:
                flow.close()
                return found
        else:
            assert isinstance(effect, Send)
            step = left.pop(0)
            if isinstance(step, Exception):
                step, failure = None, step


def test_a_sweeper_begins_a_round_about_every_interval() -> None:
    progress = SweepProgress()
    found = pauses(Scripted(), NOTHING * 20, Pace(interval=10), progress)
    assert len(found) == progress.rounds == 20
    assert min(found) >= 8 and max(found) <= 12
    assert max(found) - min(found) > 1, "several sweepers must not stay in step"


def test_a_failing_sweeper_waits_with_increasing_pauses_and_logs_the_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    scripted, progress = Scripted(deadline=0), SweepProgress()
    with caplog.at_level(logging.INFO, "keyweave"):
        found = pauses(scripted, [UNSENT] * 9, Pace(), progress)
    assert [0.5 * 2 ** (n - 1) <= pause <= 0.5 * 2**n for n, pause in enumerate(found[:6], 1)] == [True] * 6
    assert max(found) <= 60
    assert progress.failures == 9
    assert isinstance(progress.error, StoreUnavailableError)
    assert len(caplog.records) == 4, "the first, second, fourth and eighth"
    assert "host:6379" in caplog.records[0].getMessage()


def test_a_sweeper_that_recovers_resets_its_failures(caplog: pytest.LogCaptureFixture) -> None:
    scripted, progress = Scripted(deadline=0), SweepProgress()
    refused = ServerError("READONLY", "READONLY no")
    with caplog.at_level(logging.INFO, "keyweave"):
        pauses(scripted, [[refused], *NOTHING], Pace(), progress)
    assert (progress.failures, progress.error, progress.rounds) == (0, None, 1)
    assert caplog.records[-1].getMessage() == "sweeper: recovered"


def test_a_refusal_is_a_failure_too() -> None:
    scripted, progress = Scripted(deadline=0), SweepProgress()
    pauses(scripted, [[ServerError("READONLY", "READONLY no")]], Pace(), progress)
    assert isinstance(progress.error, StoreReadOnlyError)


def test_a_sweeper_pauses_according_to_its_share() -> None:
    """With a share of a quarter, a step of one second is followed by a pause of about three seconds."""
    scripted = Scripted()
    flow = tend_flows.tend(scripted.context, Pace(share=0.25), SweepProgress())
    flow.send(None)
    look = flow.send([NOW])
    assert isinstance(look, Send) and look.commands[0][0] == "ZRANGEBYSCORE"
    scripted.time.now += 1
    # Nothing can be done about rows of an unknown entity, but there may be more behind them.
    rest = flow.send([[b"Forgotten:%d" % number for number in range(64)]])
    assert isinstance(rest, Sleep) and 1.5 <= rest.seconds <= 4.5


@pytest.mark.parametrize("swept", [[15], [16, 0], [48, 0, 0, 0], [64, 32, 0, 0, 15], [64, 0, 0, 48, 0, 0, 0]])
def test_a_sweeper_pauses_longer_for_rows_that_writes_sweep(swept: list[int]) -> None:
    """For every 16 rows that writes have swept during one pause, the sweeper pauses once more."""
    scripted = Scripted()
    flow = tend_flows.tend(scripted.context, Pace(rows=16), SweepProgress())
    flow.send(None)
    flow.send([NOW])
    effects = [flow.send([[b"Forgotten:%d" % number for number in range(64)]])]
    for rows in swept:
        scripted.context.state.swept_by_writes += rows
        effects.append(flow.send(None))
    assert [type(effect) for effect in effects] == [Sleep] * len(swept) + [Send]


@pytest.mark.parametrize(
    "pace", [{"interval": 0}, {"interval": 1e9}, {"share": 0}, {"share": 2}, {"rows": 0}]
)
def test_an_invalid_pace_is_refused(pace: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="sweeper: "):
        Pace(**pace)


@pytest.mark.parametrize("failure", [UNSENT, [ServerError("OOM", "OOM no")]])
def test_a_write_succeeds_although_its_sweep_fails(failure: Any) -> None:
    """The failure is not retried, so the writer does not wait."""
    scripted = Scripted(sweep_every=1)
    record = WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
    scripted.run(save_flows.create(scripted.context, WORKFLOW_STATE, record), [[APPLIED], failure])
    assert not any(isinstance(effect, Sleep) for effect in scripted.effects)
    assert scripted.context.policy.deadline > 0


def test_only_one_of_sweep_every_writes_sweeps() -> None:
    scripted = Scripted(sweep_every=4)
    for number in range(1, 13):
        record = WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        answers: list[Any] = [[APPLIED], [[]]] if number % 4 == 0 else [[APPLIED]]
        scripted.run(save_flows.create(scripted.context, WORKFLOW_STATE, record), answers)
    assert [command[0] for command in scripted.sent()].count("ZRANGEBYSCORE") == 3
