"""The shop as its users run it: a server and a worker in processes of their own, from the first token to SIGTERM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from keyweave.effects import Flow, Send
from keyweave.errors import ConflictError, OutcomeUnknownError, StoreUnavailableError
from shop_api import worker
from shop_api.__main__ import token_for
from shop_api.app import create_app
from shop_api.worker import pack, pack_batch
from web_shop import State
from web_shop.sync import Store, Transaction

from .conftest import Browser, Site

PATIENCE = 30.0


def wait_until(holds: Callable[[], bool], what: str) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: it does not hold within `PATIENCE` seconds.
    """
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.01)


@contextmanager
def shop(command: str, url: str, log: Path, *more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the command `shop`. It has to end by itself, or it is killed and that is an error."""
    settings = {
        "SHOP_STORE_URL": url,
        "SHOP_DEADLINE": str(PATIENCE),
        "PYTHONWARNINGS": "always::ResourceWarning",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "shop_api", command, *more],
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def accepts(port: int) -> bool:
    """Whether a server accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE).close()
    except ConnectionRefusedError:
        return False
    return True


def free_port() -> int:
    """A port that is free at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def connections(store: Store, name: str) -> list[dict[str, str]]:
    """The server's connections of this name."""
    (listed,) = store.session.run(_clients())
    rows = [dict(word.partition("=")[::2] for word in line.split()) for line in listed.decode().splitlines()]
    return [row for row in rows if row["name"] == name]


def _clients() -> Flow[tuple[Any, ...]]:
    return (yield Send((("CLIENT", "LIST"),)))


class Call(threading.Thread):
    """A call in a thread, with its result."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self.result: Any = None

    def run(self) -> None:
        self.result = self._function()


def test_a_server_and_a_worker_from_the_first_token_to_the_last_request(tmp_path: Path) -> None:
    """One story, because each of its processes takes most of a second to start.

    A customer orders, and the worker packs. Then the server gets SIGTERM while a request waits for a row that another
    transaction has locked: the request ends with its answer, new connections are refused, an idle one is closed, and the
    store is closed after the last request.
    """
    url, port = f"embedded:{tmp_path / 'data'}", free_port()
    with (
        Store.open(url, lock_ttl=PATIENCE, deadline=PATIENCE) as store,
        shop("serve", url, tmp_path / "server.log", "--port", str(port)) as server,
        shop("work", url, tmp_path / "worker.log") as worker,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client,
    ):
        boss = Browser(client, None, token_for(store, "boss@example.com", staff=True))
        wait_until(lambda: accepts(port), "the server starts")
        boss.ask("GET", "/health/ready")
        boss.ask("POST", "/products", 201, json={"sku": "tea", "title": "Tea", "price": "7.90", "stock": 9})
        path = boss.order("first", tea=2).headers["Location"]
        wait_until(lambda: boss.ask("GET", path).json()["state"] == "packed", "the worker packs")
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(PATIENCE) == 0

        def commands() -> int:
            return sum(int(each["tot-cmds"]) for each in connections(store, "shop-api"))

        def stop_the_server_while_a_request_waits(tx: Transaction) -> Call:
            tx.products.get_for_update("tea")
            request, before = Call(lambda: boss.order("last", tea=3)), commands()
            request.start()
            wait_until(lambda: commands() > before + 50, "the request asks for the lock, again and again")
            server.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts(port), "new connections are refused")
            assert idle.recv(1) == b""
            assert server.poll() is None
            assert request.is_alive()
            return request

        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as idle:
            request = store.transact(stop_the_server_while_a_request_waits)
            request.join(PATIENCE)
        assert request.result.json()["lines"] == [{"sku": "tea", "count": 3, "price": "7.90"}]
        with pytest.raises(httpx.ConnectError):
            client.get("/health/live")
        assert server.wait(PATIENCE) in (0, -signal.SIGTERM)
        assert store.products.get("tea").stock == 4
        assert store.check().clean
    for name in ("server.log", "worker.log"):
        log = (tmp_path / name).read_text()
        assert "Traceback" not in log
        assert "ResourceWarning" not in log
    assert (tmp_path / "server.log").read_text().count("the store is closed") == 1


def test_the_end_of_the_application_closes_every_connection(site: Site, keyweave_url: str) -> None:
    name = f"shop-{id(site)}"
    app = create_app(keyweave_url, client_name=name)
    with TestClient(app) as client:
        assert client.get("/health/ready").status_code == 200
        assert connections(site.store, name)
    wait_until(lambda: not connections(site.store, name), "the server has seen the end")


def test_workers_share_orders_and_pack_each_once(site: Site) -> None:
    ann = site.customer("ann@example.com")
    placed = [ann.order(f"k{number}", cup=1).json()["id"] for number in range(8)]
    ann.ask("POST", f"/orders/{placed.pop()}/cancellation")
    start = threading.Barrier(3)

    def packed() -> list[str]:
        start.wait(PATIENCE)
        return pack_batch(site.store)

    calls = [Call(packed) for _ in range(3)]
    for call in calls:
        call.start()
    for call in calls:
        call.join(PATIENCE)
    by_all = [key for call in calls for key in call.result]
    rest = pack_batch(site.store)
    assert sorted(by_all + rest) == sorted(placed)
    assert site.store.orders.by_state(State.PLACED).count() == 0
    assert not pack(site.store, placed[0])
    assert not pack(site.store, "none")


def test_a_worker_outlives_a_server_that_is_away(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stop = threading.Event()
    failures: list[Exception] = [StoreUnavailableError("away"), OutcomeUnknownError("no answer")]

    def fail(store: Store) -> list[str]:
        if not failures:
            stop.set()
            return []
        raise failures.pop(0)

    monkeypatch.setattr(worker, "pack_batch", fail)
    with caplog.at_level("WARNING", "shop_api"):
        worker.work(site.store, stop, pause=0)
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_an_order_that_cannot_be_packed_does_not_stand_in_the_way(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    ann = site.customer("ann@example.com")
    first, *others = [ann.order(f"k{number}", cup=1).json()["id"] for number in range(4)]
    transact = Store.transact
    failing = iter([ConflictError("lost")])

    def fail_once(store: Store, function: Callable[[Transaction], Any]) -> Any:
        for error in failing:
            raise error
        return transact(store, function)

    monkeypatch.setattr(Store, "transact", fail_once)
    assert pack_batch(site.store, size=2) == others[:2]
    assert [record.getMessage() for record in caplog.records] == [f"{first} was not packed"]
    assert pack_batch(site.store) == [first, others[2]]
