"""Under 16 writers a slot moves, and a master dies: no error reaches a caller, and no acknowledged write is lost or doubled.

`make cluster-load` does the same many times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.connection.redis_py.cluster.load import MOST_LOST, WRITERS, Load, move
from tests.harness import FLAVOURS
from tests.servers.cluster import Cluster, shared_cluster
from tests.servers.running import chosen_server


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


@pytest.mark.parametrize("whole", [False, True] if chosen_server() == "embedded" else [False])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_hot_slot_moves_without_an_error(
    cluster: Cluster, flavour: str, whole: bool, record_property: Callable[[str, object], None]
) -> None:
    load = Load(cluster, flavour)
    with load.running():
        for _ in range(2):
            record_property("longest pause", move(cluster, load, whole=whole))
    assert load.errors == []
    assert load.settled.total() == 0
    load.judge()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_killed_master_is_waited_for_and_every_outcome_is_settled(cluster: Cluster, flavour: str) -> None:
    """Replication is asynchronous, so the writes of the last moment may be lost with the master; none is there twice."""
    load = Load(cluster, flavour)
    with load.running():
        cluster.kill(cluster.owner(load.slot))
        load.progress(4 * WRITERS)
    assert load.errors == []
    load.judge(lost=MOST_LOST)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_master_that_hands_over_loses_nothing(cluster: Cluster, flavour: str) -> None:
    load = Load(cluster, flavour)
    with load.running():
        cluster.fail_over(cluster.replica_of(cluster.owner(load.slot)))
        load.progress(4 * WRITERS)
    assert load.errors == []
    load.judge()
