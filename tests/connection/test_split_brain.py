"""Two primaries at once: what the old one acknowledges after the split is lost, and `min-replicas-to-write` narrows it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from compozy_store import Role, User
from compozy_store.sync import Store
from keyweave.errors import StoreReadOnlyError
from tests.servers.running import Running, configured_server, free_port

PATIENCE = 20.0
LAG = 1
"""Seconds of `min-replicas-max-lag`."""


class Pair:
    """A primary and its replica, each with a store on it."""

    def __init__(self, old: Running, new: Running, port: int) -> None:
        self.old, self.new = old, new
        self._ask(new, "REPLICAOF", "127.0.0.1", port)
        self.until(lambda: self._linked(new))

    def _ask(self, server: Running, *words: Any) -> Any:
        with server.client() as client:
            return client.execute_command(*words)

    def _linked(self, server: Running) -> bool:
        """Whether a replica has everything from its primary."""
        with server.client() as client:
            found: dict[str, Any] = client.info("replication")
        return found["master_link_status"] == "up"

    def split(self) -> None:
        """Promote the replica, while the old primary does not know."""
        self._ask(self.new, "REPLICAOF", "NO", "ONE")

    def join(self, port: int) -> None:
        """Let the old primary follow the new one."""
        self._ask(self.old, "REPLICAOF", "127.0.0.1", port)
        self.until(lambda: self._linked(self.old))

    def protect(self) -> None:
        """Let the old primary accept writes only while a replica is connected and answers."""
        self._ask(self.old, "CONFIG", "SET", "min-replicas-max-lag", LAG)
        self._ask(self.old, "CONFIG", "SET", "min-replicas-to-write", 1)

    @staticmethod
    def until(condition: Any) -> None:
        """Wait until a condition holds."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            time.sleep(0.01)  # asked again


@contextmanager
def servers() -> Iterator[tuple[Pair, int]]:
    old_port, new_port = free_port(), free_port()
    options = {"bind": "127.0.0.1", "repl_diskless_sync_delay": "0"}
    with (
        configured_server(port=str(old_port), **options) as old,
        configured_server(port=str(new_port), **options) as new,
    ):
        yield Pair(old, new, old_port), new_port


def user(key: str, role: Role = Role.USER) -> User:
    return User(id=key, email=f"{key}@x", role=role)


def test_what_the_old_primary_acknowledged_after_the_split_is_lost() -> None:
    with servers() as (pair, port), Store.open(pair.old.url) as before, Store.open(pair.new.url) as after:
        before.users.create(user("shared"))
        pair.until(lambda: after.users.find("shared") is not None)
        pair.split()
        before.users.create(user("lost"))
        before.users.change("shared", lambda row: setattr(row, "role", Role.ADMIN))
        after.users.create(user("kept"))
        pair.join(port)
        assert after.users.find("lost") is None
        assert after.users.get("shared").role is Role.USER
        assert [before.users.find(key) is not None for key in ("lost", "kept")] == [False, True]
        assert after.check().clean
        with pytest.raises(StoreReadOnlyError) as caught:
            before.users.create(user("late"))
        assert caught.value.code == "READONLY"


def test_min_replicas_ends_the_writes_of_an_old_primary() -> None:
    with servers() as (pair, _), Store.open(pair.old.url) as before:
        pair.protect()
        before.users.create(user("shared"))
        pair.split()
        pair.until(lambda: refusal(before, "late") == "NOREPLICAS")


def test_min_replicas_leaves_the_lag_in_which_a_silent_replica_counts() -> None:
    with servers() as (pair, _), Store.open(pair.old.url) as before:
        pair.protect()
        before.users.create(user("shared"))
        pair.new.process.send_signal(signal.SIGSTOP)
        try:
            began, written = time.monotonic(), 0
            while refusal(before, f"u{written}") is None:
                written += 1
                assert time.monotonic() - began < PATIENCE
            seconds = time.monotonic() - began
        finally:
            pair.new.process.send_signal(signal.SIGCONT)
        assert written > 0
        assert seconds > LAG / 2


def refusal(store: Store, key: str) -> str | None:
    """The code with which a write is refused; None when it is acknowledged."""
    try:
        store.users.upsert(user(key))
    except StoreReadOnlyError as error:
        return error.code
    return None
