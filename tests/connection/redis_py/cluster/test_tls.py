"""Stores on a cluster whose clients use TLS: by URL and over clients of redis-py, in both flavours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
import trustme

from compozy_store import Role, User, aio, sync
from keyweave.errors import StoreUnavailableError
from tests.connection.redis_py.cluster.test_channel import open_by_url
from tests.harness import FLAVOURS
from tests.servers.cluster import slot_of
from tests.servers.running import new_namespace
from tests.servers.tls_cluster import TlsCluster, tls_cluster

WAYS = ("url", "client")


@pytest.fixture(scope="module")
def cluster() -> Iterator[TlsCluster]:
    with tls_cluster() as started:
        yield started


class Opened:
    """A store of either flavour behind TLS, which waits for its results."""

    def __init__(self, cluster: TlsCluster, flavour: str, way: str, **options: Any) -> None:
        self._runner = asyncio.Runner()
        self._client: Any = None
        self._flavour = flavour
        module = aio if flavour == "aio" else sync
        options = {"namespace": new_namespace("tls"), **options}
        if way == "url":
            options = {"tls_ca_file": str(cluster.trusted), **options}
            self.store = self.do(module.Store.open(cluster.url, **options))
        else:
            self._client = self.do(_client(cluster) if flavour == "aio" else cluster.client())
            self.store = module.Store.over(self._client, **options)

    def do(self, result: Any) -> Any:
        return self._runner.run(_awaited(result)) if hasattr(result, "__await__") else result

    @property
    def slot(self) -> int:
        """The slot of the group of users."""
        context = self.store.session.context
        return slot_of(context.partition(context.package.entities["User"]).clock)

    def close(self) -> None:
        self.do(self.store.close())
        if self._client is not None:
            self.do(self._client.aclose() if self._flavour == "aio" else self._client.close())
        self._runner.close()


async def _awaited(result: Any) -> Any:
    return await result


async def _client(cluster: TlsCluster) -> Any:
    startup = [redis.asyncio.cluster.ClusterNode(*each) for each in cluster.outside]
    return redis.asyncio.RedisCluster(startup_nodes=startup, ssl=True, ssl_ca_certs=str(cluster.trusted))


Open = Callable[..., Opened]


@pytest.fixture
def opened(cluster: TlsCluster) -> Iterator[Open]:
    with ExitStack() as stack:

        def open_one(flavour: str, way: str = "url", **options: Any) -> Opened:
            found = Opened(cluster, flavour, way, **options)
            stack.callback(found.close)
            return found

        yield open_one


def user(key: str) -> User:
    return User(id=key, email=f"{key}@x", role=Role.USER)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_works_behind_tls(flavour: str, way: str, opened: Open) -> None:
    found = opened(flavour, way)
    db, do = found.store, found.do
    for number in range(5):
        do(db.users.create(user(f"u{number}")))
    assert do(db.users.get_by_email("u3@x")).id == "u3"
    assert do(db.users.all().count()) == 5
    health = do(db.health())
    assert (health.encrypted, health.serving) == (True, True)
    assert "tls-off" not in {finding.id for finding in health.findings}
    assert do(db.check()).clean


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_redirection_leads_to_a_port_with_tls(
    flavour: str, way: str, opened: Open, cluster: TlsCluster
) -> None:
    found = opened(flavour, way)
    found.do(found.store.users.create(user("before")))
    source = cluster.owner(found.slot)
    cluster.move_slot(found.slot, cluster.other_master(source))
    found.do(found.store.users.create(user("after")))
    assert found.do(found.store.users.get("before")).id == "before"
    assert cluster.owner(found.slot) is not source


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_failover_leads_to_a_port_with_tls(flavour: str, opened: Open, cluster: TlsCluster) -> None:
    found = opened(flavour, deadline=20)
    found.do(found.store.users.create(user("before")))
    cluster.wait_until_replicated()
    master = cluster.owner(found.slot)
    replica = cluster.kill(master)
    try:
        found.do(found.store.users.create(user("after")))
        assert cluster.owner(found.slot) is replica
        assert found.do(found.store.users.get("before")).id == "before"
    finally:
        cluster.revive(master)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_nodes_that_cannot_prove_their_identity_are_not_used(
    flavour: str, cluster: TlsCluster, tmp_path: Path
) -> None:
    trustme.CA().cert_pem.write_to_path(tmp_path / "other.pem")
    with pytest.raises(StoreUnavailableError, match="certificate"):
        open_by_url(flavour, cluster.url, tls_ca_file=str(tmp_path / "other.pem"))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_url_without_tls_does_not_open_such_a_cluster(flavour: str, cluster: TlsCluster) -> None:
    with pytest.raises(StoreUnavailableError):
        open_by_url(flavour, cluster.url.replace("rediss", "redis"), deadline=2.0, timeout=1.0)
