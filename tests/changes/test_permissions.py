"""A user without the permission for one command of a script: the write is refused as a whole, with an error that names the command."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from compozy_store import APIKey, Role, Status, User
from compozy_store.entities import TASK_STATE, USER
from compozy_store.package import PACKAGE
from compozy_store.sync import Store
from keyweave.admin import permissions
from keyweave.changes.plan import Plan
from keyweave.errors import AuthenticationError, KeyweaveError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask_script
from keyweave.model.entry import ClaimEntry, ViewEntry
from keyweave.opening.prepare import prepare
from tests.contents import contents
from tests.harness import directed, run, task
from tests.servers.running import Running, configured_server

INNER = sorted(
    {"del", "hdel", "hget", "hincrby", "hlen", "hset", "pexpire", "set", "zadd", "zcard", "zrem", "zscore"}
)
"""The commands that plans call for a write."""

OTHER_CODE = "another writer"
RETAINED = {"TaskState": timedelta(days=1)}
ENDED = {"TaskState": timedelta(microseconds=1)}


def create(store: Store) -> None:
    store.users.create(User(id="new", email="new@x", role=Role.USER))


def create_ending(store: Store) -> None:
    store.task_states.create(task("new", status=Status.SUCCESS))


def save(store: Store) -> None:
    record = store.users.get("u")
    record.email, record.role = "changed@x", Role.ADMIN
    store.users.save(record)


def save_without_deadline(store: Store) -> None:
    record = store.task_states.get("t2")
    record.status = Status.RUNNING
    store.task_states.save(record)


def delete(store: Store) -> None:
    store.users.delete("u")


def upsert(store: Store) -> None:
    store.users.upsert(User(id="u", email="other@x", role=Role.ADMIN))


def transaction(store: Store) -> None:
    def steps(tx: Any) -> None:
        tx.users.delete("v")
        tx.users.create(User(id="w", email="v@x", role=Role.USER))
        record = tx.users.get("u")
        record.role = Role.ADMIN
        tx.users.save(record)

    store.transact(steps)


def sweep(store: Store) -> None:
    store.sweep()


OPERATIONS: dict[Callable[[Store], None], set[str]] = {
    create: {"hlen", "hset", "pexpire", "set", "zadd", "zscore"},
    create_ending: {"hset", "pexpire", "set", "zadd", "zscore"},
    save: {"hdel", "hset", "pexpire", "set", "zadd", "zrem"},
    save_without_deadline: {"hset", "pexpire", "set", "zadd", "zrem"},
    delete: {"del", "hdel", "hset", "pexpire", "zrem"},
    upsert: {"hdel", "hset", "pexpire", "set", "zadd", "zrem"},
    transaction: {"del", "hdel", "hset", "pexpire", "set", "zadd", "zrem"},
    sweep: {"del", "hset", "pexpire", "zrem"},
}
"""Each write with commands without which it must be refused."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@pytest.fixture(autouse=True)
def filled(server: Running) -> None:
    """A store with users, one of them with a key, and tasks with and without a deadline."""
    with server.client() as client:
        client.flushall()
    with opened(server, retention=RETAINED) as store:
        store.users.create(User(id="u", email="u@x", role=Role.USER))
        store.users.create(User(id="v", email="v@x", role=Role.USER))
        store.api_keys.create(APIKey(id="k", user_id="u", hash=b"h", fingerprint=b"f", prefix="p"))
        store.workflow_states.create(run())
        store.task_states.create(task("t2", status=Status.SUCCESS))
    with opened(server, retention=ENDED) as store:
        store.task_states.create(task("ended", status=Status.SUCCESS))


def opened(server: Running, user: str = "default", **options: Any) -> Store:
    address = f"unix://{server.socket}" if user == "default" else f"unix://{user}:word@{server.socket}"
    return Store.open(address, namespace="t", sweep_every=0, moment=0.001, **options)


def permit_all_but(
    server: Running, command: str, role: permissions.Role = permissions.Role.APPLICATION
) -> str:
    """A user with the printed rule, but without one command. Returns its name."""
    settings, context = prepare(PACKAGE, "redis://localhost", namespace="t")
    words = permissions.rule(context, settings, role, "limited")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *words)
        client.execute_command("ACL", "SETUSER", "limited", ">word", f"-{command}")
    return "limited"


def keyspace(server: Running) -> dict[bytes, Any]:
    """Every key with what it holds, and its native TTL."""
    with server.client() as client:
        return contents(client.execute_command, "*")


def require_refusal(server: Running, command: str, write: Callable[[Store], None]) -> bool:
    """Run a write as a user without `command`. Return whether it was refused, and assert that nothing is half done."""
    user = permit_all_but(server, command)
    with opened(server, user, retention=RETAINED) as store:
        before = keyspace(server)
        error = error_of(write, store)
        if error is not None:
            require_denied(error, command)
            assert keyspace(server) == before
    with opened(server, retention=RETAINED) as store:
        report = store.check()
        assert report.clean, report.drift
    return error is not None


def error_of(call: Callable[[Any], Any], argument: Any) -> KeyweaveError | None:
    try:
        call(argument)
    except KeyweaveError as error:
        return error
    return None


def require_denied(error: KeyweaveError, command: str) -> None:
    """Assert that an error says which command the user may not run."""
    assert type(error) is AuthenticationError, f"{type(error).__name__}: {error}"
    assert error.code == "NOPERM"
    assert f"'{command}'" in str(error)


@pytest.mark.parametrize("command", INNER)
@pytest.mark.parametrize("write", OPERATIONS, ids=lambda write: str(write.__name__))
def test_a_write_without_one_of_its_commands_writes_nothing(
    server: Running, write: Callable[[Store], None], command: str
) -> None:
    refused = require_refusal(server, command, write)
    if command in OPERATIONS[write]:
        assert refused


@pytest.mark.parametrize("command", INNER)
def test_a_write_by_other_code_is_refused_before_it_is_counted(server: Running, command: str) -> None:
    """The count of writes by other code precedes the document, so the document's command is checked too."""
    with server.client() as client:
        for key in client.scan_iter("*@schema"):
            client.hset(key, "current", OTHER_CODE)
    refused = require_refusal(server, command, save)
    assert refused or command in ("del", "hlen", "zcard", "zscore")


def test_a_command_that_a_plan_does_not_use_is_not_needed(server: Running) -> None:
    for command in ("del", "hdel", "hincrby", "zrem"):
        assert not require_refusal(server, command, lambda store: create(store))
        with opened(server) as store:
            store.users.delete("new")


@pytest.mark.parametrize("command", ["pexpireat", "persist", "zadd", "zrem", "hset", "hget", "hdel"])
def test_a_repair_without_one_of_its_commands_changes_nothing(server: Running, command: str) -> None:
    user = permit_all_but(server, command, permissions.Role.ADMIN)
    with opened(server, user) as store:
        context = store.session.context
        made = Plan(context.partition(TASK_STATE), context.state.ledger.new_op())
        made.change_entries(TASK_STATE, [ViewEntry("all", (), "gone", 1)], [])
        made.follow_deadline(TASK_STATE, "t2")
        other = Plan(context.partition(USER), context.state.ledger.new_op())
        other.change_entries(USER, [ClaimEntry("email", "u@x", "u"), ViewEntry("all", (), "u", 1)], [])
        refused = 0
        for plan in (made, other):
            before = keyspace(server)
            error = error_of(store.session.run, apply(context, plan))
            if error is not None:
                refused += 1
                require_denied(error, command)
                assert keyspace(server) == before
        assert refused


def test_a_key_that_cannot_be_made_lasting_is_not_set_aside(server: Running) -> None:
    user = permit_all_but(server, "persist", permissions.Role.ADMIN)
    with opened(server, user) as store, server.client() as client:
        partition = store.session.context.partition(USER)
        key, aside = partition.view("User", "all", ()), partition.aside(
            store.session.context.state.ledger.new_op(), "User.all"
        )
        client.set(key, "text")
        before = keyspace(server)
        with pytest.raises(AuthenticationError, match="'persist'"):
            store.session.run(ask_script(store.session.context, "aside", (key, aside), ("zset",)))
        assert keyspace(server) == before


def test_locks_are_released_together_or_not_at_all(server: Running) -> None:
    user = permit_all_but(server, "del")
    with opened(server, user) as store, server.client() as client:
        partition = store.session.context.partition(USER)
        locks = [partition.lock("User", key) for key in "uv"]
        for lock in locks:
            client.set(lock, "token")
        with pytest.raises(AuthenticationError, match="'del'"):
            store.session.run(ask_script(store.session.context, "unlock", tuple(locks), ("token",)))
        assert client.exists(*locks) == 2


@pytest.mark.parametrize("command", ["zrange", "zrevrange", "mget"])
def test_a_read_script_without_one_of_its_commands_names_it(server: Running, command: str) -> None:
    with opened(server, permit_all_but(server, command)) as store:
        with pytest.raises(AuthenticationError, match=rf"'{command}'") as caught:
            directed(store.users.all(), newest=command == "zrevrange").page()
        assert caught.value.code == "NOPERM"
