"""An upsert of a record that knows no stored row: what a refusal brings, and lost connections on the way, by literal replies."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, User
from compozy_store.entities import USER as ENTITY
from keyweave.effects import Sleep
from keyweave.flows import writing

from .script import LOST, UNSENT, USER, Scripted
from .test_committing import guards

OK = [b"OK", 1700000000000009, 1700000000000001, 0]
THERE = [b"EXISTS", 1, b"certain", b"", USER]
NEWER = USER.replace(b"1700000000000002", b"1700000000000007")
ADMIN = User(id="u", email="a@x", role=Role.ADMIN)


def upsert(scripted: Scripted, answers: list[Any], record: User = ADMIN) -> list[tuple[Any, ...]]:
    """What an upsert of a record that was never loaded sends."""
    copy = User(id=record.id, email=record.email, role=record.role)
    scripted.run(writing.upsert(scripted.context, ENTITY, copy), answers)
    assert copy.created_at is not None
    return scripted.sent()


def test_the_row_that_is_there_comes_with_the_refusal_and_is_replaced_by_the_second_plan() -> None:
    scripted = Scripted()
    first, second = upsert(scripted, [[THERE], [OK]])
    assert guards(first)[:2] == ("absent", 1)
    assert guards(second) == ("revision", 1, 1700000000000002)
    rows = second[second.index("rows") :]
    assert ("remove" in rows, "add" in rows, "claim" in rows) == (True, True, False)
    assert not [effect for effect in scripted.effects if isinstance(effect, Sleep)]


def test_members_that_this_schema_does_not_know_are_carried_into_the_second_plan() -> None:
    stranger = USER[:-1] + b',"shoe":{"size":[43]}}'
    _, second = upsert(Scripted(), [[[*THERE[:4], stranger]], [OK]])
    assert second[second.index("put") + 4].endswith(b',"role":"admin","shoe":{"size":[43]}}')


def test_only_the_first_refusal_asks_for_the_document_since_a_pause_makes_it_old() -> None:
    scripted = Scripted()
    changed = [b"CHANGED", 1, b"certain", b""]
    first, second, read, third = upsert(scripted, [[THERE], [changed], [NEWER], [OK]])
    shown = [command[3 + command[2] + 7] for command in (first, second, third)]
    assert shown == [1, 0, 0]
    assert read[0] == "GET"
    assert guards(third) == ("revision", 1, 1700000000000007)
    assert scripted.context.stats.conflicts == 1


def test_a_row_that_was_deleted_between_the_two_plans_is_inserted() -> None:
    gone = [b"MISSING", 1, b"certain", b""]
    sent = upsert(Scripted(), [[THERE], [gone], [None], [OK]])
    assert guards(sent[-1])[:2] == ("absent", 1)


@pytest.mark.parametrize("lost", [LOST, UNSENT])
def test_a_connection_lost_before_the_second_answer_repeats_the_second_plan_only(lost: Exception) -> None:
    first, second, third = upsert(Scripted(), [[THERE], lost, [OK]])
    ops = [command[3 + command[2]] for command in (first, second, third)]
    assert ops[0] != ops[1] == ops[2]
    assert ("again" in third) is (lost is LOST)
    assert guards(second) == guards(third)


def test_a_row_that_may_be_our_own_unanswered_try_is_replaced_like_any_other() -> None:
    doubtful = [b"EXISTS", 1, b"uncertain", b"", NEWER]
    sent = upsert(Scripted(), [LOST, [doubtful], [OK]])
    assert guards(sent[-1]) == ("revision", 1, 1700000000000007)


def test_a_replayed_second_plan_is_a_success() -> None:
    scripted = Scripted()
    newer = [b"REPLAYED"]
    upsert(scripted, [[THERE], LOST, [newer], [NEWER]])
    assert scripted.context.stats.replays == 1


def test_a_value_that_another_row_holds_is_refused_without_a_document() -> None:
    taken = [b"TAKEN", 2, b"certain", b"v"]
    other = USER.replace(b'"id":"u"', b'"id":"v"').replace(b"a@x", b"b@x")
    with pytest.raises(EmailExistsError):
        upsert(
            Scripted(),
            [[THERE], [taken], [other, []], [other]],
            User(id="u", email="b@x", role=Role.USER),
        )
