"""The slots of a client's ledger."""

from __future__ import annotations

import time

from keyweave.store.ledger import Ledger


def test_a_slot_is_used_again_only_when_its_plan_was_answered_or_settled() -> None:
    ledger = Ledger(time.monotonic)
    first, second = ledger.take(), ledger.take()
    assert (first.slot, second.slot) == (0, 1)
    ledger.answered(second)
    ledger.leave_open(first)
    assert [ledger.take().slot for _ in range(2)] == [1, 2]
    ledger.settled(first)
    ledger.settled(first)
    assert [ledger.take().slot for _ in range(2)] == [0, 3]


def test_a_ticket_of_another_session_takes_no_slot_of_this_one() -> None:
    """A forked child may settle an error that it inherited."""
    ledger = Ledger(time.monotonic)
    inherited = ledger.take()
    ledger.begin()
    own = ledger.take()
    assert own.slot == inherited.slot
    ledger.leave_open(own)
    ledger.leave_open(inherited)
    ledger.settled(inherited)
    ledger.answered(inherited)
    ledger.settled(own)
    assert [ledger.take().slot for _ in range(2)] == [own.slot, own.slot + 1]
