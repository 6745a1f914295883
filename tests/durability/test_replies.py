"""How an operation goes on from what WAIT answers, with literal replies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from compozy_store import Role, User
from compozy_store.entities import USER
from keyweave.effects import Send, ServerError, Wait
from keyweave.errors import DurabilityError
from keyweave.exchange.confirm import confirmed
from keyweave.store.durability import parse_durability
from keyweave.write.save import create, upsert
from tests.scripted import LOST, Scripted

OK = [b"OK", 2, 1, 0]
REPLAYED = [b"REPLAYED", b"OK 2 1 0"]
UNBLOCKED = ServerError("UNBLOCKED force unblock from blocking operation, instance state changed")
NOSCRIPT = ServerError("NOSCRIPT No matching script")


def running(*answers: Any) -> tuple[Any, list[tuple[Any, ...]]]:
    """Create a row on a store with `replicas:2`; return it, and the first word of each command."""
    scripted = Scripted(sweep_every=0)
    level = parse_durability("replicas:2")
    assert level is not None
    context = replace(scripted.context, durability=level)
    context.state.confirmable.add(level)
    row = User(id="u", email="u@x", role=Role.USER)
    made = scripted.run(confirmed(context, create(context, USER, row)), answers)
    sends = [effect for effect in scripted.effects if isinstance(effect, Send)]
    return made, [tuple(command[0] for command in send.commands) for send in sends]


def test_a_primary_that_became_a_replica_meanwhile_is_asked_again() -> None:
    made, sent = running([OK, UNBLOCKED], [REPLAYED, 2], [REPLAYED, 1, 2])
    assert made.id == "u"
    assert sent == [("EVALSHA", "WAIT"), ("EVALSHA", "WAIT"), ("EVALSHA", "PEXPIRE", "WAIT")]


def test_a_write_that_the_failover_lost_is_applied_again() -> None:
    made, sent = running([OK, UNBLOCKED], LOST, [OK, 2])
    assert (made.id, sent) == ("u", [("EVALSHA", "WAIT")] * 3)


def test_an_unknown_script_is_no_write() -> None:
    made, sent = running([NOSCRIPT, 0], [OK, 2])
    assert (made.id, sent) == ("u", [("EVALSHA", "WAIT"), ("EVAL", "WAIT")])


@pytest.mark.parametrize("reply", [1, b"2", [2, 2], None, ServerError("ERR no")])
def test_what_does_not_confirm_exactly_does_not_confirm(reply: Any) -> None:
    with pytest.raises(DurabilityError) as caught:
        running([OK, reply])
    assert caught.value.result.id == "u"


def test_a_replay_counts_by_the_write_behind_it() -> None:
    with pytest.raises(DurabilityError, match="1 of 2 replicas"):
        running(LOST, [REPLAYED, 2], [REPLAYED, 1, 1])


def test_every_caller_of_a_batch_that_was_not_confirmed_gets_its_own_record() -> None:
    """The first caller is alone in its plan, and the two that come meanwhile share one, which is not confirmed."""
    level = parse_durability("replicas:2")
    assert level is not None
    context = replace(Scripted(sweep_every=0).context, durability=level)
    context.state.confirmable.add(level)
    flows = [
        confirmed(context, upsert(context, USER, User(id="u", email="u@x", role=role)))
        for role in (Role.ADMIN, Role.USER, Role.ADMIN)
    ]
    first, *waiting = [next(flow) for flow in flows]
    assert isinstance(first, Send)
    assert [type(effect) for effect in waiting] == [Wait, Wait]
    with pytest.raises(StopIteration) as alone:
        flows[0].send([OK, 2])
    assert alone.value.value.role is Role.ADMIN
    assert isinstance(flows[1].send(True), Wait)
    shared = flows[2].send(True)
    assert isinstance(shared, Send)
    with pytest.raises(DurabilityError, match="1 of 2 replicas") as sender:
        flows[2].send([[b"OK", 5, 1, 0], 1])
    with pytest.raises(DurabilityError, match="1 of 2 replicas") as other:
        flows[1].send(True)
    assert [error.value.result.role for error in (other, sender)] == [Role.USER, Role.ADMIN]
