"""What the examination of a cluster, or of one of its nodes, finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy_store.package import PACKAGE
from keyweave.health.connect import connect
from keyweave.health.examine import examine
from keyweave.health.report import Health, Severity
from keyweave.opening.prepare import prepare
from keyweave.sync.shell import Shell
from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.cluster_node import ClusterNode
from tests.servers.running import new_namespace


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


NAMESPACE = new_namespace("health")


def slot() -> int:
    _, context = prepare(PACKAGE, "redis://nowhere", namespace=NAMESPACE)
    return slot_of(context.keyspace.partitions()[0].clock)


def examined(url: str) -> Health:
    settings, context = prepare(PACKAGE, url, namespace=NAMESPACE)
    with Shell(settings) as shell:
        shell.run(connect(context))
        return shell.run(examine(context))


def critical(health: Health) -> dict[str, str]:
    return {each.id: each.what for each in health.findings if each.severity is Severity.CRITICAL}


def test_a_healthy_cluster_serves(cluster: Cluster) -> None:
    health = examined(cluster.url)
    assert health.serving
    assert "writes-refused" not in critical(health)


def test_a_node_that_lacks_the_slot_does_not_serve_and_says_which_url_does(cluster: Cluster) -> None:
    health = examined(f"redis://{cluster.other_master(cluster.owner(slot())).name}")
    assert not health.serving
    (finding,) = [each for each in health.findings if each.id == "writes-refused"]
    assert finding.severity is Severity.CRITICAL
    assert "another node" in finding.what and "redis+cluster://" in finding.action
    assert "scripts-refused" not in critical(health)


def test_a_cluster_that_has_failed_is_critical(cluster: Cluster) -> None:
    """Another slot has no owner, so the state is `fail`, and the whole cluster refuses."""
    for lost in ((slot() + 1) % 16_384, slot()):
        with cluster.without_slot(lost):
            health = examined(cluster.url)
        assert not health.serving
        assert "the cluster does not serve" in critical(health)["writes-refused"]


def test_a_cluster_without_slots_is_critical(tmp_path: Path) -> None:
    node = ClusterNode(tmp_path / "node", {})
    try:
        node.start()
        health = examined(f"redis+cluster://{node.name}")
    finally:
        node.close()
    assert not health.serving
    assert "the cluster does not serve" in critical(health)["writes-refused"]


def test_a_slot_that_moves_says_nothing_about_the_keys_of_scripts(cluster: Cluster) -> None:
    """Meanwhile a script may access no key that it did not declare. At other times it may."""
    with cluster.moving(slot(), cluster.other_master(cluster.owner(slot()))):
        assert not examined(cluster.url).server.declared_keys
