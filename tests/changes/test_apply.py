"""`apply` with every guard and every failure on a real server: a refused plan leaves the whole keyspace unchanged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from compozy_store import Component, Role, Status, TaskState, User, WorkflowState
from compozy_store.entities import TASK_STATE, USER, WORKFLOW_STATE
from compozy_store.sync import Store
from keyweave.changes.answer import Applied, Refusal
from keyweave.changes.answer import Status as Answer
from keyweave.changes.insertion import Insertion
from keyweave.changes.plan import Plan
from keyweave.effects import Command, Flow, Send
from keyweave.errors import (
    AlreadyExistsError,
    CorruptDocumentError,
    KeyweaveError,
    StoreOutOfMemoryError,
    StoreReadOnlyError,
    UniqueViolationError,
)
from keyweave.exchange.apply import apply
from keyweave.model.entry import CREATED, ClaimEntry, Entry, ViewEntry
from tests.contents import contents
from tests.servers.running import new_namespace, server_url

BODY = b',"id":"x","email":"x@x","role":"user"}'


@pytest.fixture
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    with Store.open(server_url(), namespace=new_namespace(request.node.name)) as opened:
        opened.users.create(User(id="u", email="u@x", role=Role.USER))
        opened.users.create(User(id="v", email="v@x", role=Role.ADMIN))
        yield opened


def send(store: Store, *commands: Command) -> list[Any]:
    """Raw commands."""

    def flow() -> Flow[list[Any]]:
        replies: list[Any] = yield Send(commands)
        return replies

    return store.session.run(flow())


def keyspace(store: Store) -> dict[bytes, Any]:
    """Every key of the namespace with what it holds."""
    return contents(lambda *command: send(store, command)[0], store.session.context.keyspace.pattern())


def plan(store: Store) -> Plan:
    """An empty plan in the partition of users."""
    return Plan(store.session.context.partition(USER), store.session.context.state.ledger.new_op())


def write_much(made: Plan) -> None:
    """Rows of a plan that change documents, views and claims."""
    made.put(USER, "x", BODY, 0, [], [ViewEntry("all", (), "x", CREATED), ClaimEntry("email", "x@x", "x")])
    made.change_entries(USER, [], [ViewEntry("by_role", ("user",), "x", 1)])


def revision(store: Store, key: str) -> int:
    """The revision of a user."""
    document = send(store, ("GET", store.session.context.partition(USER).document("User", key)))[0]
    return int(document[12:28])


REFUSED: list[tuple[str, Callable[[Plan, Store], None], Answer]] = [
    ("revision of a missing row", lambda p, _: p.guard_revision(USER, "nobody", 1), Answer.MISSING),
    ("revision of a changed row", lambda p, _: p.guard_revision(USER, "u", 1), Answer.CHANGED),
    ("absent", lambda p, _: p.guard_absent(USER, "u"), Answer.EXISTS),
    ("exists", lambda p, _: p.guard_exists(USER, "nobody", USER, "x", "email"), Answer.NO_TARGET),
    ("dead", lambda p, s: p.guard_dead(USER, "u", revision(s, "u")), Answer.ALIVE),
    ("unchanged and missing", lambda p, _: p.guard_unchanged(USER, "nobody", 1), Answer.MISSING),
    ("unchanged and changed", lambda p, _: p.guard_unchanged(USER, "u", 1), Answer.CHANGED),
    ("missing", lambda p, _: p.guard_missing(USER, "u"), Answer.EXISTS),
    ("free", lambda p, _: p.guard_free(USER, ClaimEntry("email", "u@x", "x")), Answer.TAKEN),
    ("holds", lambda p, _: p.guard_holds(USER, "email", "u@x", "v"), Answer.CHANGED),
    ("count", lambda p, _: p.guard_count(USER, "all", (), 3), Answer.COUNT),
]


@pytest.mark.parametrize(
    ("guard", "answer"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_a_guard_that_does_not_hold_writes_nothing(
    store: Store, guard: Callable[[Plan, Store], None], answer: Answer
) -> None:
    before = keyspace(store)
    made = plan(store)
    made.guard_absent(USER, "x")
    guard(made, store)
    write_much(made)
    outcome = store.session.run(apply(store.session.context, made))
    assert isinstance(outcome, Refusal)
    assert outcome.status is answer
    assert outcome.guard == made.guards[1]
    assert keyspace(store) == before


def test_a_plan_whose_guards_hold_is_applied(store: Store) -> None:
    made = plan(store)
    made.guard_absent(USER, "x")
    made.guard_revision(USER, "u", revision(store, "u"))
    made.guard_unchanged(USER, "v", revision(store, "v"))
    made.guard_exists(USER, "v", USER, "x", "email")
    made.guard_missing(USER, "nobody")
    made.guard_free(USER, ClaimEntry("email", "x@x", "x"))
    made.guard_free(USER, ClaimEntry("email", "u@x", "u"))
    made.guard_holds(USER, "email", "v@x", "v")
    made.guard_count(USER, "all", (), 2)
    made.put(USER, "x", BODY, 0, [], USER.entries(User(id="x", email="x@x", role=Role.USER)))
    assert isinstance(store.session.run(apply(store.session.context, made)), Applied)
    assert store.check().clean
    assert store.users.get_by_email("X@X").id == "x"


def new_users(store: Store, *keys: str) -> Insertion:
    """A plan that inserts users."""
    context = store.session.context
    made = Insertion(context.partition(USER), context.state.ledger.new_op(), USER, keys)
    made.guard_exists(USER, "v", USER, keys[0], "email")
    rows = [User(id=key, email=f"{key}@x", role=Role.USER) for key in keys]
    bodies = [f',"id":"{key}","email":"{key}@x","role":"user"}}'.encode() for key in keys]
    made.insert(context.view_prefixes(USER), bodies, rows)
    return made


def test_new_rows_are_answered_with_their_revisions(store: Store) -> None:
    outcome = store.session.run(apply(store.session.context, new_users(store, "a", "b", "c")))
    assert isinstance(outcome, Applied)
    assert [head[0] for head in outcome.heads] == [revision(store, key) for key in "abc"]
    assert all(head == (head[0], head[0], 0) for head in outcome.heads)
    assert store.check().clean
    assert [row.id for row in store.users.by_role(Role.USER).reverse()] == ["u", "a", "b", "c"]


@pytest.mark.parametrize(
    ("head", "freed", "answer"),
    [
        ((1, 0), False, Answer.EXISTS),
        ((1, 2), False, Answer.DEAD),
        (None, True, Answer.FREED),
    ],
)
def test_the_row_that_is_in_the_way_of_new_rows_is_named_and_nothing_is_written(
    store: Store, head: tuple[int, int] | None, freed: bool, answer: Answer
) -> None:
    partition = store.session.context.partition(USER)
    if head is not None:
        text = f'{{"revision":{head[0]},"created":1,"expires":{head[1]},"op":"x"'.encode()
        send(store, ("SET", partition.document("User", "b"), text + b',"id":"b"}'))
    if freed:
        send(store, ("ZADD", partition.expiry, 5, "User:b"))
    before = keyspace(store)
    made = new_users(store, "a", "b", "c")
    outcome = store.session.run(apply(store.session.context, made))
    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.guard) == (answer, made.guards[1])
    assert keyspace(store) == before


def test_the_guards_after_those_of_new_rows_keep_their_numbers(store: Store) -> None:
    before = keyspace(store)
    made = new_users(store, "a", "b", "c")
    made.guard_exists(USER, "nobody", USER, "c", "email")
    outcome = store.session.run(apply(store.session.context, made))
    assert isinstance(outcome, Refusal)
    assert (outcome.status, outcome.guard) == (Answer.NO_TARGET, made.guards[-1])
    assert keyspace(store) == before


@pytest.mark.parametrize("place", ["clock", "expiry", "document", "view", "claims"])
def test_a_key_of_the_wrong_type_is_refused_before_the_first_write(store: Store, place: str) -> None:
    partition = store.session.context.partition(USER)
    key = {
        "clock": partition.clock,
        "expiry": partition.expiry,
        "document": partition.document("User", "x"),
        "view": partition.view("User", "by_role", ("user",)),
        "claims": partition.claims("User", "email"),
    }[place]
    send(store, ("DEL", key), ("LPUSH", key, "damage"))
    before = keyspace(store)
    with pytest.raises(CorruptDocumentError):
        store.users.create(User(id="x", email="x@x", role=Role.USER))
    assert keyspace(store) == before


@pytest.mark.parametrize("place", ["view", "claims"])
def test_a_key_of_the_wrong_type_that_a_changed_row_leaves_is_refused_and_nothing_is_written(
    store: Store, place: str
) -> None:
    """No guard has read the constraint whose value the row gives up, and no command the view."""
    partition = store.session.context.partition(USER)
    store.users.create(User(id="w", email="w@x", role=Role.USER))
    key = partition.view("User", "all", ()) if place == "view" else partition.claims("User", "email")
    send(store, ("DEL", key), ("LPUSH", key, "damage"))
    before = keyspace(store)
    made = plan(store)
    made.guard_revision(USER, "u", revision(store, "u"))
    left: list[Entry] = [ViewEntry("all", (), "u", CREATED), ClaimEntry("email", "u@x", "u")]
    made.put(
        USER,
        "u",
        BODY,
        0,
        left,
        [ViewEntry("by_role", ("admin",), "u", 5), ViewEntry("by_role", ("x",), "u", CREATED)],
    )
    with pytest.raises(CorruptDocumentError):
        store.session.run(apply(store.session.context, made))
    assert keyspace(store) == before


def deletion(store: Store, *guards: Callable[[Plan], None]) -> Plan:
    """A plan that deletes the user `u`."""
    made = plan(store)
    made.guard_revision(USER, "u", revision(store, "u"))
    for guard in guards:
        guard(made)
    made.delete(USER, "u", USER.entries(store.users.get("u")))
    return made


@pytest.mark.parametrize("place", ["clock", "ledger", "first view", "last view", "claims"])
def test_a_key_of_the_wrong_type_that_a_deleted_row_is_in_is_refused_and_nothing_is_written(
    store: Store, place: str
) -> None:
    made = deletion(store)
    partition = store.session.context.partition(USER)
    views = [partition.view("User", *each) for each in (("by_role", ("user",)), ("all", ()))]
    key = {
        "clock": partition.clock,
        "ledger": partition.ledger(store.session.context.state.ledger.session),
        "first view": views[0],
        "last view": views[1],
        "claims": partition.claims("User", "email"),
    }[place]
    send(store, ("DEL", key), ("LPUSH", key, "damage"))
    before = keyspace(store)
    with pytest.raises((CorruptDocumentError, KeyweaveError)):
        store.session.run(apply(store.session.context, made))
    assert keyspace(store) == before


DOCUMENTS: dict[str, Callable[[bytes], bytes]] = {
    "the same": lambda document: document,
    "a document of another length": lambda document: document + b" ",
    "a document of the same length": lambda document: document.replace(b"admin", b"ADMIN"),
}


@pytest.mark.parametrize("case", DOCUMENTS)
@pytest.mark.parametrize("puts", [False, True])
def test_a_row_that_must_be_a_text_is_that_byte_for_byte(store: Store, case: str, puts: bool) -> None:
    """Both paths of the script compare it: that of plans which only delete, and the general one."""
    (document,) = send(store, ("GET", store.session.context.partition(USER).document("User", "v")))
    expected = DOCUMENTS[case](document)
    made = deletion(store, lambda each: each.guard_same(USER, "v", expected))
    if puts:
        made.guard_absent(USER, "x")
        write_much(made)
    before = keyspace(store)
    outcome = store.session.run(apply(store.session.context, made))
    if case == "the same":
        assert isinstance(outcome, Applied)
        assert store.users.find("u") is None
        assert store.users.get("v").role is Role.ADMIN
    else:
        assert isinstance(outcome, Refusal)
        assert (outcome.status, outcome.guard) == (Answer.CHANGED, made.guards[1])
        assert keyspace(store) == before


@pytest.mark.parametrize("members", [0, 1])
def test_a_deleted_row_may_require_the_size_of_a_view(store: Store, members: int) -> None:
    made = deletion(store, lambda each: each.guard_count(USER, "by_role", ("admin",), members))
    before = keyspace(store)
    outcome = store.session.run(apply(store.session.context, made))
    if members == 1:
        assert isinstance(outcome, Applied)
        assert store.check().clean
    else:
        assert isinstance(outcome, Refusal)
        assert outcome.status is Answer.COUNT
        assert keyspace(store) == before


def test_a_row_with_a_deadline_leaves_the_expiry_set_when_it_is_deleted(store: Store) -> None:
    partition = store.session.context.partition(USER)
    name, at = partition.document("User", "u"), 9 * 10**15
    (document,) = send(store, ("GET", name))
    send(store, ("SET", name, document.replace(b'"expires":0', b'"expires":%d' % at)))
    send(store, ("ZADD", partition.expiry, at, "User:u"))
    assert isinstance(store.session.run(apply(store.session.context, deletion(store))), Applied)
    assert send(store, ("EXISTS", name, partition.expiry)) == [0]
    assert store.check().clean


def test_a_unique_value_that_another_row_took_is_not_released(store: Store) -> None:
    """Only damage can do that; what was found there stays."""
    claims = store.session.context.partition(USER).claims("User", "email")
    made = deletion(store)
    send(store, ("HSET", claims, "u@x", "v"))
    assert isinstance(store.session.run(apply(store.session.context, made)), Applied)
    assert send(store, ("HGET", claims, "u@x")) == [b"v"]


def test_a_deletion_that_was_applied_is_not_applied_again(store: Store) -> None:
    """Its answer is in the ledger, and so is refused what comes too late."""
    made, context = deletion(store), store.session.context
    ticket = context.state.ledger.take()
    options: dict[str, Any] = {"grace_ms": 0, "renew": False, "again": False, "clustered": context.clustered}
    sha, writer = context.scripts["free"].text, context.package.writer

    def command(until: int) -> Command:
        return made.command(sha, "EVAL", ticket=ticket, until=until, writer=writer, **options)

    before = keyspace(store)
    ((late, _),) = send(store, command(1))
    assert late == b"LATE"
    assert keyspace(store) == before
    assert send(store, command(9 * 10**15), command(9 * 10**15)) == [[b"OK"], [b"REPLAYED", b"OK"]]


@pytest.mark.parametrize("kept", ["later", "damaged"])
def test_a_deletion_whose_slot_a_later_plan_has_used_is_not_applied(store: Store, kept: str) -> None:
    made, context = deletion(store), store.session.context
    ticket, ledger = context.state.ledger.take(), made.partition.ledger(context.state.ledger.session)
    answer = f"{ticket.sequence + 1} OK" if kept == "later" else "what?"
    send(store, ("HSET", ledger, ticket.slot, answer))
    before = keyspace(store)
    command = made.command(
        context.scripts["free"].text,
        "EVAL",
        ticket=ticket,
        until=9 * 10**15,
        grace_ms=0,
        renew=False,
        again=False,
        writer=context.package.writer,
        clustered=context.clustered,
    )
    ((status, *_),) = send(store, command)
    assert status == (b"STALE" if kept == "later" else b"CORRUPT")
    assert keyspace(store) == before


def test_a_document_without_a_head_is_refused(store: Store) -> None:
    send(store, ("SET", store.session.context.partition(USER).document("User", "x"), "{}"))
    before = keyspace(store)
    with pytest.raises(CorruptDocumentError):
        store.users.create(User(id="x", email="x@x", role=Role.USER))
    with pytest.raises(CorruptDocumentError):
        store.users.get("x")
    assert keyspace(store) == before


@pytest.mark.parametrize(
    ("record", "error"),
    [
        (User(id="u", email="new@x", role=Role.USER), AlreadyExistsError),
        (User(id="new", email="U@X", role=Role.USER), UniqueViolationError),
    ],
)
def test_a_refused_create_writes_nothing(store: Store, record: User, error: type[KeyweaveError]) -> None:
    before = keyspace(store)
    with pytest.raises(error):
        store.users.create(record)
    assert keyspace(store) == before


@pytest.mark.parametrize(
    ("setting", "value", "normal", "error"),
    [
        ("min-replicas-to-write", "1", "0", StoreReadOnlyError),
        ("maxmemory", "1", "0", StoreOutOfMemoryError),
    ],
)
def test_a_server_that_refuses_writes_is_left_unchanged(
    tmp_path: Path, setting: str, value: str, normal: str, error: type[KeyweaveError]
) -> None:
    with Store.open(f"embedded:{tmp_path / 'data'}", namespace="refusing") as store:
        store.workflow_states.create(
            WorkflowState(workflow_exec_id="w", workflow_id="f", status=Status.RUNNING)
        )
        before = keyspace(store)
        send(store, ("CONFIG", "SET", setting, value))
        try:
            for write in (
                lambda: store.task_states.create(
                    TaskState(
                        task_exec_id="t",
                        task_id="t",
                        workflow_exec_id="w",
                        workflow_id="f",
                        component=Component.TASK,
                        status=Status.PENDING,
                    )
                ),
                lambda: store.workflow_states.change("w", lambda row: setattr(row, "status", Status.SUCCESS)),
            ):
                with pytest.raises(error):
                    write()
            assert store.workflow_states.get("w").status is Status.RUNNING
            assert len(store.workflow_states.all().page().rows) == 1
        finally:
            send(store, ("CONFIG", "SET", setting, normal))
        assert keyspace(store) == before
        assert (TASK_STATE.group, WORKFLOW_STATE.group) == ("execution", "execution")
