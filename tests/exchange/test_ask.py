"""Retries, typed refusals and exactly-once writes, by literal replies."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, User, UserNotFoundError
from compozy_store.entities import USER as ENTITY
from keyweave.effects import ServerError
from keyweave.errors import (
    AlreadyExistsError,
    AuthenticationError,
    CorruptDocumentError,
    InvalidCursorError,
    KeyweaveError,
    OutcomeUnknownError,
    StoreLoadingError,
    StoreOutOfMemoryError,
    StoreReadOnlyError,
    StoreTimeoutError,
    StoreUnavailableError,
    ValidationError,
)
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import memory_of
from keyweave.read import get as get_flows
from keyweave.read import page as page_flows
from keyweave.write import save as save_flows
from tests.scripted import LOST, UNSENT, USER, Scripted

TAG = "{app:v1:test:t:auth:0}:"
OK = [b"OK", 1700000000000005, 1700000000000005, 0]


def user() -> User:
    return User(id="u", email="A@x", role=Role.USER)


def test_a_get_is_one_get() -> None:
    scripted = Scripted()
    record = scripted.run(get_flows.get(scripted.context, ENTITY, "u"), [[USER]])
    assert record.email == "a@x"
    assert scripted.sent() == [("GET", "{app:v1:test:t:auth:0}:User:u")]


def test_a_missing_row_is_the_entitys_own_error() -> None:
    scripted = Scripted()
    with pytest.raises(UserNotFoundError):
        scripted.run(get_flows.get(scripted.context, ENTITY, "u"), [[None]])


def test_a_read_is_sent_again_after_a_broken_connection() -> None:
    scripted = Scripted()
    record = scripted.run(get_flows.find(scripted.context, ENTITY, "u"), [LOST, UNSENT, [USER]])
    assert record is not None
    assert scripted.context.state.stats.retries == 2


def test_a_read_waits_for_a_loading_server() -> None:
    scripted = Scripted()
    answers = [[ServerError("LOADING", "LOADING busy")], [USER]]
    assert scripted.run(get_flows.find(scripted.context, ENTITY, "u"), answers) is not None


def test_a_server_that_keeps_loading_is_a_typed_error_within_the_deadline() -> None:
    scripted = Scripted(deadline=1.0)
    started = scripted.time.now
    with pytest.raises(StoreLoadingError):
        scripted.run(
            get_flows.find(scripted.context, ENTITY, "u"), [[ServerError("LOADING", "LOADING")]] * 1000
        )
    assert scripted.time.now - started <= 1.0


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("OOM", StoreOutOfMemoryError),
        ("MISCONF", StoreReadOnlyError),
        ("NOREPLICAS", StoreReadOnlyError),
        ("NOPERM", AuthenticationError),
        ("WRONGTYPE", CorruptDocumentError),
        ("ERR", StoreUnavailableError),
    ],
)
def test_a_final_refusal_of_a_write_is_its_typed_error_at_once(code: str, error: type[KeyweaveError]) -> None:
    scripted = Scripted()
    with pytest.raises(error) as caught:
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[ServerError(code, f"{code} no")]])
    assert type(caught.value) is error
    assert len(scripted.sent()) == 1


def test_a_write_that_a_replica_refuses_is_sent_again_until_the_deadline() -> None:
    refusal = [ServerError("READONLY", "READONLY no")]
    scripted = Scripted()
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [refusal, refusal, [OK]])
    assert len(scripted.sent()) == 3
    scripted = Scripted(deadline=1.0)
    began = scripted.time.now
    with pytest.raises(StoreReadOnlyError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [refusal] * 1000)
    assert 0.8 < scripted.time.now - began <= 1.0


def test_a_command_that_needs_authentication_is_sent_once_more() -> None:
    refusal = [ServerError("NOAUTH", "NOAUTH no")]
    scripted = Scripted()
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [refusal, [OK]])
    scripted = Scripted()
    with pytest.raises(AuthenticationError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [refusal, refusal])


def test_an_unknown_script_is_sent_as_text() -> None:
    scripted = Scripted()
    scripted.run(
        save_flows.create(scripted.context, ENTITY, user()), [[ServerError("NOSCRIPT", "NOSCRIPT")], [OK]]
    )
    first, second = scripted.sent()
    assert (first[0], second[0]) == ("EVALSHA", "EVAL")
    assert second[1] == scripted.context.scripts["apply"].text
    assert first[2:] == second[2:]


def test_a_repeated_write_is_the_same_command_to_the_word() -> None:
    for lost in (LOST, UNSENT):
        scripted = Scripted()
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [lost, [OK]])
        first, second = scripted.sent()
        at = 3 + first[2] + 8
        assert (first[at], second[at]) == ("", "again" if lost is LOST else "")
        assert first[:at] + first[at + 1 :] == second[:at] + second[at + 1 :]


def test_a_replayed_write_is_answered_as_the_try_that_was_applied() -> None:
    scripted = Scripted()
    flow = save_flows.create(scripted.context, ENTITY, record := user())
    replayed = [b"REPLAYED", b"OK 1700000000000009 1700000000000009 0"]
    scripted.run(flow, [LOST, [replayed]])
    stored = memory_of(record)
    assert stored is not None
    assert (stored.revision, stored.created, stored.expires) == (1700000000000009, 1700000000000009, 0)
    assert record.created_at is not None
    assert scripted.context.state.stats.replays == 1


def test_a_refusal_after_a_lost_answer_is_certain_because_the_ledger_knows_of_no_applied_try() -> None:
    scripted = Scripted()
    with pytest.raises(AlreadyExistsError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [LOST, [[b"EXISTS", 1, b""]]])


def test_a_plan_that_comes_too_late_is_sent_again_with_the_servers_time() -> None:
    scripted = Scripted()
    late = [b"LATE", b"1700000100000000"]
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[late], [OK]])
    first, second = (command[3 + command[2] + 3] for command in scripted.sent())
    assert second - 1_700_000_100_000_000 >= 10_000_000 > 0
    assert first != second


def test_a_refusal_of_the_server_after_a_lost_answer_asks_the_ledger() -> None:
    full = ServerError("OOM", "OOM no")
    replayed = [b"REPLAYED", b"OK 1700000000000009 1700000000000009 0"]
    scripted = Scripted()
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [LOST, [full], [replayed]])
    for answer, error in (([b"NEVER"], StoreOutOfMemoryError), ([b"STALE"], OutcomeUnknownError)):
        scripted = Scripted()
        with pytest.raises(StoreUnavailableError) as caught:
            scripted.run(save_flows.create(scripted.context, ENTITY, user()), [LOST, [full], [answer]])
        assert type(caught.value) is error


def test_a_write_without_any_answer_is_an_unknown_outcome_within_the_deadline() -> None:
    scripted = Scripted(deadline=0.5)
    started = scripted.time.now
    with pytest.raises(OutcomeUnknownError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [LOST] * 1000)
    assert scripted.time.now - started <= 0.5


def test_a_server_that_cannot_be_reached_is_unavailable_not_unknown() -> None:
    scripted = Scripted(deadline=0.5)
    with pytest.raises(StoreUnavailableError) as caught:
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [UNSENT] * 1000)
    assert not isinstance(caught.value, OutcomeUnknownError | StoreTimeoutError)
    assert "host:6379" in str(caught.value)


def test_a_taken_key_is_already_exists() -> None:
    scripted = Scripted()
    with pytest.raises(AlreadyExistsError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[[b"EXISTS", 1, b""]]])


def test_a_taken_value_of_a_live_row_is_the_constraints_error() -> None:
    scripted = Scripted()
    other = USER.replace(b'"id":"u"', b'"id":"other"')
    answers = [[[b"TAKEN", 2, b"other"]], [other, []], [other]]
    with pytest.raises(EmailExistsError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), answers)


def test_a_taken_value_of_a_vanished_row_is_released_and_claimed() -> None:
    scripted = Scripted()
    answers = [[[b"TAKEN", 2, b"other"]], [None, []], [None], [[b"OK"]], [OK]]
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), answers)
    assert scripted.context.state.stats.healed == 1


def held(document: bytes | None, owner: bytes, declared_only: bool) -> list[Any]:
    """The replies to a lookup of a unique value: of one script, or of two plain commands."""
    return [[owner], [document]] if declared_only else [[[owner, document]]]


def looking(declared_only: bool) -> Scripted:
    return Scripted(declared_keys=declared_only)


def test_a_unique_value_is_found_in_one_round_trip() -> None:
    scripted = Scripted()
    flow = get_flows.find_by(scripted.context, ENTITY, ClaimEntry("email", "a@x", ""))
    record = scripted.run(flow, [[[b"u", USER]]])
    assert record is not None
    ((verb, _, *words),) = scripted.sent()
    assert (verb, words) == ("EVALSHA", [1, f"{TAG}User.email", f"{TAG}User:", "a@x"])
    flow = get_flows.find_by(scripted.context, ENTITY, ClaimEntry("email", "b@x", ""))
    assert scripted.run(flow, [[None]]) is None


def test_without_undeclared_keys_the_owner_is_read_first_and_then_the_row() -> None:
    scripted = Scripted(declared_keys=True)
    flow = get_flows.find_by(scripted.context, ENTITY, ClaimEntry("email", "a@x", ""))
    assert scripted.run(flow, [[b"u"], [USER]]) is not None
    assert [command[0] for command in scripted.sent()] == ["HGET", "GET"]


@pytest.mark.parametrize("declared_only", [False, True])
def test_a_claim_that_its_owner_does_not_imply_finds_no_row(declared_only: bool) -> None:
    scripted = looking(declared_only)
    flow = get_flows.find_by(scripted.context, ENTITY, ClaimEntry("email", "b@x", ""))
    assert scripted.run(flow, held(USER, b"u", declared_only) * 2) is None


@pytest.mark.parametrize("declared_only", [False, True])
def test_a_value_that_another_row_claims_between_two_reads_is_found_there(declared_only: bool) -> None:
    moved = USER.replace(b'"id":"u"', b'"id":"w"')
    for first in (USER.replace(b"a@x", b"b@x"), None):
        scripted = looking(declared_only)
        flow = get_flows.find_by(scripted.context, ENTITY, ClaimEntry("email", "a@x", ""))
        freed = [[[b"CHANGED", b"1", b""]]] if first is None else []
        answers = [*held(first, b"u", declared_only), *freed, *held(moved, b"w", declared_only)]
        record = scripted.run(flow, answers)
        assert record is not None
        assert record.id == "w"


def test_an_invalid_record_sends_nothing() -> None:
    scripted = Scripted()
    with pytest.raises(ValidationError) as caught:
        scripted.run(save_flows.create(scripted.context, ENTITY, User(id="", email="x", role=Role.USER)), [])
    assert caught.value.field == "id"
    assert scripted.effects == []


def test_a_page_is_one_script_and_its_cursor_goes_on() -> None:
    scripted = Scripted()
    flow = page_flows.page(scripted.context, ENTITY, "all", (), limit=1, cursor=None, newest=True)
    page = scripted.run(flow, [[[b"1700000000000001", b"u", [], USER]]])
    assert [record.id for record in page.rows] == ["u"]
    flow = page_flows.page(scripted.context, ENTITY, "all", (), limit=1, cursor=page.cursor, newest=True)
    assert scripted.run(flow, [[[b"", b"", []]]]).cursor is None
    assert scripted.sent()[1][-3:-1] == ("1700000000000001", "u")


@pytest.mark.parametrize("cursor", ["", "!", "AAAA", "W10", "é", "WyJVc2VyIiwieCIsdHJ1ZSwiYSIsImIiXQ"])
def test_a_damaged_cursor_is_refused_before_anything_is_sent(cursor: str) -> None:
    scripted = Scripted()
    flow = page_flows.page(scripted.context, ENTITY, "all", (), limit=1, cursor=cursor, newest=True)
    with pytest.raises(InvalidCursorError):
        scripted.run(flow, [])


@pytest.mark.parametrize("limit", [0, -1, 1001, 1.5, True, "3"])
def test_a_limit_out_of_range_is_refused(limit: object) -> None:
    scripted = Scripted()
    flow = page_flows.page(scripted.context, ENTITY, "all", (), limit=limit, cursor=None, newest=True)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        scripted.run(flow, [])


def renewals(scripted: Scripted) -> list[bool]:
    """Whether each plan that was sent since the last call asks the server to extend the life of the ledger."""
    found = ["renew" in command for command in scripted.sent() if "rows" in command]
    scripted.effects.clear()
    return found


def test_a_ledger_is_renewed_until_a_plan_was_applied() -> None:
    """A plan that is refused, or that never arrives, extends nothing: the next one has to."""
    scripted = Scripted()
    with pytest.raises(AlreadyExistsError):
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[[b"EXISTS", 1, b""]]])
    assert renewals(scripted) == [True]
    with pytest.raises(StoreUnavailableError):
        scripted.run(save_flows.create(scripted.context.without_retries(), ENTITY, user()), [UNSENT])
    assert renewals(scripted) == [True]
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [LOST, [[b"REPLAYED", b"OK 5 5 0"]]])
    assert renewals(scripted) == [True, True]
    scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[OK]])
    assert renewals(scripted) == [False]


def test_a_ledger_is_renewed_again_after_six_hours() -> None:
    scripted = Scripted()
    for hours, renewed in ((0, True), (5, False), (2, True), (1, False)):
        scripted.time.now += hours * 3600
        scripted.run(save_flows.create(scripted.context, ENTITY, user()), [[OK]])
        assert renewals(scripted) == [renewed]
