"""The operation ledger on a real server: a retry is answered as the try that was applied, whatever happened to the rows since.

A flow is driven by hand. Between a try that is carried out and the loss of its answer, other clients write.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import EmailExistsError, Role, User
from compozy_store.entities import USER
from compozy_store.sync import Store
from keyweave.effects import Call, Command, ConnectionFailure, Flow, Send, Sleep
from keyweave.errors import AlreadyExistsError, ConflictError, OutcomeUnknownError, StoreTimeoutError
from keyweave.integrity import repair as repair_flows
from keyweave.integrity.remedy import Repairs
from keyweave.write import delete as delete_flows
from keyweave.write import save as save_flows
from keyweave.write import transact as transact_flows
from keyweave.write.outcome import outcome
from tests.scripted import Scripted
from tests.servers.running import new_namespace, server_url

LOST = ConnectionFailure("closed", "the connection broke", sent=True)


@pytest.fixture
def namespace() -> str:
    return new_namespace("ledger")


@pytest.fixture
def store(namespace: str) -> Iterator[Store]:
    with Store.open(server_url(), namespace=namespace, sweep_every=0) as opened:
        yield opened


@pytest.fixture
def other(namespace: str) -> Iterator[Store]:
    """Another process's store, from the server's point of view."""
    with Store.open(server_url(), namespace=namespace, sweep_every=0) as opened:
        yield opened


def is_plan(commands: tuple[Command, ...]) -> bool:
    return any("rows" in command for command in commands)


def drive(
    store: Store,
    flow: Flow[Any],
    *,
    meanwhile: Callable[[], Any] = lambda: None,
    lost: int = 1,
    sent: list[tuple[Command, ...]] | None = None,
    carried_out: bool = True,
) -> Any:
    """Run a flow. The answers of the first `lost` tries of a plan are lost; `meanwhile` runs after the first of them."""
    answer: Any = None
    failure: BaseException | None = None
    while True:
        try:
            effect = flow.send(answer) if failure is None else flow.throw(failure)
        except StopIteration as stop:
            return stop.value
        answer = failure = None
        if isinstance(effect, Send):
            plan = is_plan(tuple(effect.commands))
            if plan and sent is not None:
                sent.append(tuple(effect.commands))
            if plan and lost:
                lost -= 1
                if carried_out:
                    store.session.shell.channel.exchange(effect.commands)
                meanwhile()
                failure = LOST
            else:
                answer = store.session.shell.channel.exchange(effect.commands)
        elif isinstance(effect, Call):
            try:
                answer = effect.function(*effect.arguments)
            except BaseException as error:  # noqa: BLE001 - the flow decides
                failure = error
        else:
            assert isinstance(effect, Sleep)


def user(key: str = "u", email: str = "u@x", role: Role = Role.USER) -> User:
    return User(id=key, email=email, role=role)


def test_a_transaction_that_locks_one_row_and_writes_another_is_applied_once(
    store: Store, other: Store
) -> None:
    store.users.create(user("a", "a@x"))
    store.users.create(user("b", "b0@x"))
    runs: list[int] = []

    def write(tx: Any) -> str:
        runs.append(1)
        tx.users.get_for_update("a")
        row = tx.users.get("b")
        row.email = f"b{len(row.email)}@x" if not runs[1:] else f"again-{row.email}"
        tx.users.save(row)
        return "done"

    def overwrite() -> None:
        row = other.users.get("b")
        row.email = "theirs@x"
        other.users.save(row)

    flow = transact_flows.transact(store.session.context, store._bind, write)
    assert drive(store, flow, meanwhile=overwrite) == "done"
    assert len(runs) == 1
    assert store.users.get("b").email == "theirs@x"
    assert store.check().clean


def test_an_upsert_whose_answer_was_lost_does_not_overwrite_what_came_later(
    store: Store, other: Store
) -> None:
    drive(
        store,
        save_flows.upsert(store.session.context, USER, user(email="mine@x")),
        meanwhile=lambda: other.users.upsert(user(email="theirs@x")),
    )
    assert other.users.get("u").email == "theirs@x"


def test_a_row_that_was_deleted_after_a_lost_answer_stays_deleted(store: Store, other: Store) -> None:
    for flow in (
        save_flows.upsert(store.session.context, USER, user()),
        save_flows.create(store.session.context, USER, user()),
    ):
        drive(store, flow, meanwhile=lambda: other.users.delete("u"))
        assert other.users.find("u") is None
    assert store.check().clean


def test_a_delete_whose_answer_was_lost_does_not_delete_a_new_row(store: Store, other: Store) -> None:
    store.users.create(user())
    flow = delete_flows.discard(store.session.context, USER, "u")
    assert drive(store, flow, meanwhile=lambda: other.users.create(user(email="new@x"))) is True
    assert other.users.get("u").email == "new@x"


def test_a_replayed_write_needs_no_second_exchange_and_knows_its_values(store: Store) -> None:
    record = user()
    sent: list[tuple[Command, ...]] = []
    drive(store, save_flows.create(store.session.context, USER, record), sent=sent)
    assert len(sent) == 2
    assert record.created_at == store.users.get("u").created_at
    record.role = Role.ADMIN
    store.users.save(record)


def test_every_record_of_a_replayed_transaction_knows_its_times(store: Store, other: Store) -> None:
    store.users.create(old := user("old", "old@x"))
    created = old.created_at
    records: list[User] = []

    def write(tx: Any) -> None:
        changed = tx.users.get("old")
        changed.role = Role.ADMIN
        records[:] = [user("a", "a@x"), user("b", "b@x"), changed]
        tx.users.create(records[0])
        tx.users.upsert(records[1])
        tx.users.save(records[2])

    drive(store, transact_flows.transact(store.session.context, store._bind, write))
    for record in records:
        found = other.users.get(record.id)
        assert record.created_at == found.created_at
        other.users.save(found)
        record.email = f"new-{record.email}"
        with pytest.raises(ConflictError):  # its revision was the one before that of `other`
            store.users.save(record)
    assert records[2].created_at == created


def test_a_try_that_arrives_after_its_retry_won_is_refused(store: Store, other: Store) -> None:
    sent: list[tuple[Command, ...]] = []
    record = user()
    drive(store, save_flows.create(store.session.context, USER, record), sent=sent, carried_out=False)
    other.users.delete("u")
    store.users.create(user("v", "v@x"))  # the slot is used again
    ((late, *_),) = [store.session.shell.channel.exchange(sent[0])]
    assert late[0] == b"STALE"
    assert other.users.find("u") is None


def test_a_try_that_arrives_after_its_time_is_refused(store: Store) -> None:
    sent: list[tuple[Command, ...]] = []
    flow = save_flows.create(store.session.context, USER, user())
    drive(store, flow, sent=sent, carried_out=False)
    store.users.delete("u")
    (command,) = sent[0]
    fixed = 3 + int(command[2])
    elsewhere = (*command[: fixed + 1], 777, *command[fixed + 2 : fixed + 3], 1, *command[fixed + 4 :])
    (reply,) = store.session.shell.channel.exchange((elsewhere,))
    assert reply[0] == b"LATE"
    assert store.users.find("u") is None


def test_an_update_that_was_refused_does_not_happen_afterwards(store: Store) -> None:
    store.users.create(user("u", "u@x"))
    store.users.create(user("v", "v@x"))
    row = store.users.get("u")
    row.email = "v@x"
    sent: list[tuple[Command, ...]] = []
    with pytest.raises(EmailExistsError):
        drive(store, save_flows.save(store.session.context, USER, row), sent=sent, carried_out=False)
    store.users.delete("v")
    store.session.shell.channel.exchange(sent[0])
    assert store.users.get("u").email == "u@x"


def test_two_writes_with_the_same_revision_are_distinguished_by_their_op(store: Store, other: Store) -> None:
    mine = store.users.create(user())
    theirs = other.users.get("u")
    # After a lost tail and with the server's clock behind, another write gets the revision that `mine` remembers.
    partition = store.session.context.partition(USER)
    key = partition.document("User", "u")
    (document,) = store.session.shell.channel.exchange((("GET", key),))
    lost = document.replace(b'"op":"', b'"op":"f').replace(b'"role":"user"', b'"role":"admin"')
    store.session.shell.channel.exchange((("SET", key, lost),))
    for record, opened in ((mine, store), (theirs, other)):
        record.email = "blind@x"
        with pytest.raises(ConflictError):
            opened.users.save(record)
    assert store.users.get("u").role is Role.ADMIN


@pytest.mark.parametrize("applied", [True, False])
def test_an_unknown_outcome_can_be_settled_later(store: Store, other: Store, applied: bool) -> None:
    context = store.session.context.without_retries()
    record = user()
    with pytest.raises(OutcomeUnknownError) as caught:
        drive(store, save_flows.create(context, USER, record), lost=9, carried_out=applied)
    if applied:
        other.users.change("u", lambda row: setattr(row, "role", Role.ADMIN))
    settled = store.outcome(caught.value)
    assert settled == (applied, record if applied else None)
    assert store.outcome(caught.value) == settled
    if applied:
        assert record.created_at == other.users.get("u").created_at
    else:
        assert other.users.find("u") is None


def test_a_write_that_was_settled_as_never_never_happens(store: Store) -> None:
    context = store.session.context.without_retries()
    sent: list[tuple[Command, ...]] = []
    with pytest.raises(OutcomeUnknownError) as caught:
        drive(store, save_flows.create(context, USER, user()), lost=9, carried_out=False, sent=sent)
    assert store.outcome(caught.value).applied is False
    (late,) = store.session.shell.channel.exchange(sent[0])
    assert late[0] == b"NEVER"
    assert store.users.find("u") is None


def test_a_transactions_outcome_has_the_result_of_its_function(store: Store) -> None:
    context = store.session.context.without_retries()

    def write(tx: Any) -> str:
        tx.users.create(user())
        return "result"

    with pytest.raises(OutcomeUnknownError) as caught:
        drive(store, transact_flows.transact(context, store._bind, write), lost=9)
    assert outcome_of(store, caught.value) == (True, "result")


def outcome_of(store: Store, error: OutcomeUnknownError) -> Any:
    return store.session.run(outcome(store.session.context, error))


def test_the_ledger_stays_as_small_as_the_writes_under_way(store: Store) -> None:
    for number in range(200):
        store.users.create(user(f"u{number}", f"u{number}@x"))
    partition = store.session.context.partition(USER)
    key = partition.ledger(store.session.context.state.ledger.session)
    slots, ttl = store.session.shell.channel.exchange((("HLEN", key), ("PTTL", key)))
    assert slots == 1
    assert 0 < ttl <= 86_400_000


def test_a_forked_child_has_a_ledger_of_its_own(store: Store) -> None:
    ledger = store.session.context.state.ledger
    session = ledger.session
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, ledger.session.encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 100).decode() != session
    assert ledger.session == session


def test_a_write_that_reaches_a_server_whose_clock_is_ahead_is_sent_again(store: Store) -> None:
    store.session.context.state.clock.set(1)
    assert store.users.create(user()).created_at is not None


def test_nothing_is_unknown_when_nothing_was_sent(store: Store) -> None:
    context = store.session.context.without_retries()
    flow = save_flows.create(context, USER, user())
    flow.send(None)
    with pytest.raises(StoreTimeoutError):
        flow.throw(ConnectionFailure("timeout", "no connection", sent=False))


DAMAGED = ["noon", "7", "", "x OK", "9007199254740991 OK 1 1 0"]
"""What another program may have written into a slot; the last one has a sequence number that no plan of this client can reach."""


def damage(store: Store, value: str) -> None:
    """Overwrite every slot of a store's ledger."""
    key = store.session.context.partition(USER).ledger(store.session.context.state.ledger.session)
    (slots,) = store.session.shell.channel.exchange((("HKEYS", key),))
    store.session.shell.channel.exchange(tuple(("HSET", key, slot, value) for slot in slots or [b"0"]))


@pytest.mark.parametrize("value", DAMAGED)
def test_a_damaged_slot_is_not_used_again(store: Store, value: str) -> None:
    store.users.create(user())
    damage(store, value)
    for number in range(3):
        store.users.create(user(f"u{number}", f"u{number}@x"))
    assert len(store.users.get_many(["u", "u0", "u1", "u2"])) == 4


@pytest.mark.parametrize("value", DAMAGED)
def test_an_answer_that_was_damaged_is_unknown_and_stays_unknown_after_a_repair(
    store: Store, other: Store, value: str
) -> None:
    context = store.session.context
    with pytest.raises(OutcomeUnknownError) as caught:
        drive(store, save_flows.create(context, USER, user()), meanwhile=lambda: damage(store, value))
    with pytest.raises(OutcomeUnknownError):
        store.outcome(caught.value)
    other.session.run(repair_flows.reindex(other.session.context, Repairs()))
    with pytest.raises(OutcomeUnknownError):
        store.outcome(caught.value)
    assert other.users.find("u") is not None
    store.users.create(user("v", "v@x"))


def test_an_outcome_that_the_server_may_have_forgotten_is_not_settled() -> None:
    scripted = Scripted(deadline=0.5)
    with pytest.raises(OutcomeUnknownError) as caught:
        scripted.run(save_flows.create(scripted.context, USER, user()), [LOST] * 1000)
    scripted.effects.clear()
    hours = 3600 * 13
    with pytest.raises(OutcomeUnknownError) as again:
        scripted.run(outcome(scripted.context, caught.value), [[[b"%d" % hours, b"0"]]])
    assert again.value is caught.value
    assert [command[0] for command in scripted.sent()] == ["TIME"]


def test_a_ledger_is_renewed_until_a_renewal_was_applied() -> None:
    scripted = Scripted()
    renewals = []
    for answer in ([b"EXISTS", 1, b""], [b"OK", b"1", b"1", b"0"], [b"OK", b"2", b"1", b"0"]):
        scripted.effects.clear()
        with contextlib.suppress(AlreadyExistsError):
            scripted.run(save_flows.create(scripted.context, USER, user()), [[answer]])
        ((_, _, keys, *words),) = scripted.sent()
        renewals.append(words[keys + 7])
    assert renewals == ["renew", "renew", ""]
