"""The Sentinels of the tests do what Sentinels do, seen by redis-py alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests.servers.sentinels import SERVICE, Sentinels, shared_sentinels


@pytest.fixture
def sentinels() -> Iterator[Sentinels]:
    shared = shared_sentinels()
    yield shared
    shared.restore()


def test_every_sentinel_names_the_primary(sentinels: Sentinels) -> None:
    primary = sentinels.primary()
    assert {node.primary() for node in sentinels.sentinels} == {primary.port}
    client: Any = sentinels.client()
    assert client.discover_master(SERVICE) == ("127.0.0.1", primary.port)
    found = client.discover_slaves(SERVICE)
    assert sorted(port for _, port in found) == sorted(node.port for node in sentinels.replicas())
    assert all(node.reaches_quorum() for node in sentinels.sentinels)
    with pytest.raises(redis.ReadOnlyError):
        sentinels.replicas()[0].ask("SET", "key", 1)


def test_a_replica_is_promoted_when_the_primary_is_killed(sentinels: Sentinels) -> None:
    client: Any = sentinels.client()
    primary = client.master_for(SERVICE)
    old = sentinels.primary()
    primary.set("key", "kept")
    assert primary.wait(2, 10_000) == 2
    new = sentinels.kill_primary()
    assert new is not old and not old.runs
    assert primary.get("key") == b"kept"
    assert client.discover_master(SERVICE) == ("127.0.0.1", new.port)
    sentinels.revive(old)
    assert old in sentinels.replicas()
    assert old.ask("GET", "key") == b"kept"


def test_a_sentinel_without_quorum_promotes_no_replica(sentinels: Sentinels) -> None:
    primary = sentinels.primary()
    with sentinels.without_quorum() as last:
        assert not last.reaches_quorum()
        assert last.primary() == primary.port
        with pytest.raises(redis.ResponseError, match="NOQUORUM"):
            last.ask("SENTINEL", "CKQUORUM", SERVICE)
    assert all(node.reaches_quorum() for node in sentinels.sentinels)
    assert sentinels.primary() is primary
