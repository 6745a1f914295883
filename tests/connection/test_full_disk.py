"""A full disk under the append-only file: what callers get, and what is there afterwards.

A limit on the size of the server's files stands for the disk: a write behind it is short, and the next one fails.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from compozy_store import Role, User
from compozy_store.sync import Store
from keyweave.errors import KeyweaveError, OutcomeUnknownError, StoreReadOnlyError
from tests.servers.redis8 import server_command
from tests.servers.running import Running, chosen_server, embedded_binary, running_command
from tests.waiting import wait_until

ROOM = 2_000
PATIENCE = 15.0
START = "import os, sys; os.execv(sys.argv[1], sys.argv[1:])"
"""Python ignores the signal of a file that is too large, and so does what it becomes: it gets an error, as with a full disk."""


@contextmanager
def running(folder: Path, fsync: str) -> Iterator[Running]:
    """A server of the kind under test, with its append-only file in a folder that outlives it."""
    command = [embedded_binary()] if chosen_server() == "embedded" else server_command()
    options = {"save": "", "appendonly": "yes", "appendfsync": fsync, "dir": str(folder)}
    options["auto_aof_rewrite_percentage"] = "0"
    with running_command([sys.executable, "-c", START, *command], options) as server:
        with server.client() as client:
            wait_until(lambda: not client.info("persistence")["loading"])
        yield server


def limit(server: Running, folder: Path, room: int | None) -> None:
    """Let the append-only file grow by so many bytes, or as it likes."""
    size = max(path.stat().st_size for path in folder.glob("appendonlydir/*.incr.aof"))
    soft = resource.RLIM_INFINITY if room is None else size + room
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


def write_until_refused(store: Store) -> tuple[list[str], KeyweaveError]:
    """Create users; return the acknowledged ones and the first error."""
    written: list[str] = []
    while True:
        key = f"u{len(written)}"
        try:
            store.users.create(User(id=key, email=f"{key}@x", role=Role.USER))
        except KeyweaveError as error:
            return written, error
        written.append(key)


def found(store: Store, keys: list[str]) -> list[str]:
    """Those of the users that are there; every index agrees with them."""
    assert store.check().clean
    return [key for key in keys if store.users.find(key) is not None]


def test_under_always_the_server_ends_and_no_acknowledged_write_is_lost(tmp_path: Path) -> None:
    with running(tmp_path, "always") as server, Store.open(server.url, deadline=0.5) as store:
        limit(server, tmp_path, ROOM)
        written, error = write_until_refused(store)
        assert written and type(error) is OutcomeUnknownError
        assert server.process.wait(PATIENCE) == 1
    with running(tmp_path, "always") as server, Store.open(server.url) as store:
        assert found(store, written) == written
        assert store.outcome(error).applied is (store.users.find(f"u{len(written)}") is not None)


def test_under_everysec_the_server_refuses_writes_until_there_is_room(tmp_path: Path) -> None:
    with running(tmp_path, "everysec") as server, Store.open(server.url, deadline=0.5) as store:
        limit(server, tmp_path, ROOM)
        written, error = write_until_refused(store)
        assert written and type(error) is StoreReadOnlyError
        assert error.code == "MISCONF"
        assert found(store, written) == written
        limit(server, tmp_path, None)
        until = time.monotonic() + PATIENCE
        while not _writable(store):
            assert time.monotonic() < until
    with running(tmp_path, "everysec") as server, Store.open(server.url) as store:
        assert found(store, [*written, "later"]) == [*written, "later"]


@pytest.mark.parametrize("fsync", ["everysec", "no"])
def test_a_server_that_dies_while_its_disk_is_full_loses_what_it_acknowledged_last(
    tmp_path: Path, fsync: str
) -> None:
    with running(tmp_path, fsync) as server, Store.open(server.url, deadline=0.5) as store:
        limit(server, tmp_path, ROOM)
        written, error = write_until_refused(store)
        assert type(error) is StoreReadOnlyError
        assert found(store, written) == written
    with running(tmp_path, fsync) as server, Store.open(server.url) as store:
        left = found(store, written)
        assert left == written[: len(left)]
        assert len(left) < len(written)


def _writable(store: Store) -> bool:
    try:
        store.users.create(User(id="later", email="later@x", role=Role.USER))
    except StoreReadOnlyError:
        return False
    return True
