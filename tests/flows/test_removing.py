"""How many exchanges a delete takes, and what it does about lost connections and newcomers, by literal replies."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import UserNotFoundError
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from compozy_store.entities import USER as ENTITY
from keyweave.effects import Send
from keyweave.errors import OutcomeUnknownError
from keyweave.flows import removing

from .script import HEAD, LOST, USER, Scripted
from .test_committing import guards

OK = [[b"OK"]]
KEY = HEAD + b',"id":"k","user_id":"u","hash":"aA==","fingerprint":"Zg==","prefix":"p"}'
RUN = HEAD + b',"workflow_exec_id":"w","workflow_id":"f","status":"RUNNING"}'
TASK = (
    HEAD + b',"task_exec_id":"t","task_id":"t","workflow_exec_id":"w","workflow_id":"f",'
    b'"component":"task","status":"RUNNING"}'
)


def delete(scripted: Scripted, answers: list[Any], entity: Any = ENTITY, key: str = "u") -> list[list[str]]:
    """The names of the commands of each exchange of a delete."""
    scripted.run(removing.delete(scripted.context, entity, key), answers)
    return [
        [str(command[0]) for command in effect.commands]
        for effect in scripted.effects
        if isinstance(effect, Send)
    ]


def test_a_row_that_nobody_refers_to_takes_two_exchanges() -> None:
    scripted = Scripted()
    assert delete(scripted, [[USER, []], OK]) == [["GET", "ZRANGE"], ["EVALSHA"]]
    assert guards(scripted.sent()[-1]) == ("revision", 1, 1700000000000002, "count", 1, 0)


def test_a_user_with_keys_takes_three_exchanges() -> None:
    scripted = Scripted()
    assert delete(scripted, [[USER, [b"k"]], [[KEY]], OK]) == [["GET", "ZRANGE"], ["MGET"], ["EVALSHA"]]
    assert guards(scripted.sent()[-1]) == (
        *("unchanged", 1, 1700000000000002),
        *("revision", 2, 1700000000000002, "count", 1, 1),
    )


def test_each_level_is_read_with_the_names_of_the_next() -> None:
    scripted = Scripted()
    child = TASK.replace(b'"task_exec_id":"t"', b'"task_exec_id":"c","parent_state_id":"t"')
    answers: list[Any] = [[RUN, [b"t", b"c"]], [[TASK, child], [b"c"], []], OK]
    assert delete(scripted, answers, WORKFLOW_STATE, "w") == [
        ["GET", "ZRANGE"],
        ["MGET", "ZRANGE", "ZRANGE"],
        ["EVALSHA"],
    ]
    counts = [word for word in guards(scripted.sent()[-1]) if word == "count"]
    assert len(counts) == 3


def test_a_row_that_is_not_there_is_told_after_one_exchange() -> None:
    with pytest.raises(UserNotFoundError):
        delete(Scripted(), [[None, []]])


def test_a_newcomer_between_the_reading_and_the_plan_lets_the_delete_begin_again() -> None:
    scripted = Scripted()
    refused = [[b"COUNT", 2, b"certain", b""]]
    delete(scripted, [[USER, []], refused, [USER, [b"k"]], [[KEY]], OK])
    assert guards(scripted.sent()[-1])[-1] == 1
    assert scripted.context.stats.conflicts == 1


@pytest.mark.parametrize("lost", [0, 1, 2])
def test_a_lost_connection_repeats_that_exchange_only(lost: int) -> None:
    answers: list[Any] = [[USER, [b"k"]], [[KEY]], OK]
    scripted = Scripted()
    exchanges = delete(scripted, [*answers[:lost], LOST, *answers[lost:]])
    assert exchanges[lost] == exchanges[lost + 1]
    assert len(exchanges) == 4
    assert ("again" in scripted.sent()[-1]) is (lost == 2)


def test_a_delete_that_may_have_happened_and_was_followed_by_another_row_is_an_unknown_outcome() -> None:
    changed = [[b"CHANGED", 1, b"uncertain", b""]]
    with pytest.raises(OutcomeUnknownError):
        delete(Scripted(), [[USER, []], LOST, changed])


def test_a_task_that_is_past_its_deadline_goes_with_its_execution() -> None:
    dead = TASK.replace(b'"expires":0', b'"expires":1600000000000000')
    scripted = Scripted()
    delete(scripted, [[RUN, [b"t"]], [[dead], []], OK], WORKFLOW_STATE, "w")
    assert guards(scripted.sent()[-1])[0] == "unchanged"
    assert TASK_STATE.references[0].cascade
