"""Error replies that say that a connection is of no use any more: it is closed, and the command is sent on a new one."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from keyweave.effects import ServerError
from keyweave.errors import AuthenticationError, StoreReadOnlyError
from tests.connection.everywhere import opened_everywhere  # noqa: F401
from tests.connection.peers import Behaviour, Client, Open, answering, peer, sending
from tests.harness import FLAVOURS, Harness, harness, run, user
from tests.servers.running import Running, configured_server

CONDEMNING = ["READONLY", "MASTERDOWN", "NOAUTH", "WRONGPASS"]


def refusing(code: str, connections: int, seen: list[int]) -> Behaviour:
    """The first connections answer everything but the greeting with an error; later ones are healthy."""

    def behave(client: Client) -> None:
        seen.append(client.number)
        if client.number >= connections:
            answering(client)
            return
        client.greet()
        while client.request() is not None:
            time.sleep(0.02)  # so that callers at the same time have a connection each
            client.send(f"-{code} no\r\n".encode())

    return behave


@pytest.mark.parametrize("code", CONDEMNING)
def test_a_condemned_connection_is_closed(opened: Open, code: str) -> None:
    seen: list[int] = []
    with peer(refusing(code, 1, seen)) as place:
        driver = opened(f"redis://{place}")
        (reply,) = driver.send(("ECHO", "x"))
        assert isinstance(reply, ServerError) and reply.code == code
        assert driver.send(("ECHO", "x")) == [b"x"]
        assert seen == [0, 1]


@pytest.mark.parametrize("code", ["ERR", "OOM", "LOADING", "MISCONF", "NOPERM", "WRONGTYPE"])
def test_other_error_replies_keep_the_connection(opened: Open, code: str) -> None:
    seen: list[int] = []
    with peer(refusing(code, 1, seen)) as place:
        driver = opened(f"redis://{place}")
        for _ in range(3):
            (reply,) = driver.send(("ECHO", "x"))
            assert isinstance(reply, ServerError)
        assert seen == [0]


def test_the_idle_connections_of_the_same_age_go_with_it(opened: Open) -> None:
    seen: list[int] = []

    def behave(client: Client) -> None:
        """Connections are healthy until the fourth exists. After that, the first three are those of a replica."""
        seen.append(client.number)
        client.greet()
        while (command := client.request()) is not None:
            time.sleep(0.05)
            old = b"x" not in command and client.number < 3
            client.send(b"-READONLY no\r\n" if old else b"+OK\r\n")

    with peer(behave) as place:
        driver = opened(f"redis://{place}", pipelining=1)
        driver.run_together([sending(("ECHO", "x")) for _ in range(3)])
        assert sorted(seen) == [0, 1, 2]
        (refused,) = driver.send(("ECHO", "y"))
        assert isinstance(refused, ServerError)
        state = driver.shell.pool_state()
        assert (state.open, state.idle) == (0, 0)
        assert driver.send(("ECHO", "y")) == [b"OK"]
        assert sorted(seen) == [0, 1, 2, 3]


def test_a_connection_that_a_check_condemns_is_replaced(opened: Open) -> None:
    """PING, which checks an idle connection, is answered with an error too."""
    seen: list[int] = []
    with peer(refusing("NOAUTH", 1, seen)) as place:
        driver = opened(f"redis://{place}", health_check_interval=1e-9)
        driver.send(("ECHO", "x"))
        assert driver.send(("ECHO", "x")) == [b"x"]
        assert driver.shell.pool_state().open == 1


def test_a_replica_that_lost_its_primary_can_be_connected_to(opened: Open) -> None:
    """The greeting is answered with MASTERDOWN. The commands that follow get their own answers; over redis-py, the same one."""

    def behave(client: Client) -> None:
        while (command := client.request()) is not None:
            client.send(b"-MASTERDOWN no\r\n" if command == [b"PING"] else b"+OK\r\n")

    with peer(behave) as place:
        driver = opened(f"redis://{place}")
        (reply,) = driver.send(("ECHO", "x"))
        assert reply == b"OK" if driver.client is None else reply.code == "MASTERDOWN"


class Address:
    """An address that leads to another server from some moment on. Connections that exist stay where they are."""

    def __init__(self, to: Path) -> None:
        self.to = to
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server, contextlib.suppress(OSError):
            server.connect(str(self.to))
            back = threading.Thread(target=self._copy, args=(server, client), daemon=True)
            back.start()
            self._copy(client, server)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextlib.contextmanager
def at_address(flavour: str, server: Running, **options: Any) -> Iterator[tuple[Address, Harness]]:
    address = Address(server.socket)
    try:
        with harness(flavour, "condemned", url=address.url, **options) as stores:
            yield address, stores
    finally:
        address.close()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_after_a_failover_writes_succeed_on_new_connections(flavour: str) -> None:
    """The address leads to the new primary. The old one, to which the pool is connected, has become a replica."""
    with (
        configured_server() as old,
        configured_server() as new,
        at_address(flavour, old) as (address, stores),
    ):
        stores.together([creating(f"u{n}") for n in range(4)])
        port = new_port(new)
        with old.client() as client:
            address.to = new.socket
            client.replicaof("127.0.0.1", port)
        for number in range(4, 8):
            stores.do(stores.db.users.create(user(f"u{number}")))
        outcomes = stores.together([creating(f"u{n}") for n in range(8, 12)])
        assert [row.id for row in outcomes] == [f"u{n}" for n in range(8, 12)]
        with new.client() as client:
            assert client.dbsize() > 8


def creating(key: str) -> Callable[[Any], Any]:
    return lambda store: store.users.create(user(key))


def new_port(server: Running) -> int:
    """Let a server listen on a port as well."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    with server.client() as client:
        client.config_set("port", port)
    return port


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_write_waits_until_the_address_leads_to_a_primary(flavour: str) -> None:
    with (
        configured_server() as server,
        at_address(flavour, server) as (_, stores),
        server.client() as client,
    ):
        client.replicaof("127.0.0.1", 1)
        promotion = threading.Timer(0.3, client.replicaof, ("NO", "ONE"))
        promotion.start()
        stores.do(stores.db.workflow_states.create(run()))
        promotion.join()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_server_that_stays_a_replica_refuses_writes_within_the_deadline_and_serves_reads(
    flavour: str,
) -> None:
    with configured_server() as server, at_address(flavour, server, deadline=0.4) as (address, stores):
        stores.do(stores.db.workflow_states.create(run()))
        context = stores.db.session.context
        partition = context.keyspace.partition("execution")
        stores.send(("ZADD", partition.view("WorkflowState", "by_status", ("RUNNING",)), 1, "dangling"))
        with server.client() as client:
            client.replicaof("127.0.0.1", 1)
        began = time.monotonic()
        with pytest.raises(StoreReadOnlyError):
            stores.do(stores.db.workflow_states.create(run("other")))
        assert time.monotonic() - began < 5
        page = stores.do(stores.db.workflow_states.by_status(run().status).page())
        assert [row.workflow_exec_id for row in page.rows] == [
            "w"
        ], "an entry that cannot be healed is no error"
        with harness(flavour, stores, url=address.url) as others:
            assert others.do(others.db.workflow_states.get("w")).workflow_exec_id == "w"


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_user_that_was_made_anew_is_authenticated_again(flavour: str) -> None:
    """The connections of the old user are closed by the server, or refused: both are replaced."""
    with configured_server(user="default on nopass ~* &* +@all") as server, server.client() as admin:
        admin.execute_command("ACL", "SETUSER", "app", "on", ">first", "~*", "&*", "+@all")
        address = Address(server.socket)
        url = address.url.replace("redis://", "redis://app:first@")
        try:
            with harness(flavour, "condemned", url=url) as stores:
                stores.do(stores.db.users.create(user("a")))
                admin.execute_command("ACL", "DELUSER", "app")
                admin.execute_command("ACL", "SETUSER", "app", "on", ">first", "~*", "&*", "+@all")
                stores.do(stores.db.users.create(user("b")))
                admin.execute_command("ACL", "DELUSER", "app")
                began = time.monotonic()
                with pytest.raises(AuthenticationError):
                    stores.do(stores.db.users.get("a"))
                assert time.monotonic() - began < 5, "refused credentials are final"
        finally:
            address.close()
