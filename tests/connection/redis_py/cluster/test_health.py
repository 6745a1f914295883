"""What the examination of a cluster, or of one of its nodes, finds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from compozy_store import sync
from compozy_store.package import PACKAGE
from keyweave.admin.app import app
from keyweave.admin.probe import lines
from keyweave.errors import ConfigurationError
from keyweave.exchange.confirm import require_confirmable
from keyweave.health.connect import connect
from keyweave.health.examine import examine
from keyweave.health.masters import weakest_levels
from keyweave.health.measure import measure
from keyweave.health.report import Health, Severity
from keyweave.opening.prepare import prepare
from keyweave.store.durability import parse_durability
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


def test_a_cluster_refuses_nothing_that_doctor_would_report(cluster: Cluster) -> None:
    """It has one database by its nature."""
    with running(cluster.url, NAMESPACE) as (shell, context):
        health = shell.run(examine(context, probing=True, database=0))
    assert health.server.restrictions == ()
    assert "service-restricted" not in {each.id for each in health.findings}


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


# -- groups on several masters


def apart(cluster: Cluster) -> tuple[str, list[ClusterNode]]:
    """A namespace whose groups are on different masters, and these masters in the order of the groups."""
    while True:
        namespace = new_namespace("apart")
        _, context = prepare(PACKAGE, "redis://nowhere", namespace=namespace)
        owners = [cluster.owner(slot_of(each.clock)) for each in context.keyspace.partitions()]
        if len(set(owners)) == len(owners) > 1:
            return namespace, owners


@contextmanager
def running(url: str, namespace: str) -> Iterator[tuple[Shell, Any]]:
    settings, context = prepare(PACKAGE, url, namespace=namespace)
    with Shell(settings) as shell:
        shell.run(connect(context))
        yield shell, context


@contextmanager
def configured(nodes: list[ClusterNode], **options: str) -> Iterator[None]:
    """Inside, nodes have other settings."""
    before = {
        (node, name): next(iter(node.ask("CONFIG", "GET", name.replace("_", "-")).values()))
        for node in nodes
        for name in options
    }
    try:
        for node, name in before:
            node.ask("CONFIG", "SET", name.replace("_", "-"), options[name])
        yield
    finally:
        for (node, name), value in before.items():
            node.ask("CONFIG", "SET", name.replace("_", "-"), value)


def test_every_master_with_a_group_is_examined(cluster: Cluster) -> None:
    namespace, (first, second) = apart(cluster)
    with running(cluster.url, namespace) as (shell, context):
        groups = tuple((partition.group,) for partition in context.keyspace.partitions())
        with configured([second], maxmemory_policy="allkeys-lru"), configured([first], maxmemory="1gb"):
            health = shell.run(examine(context))
        assert tuple(master.groups for master in health.masters) == groups
        assert [master.server.eviction_policy for master in health.masters] == ["noeviction", "allkeys-lru"]
        found = [each for each in health.findings if each.id == "eviction-policy"]
        assert [each.what.split(":")[0] for each in found] == [f"Master of {groups[1][0]}"]
        assert health.serving
        assert "2 with the 2 groups of this namespace, 2 serving" in "\n".join(lines(health))


def test_a_master_behind_the_first_that_refuses_writes_is_critical(cluster: Cluster) -> None:
    namespace, (_, second) = apart(cluster)
    with running(cluster.url, namespace) as (shell, context):
        with configured([second], maxmemory="1"):
            health = shell.run(examine(context))
        assert not health.serving
        assert [master.serving for master in health.masters] == [True, False]
        group = context.keyspace.partitions()[1].group
        assert critical(health)["writes-refused"].startswith(f"Master of {group}: ")
        assert shell.run(examine(context)).serving


def test_a_finding_of_all_masters_is_reported_once(cluster: Cluster) -> None:
    namespace, owners = apart(cluster)
    with (
        running(cluster.url, namespace) as (shell, context),
        configured(owners, maxmemory_policy="allkeys-lru"),
    ):
        found = [each for each in shell.run(examine(context)).findings if each.id == "eviction-policy"]
    assert len(found) == 1 and not found[0].what.startswith("Master of")


def test_groups_on_one_master_are_one_master(cluster: Cluster) -> None:
    while True:
        namespace = new_namespace("together")
        with running(cluster.url, namespace) as (shell, context):
            partitions = context.keyspace.partitions()
            if len({cluster.owner(slot_of(each.clock)) for each in partitions}) == 1:
                (master,) = shell.run(examine(context)).masters
                assert master.groups == tuple(each.group for each in partitions)
                return


def test_a_node_with_the_first_group_and_not_the_second_does_not_serve(cluster: Cluster) -> None:
    namespace, (first, _) = apart(cluster)
    with running(f"redis://{first.name}", namespace) as (shell, context):
        health = shell.run(examine(context))
    assert not health.serving
    assert "another node" in critical(health)["writes-refused"]


def test_gauges_measure_every_master_with_a_group(cluster: Cluster) -> None:
    namespace, (first, second) = apart(cluster)
    with running(cluster.url, namespace) as (shell, context):
        with configured([first, second], appendonly="yes"):
            assert shell.run(measure(context)).durable
        with configured([second], maxmemory="1gb"), configured([first], appendonly="yes"):
            state = shell.run(measure(context))
        assert (state.up, state.durable, state.memory_limit) == (True, False, 2**30)
        clients = [node.info("clients")["connected_clients"] for node in (first, second)]
        assert state.clients is not None and max(clients) < state.clients <= sum(clients)


@pytest.mark.parametrize(
    ("level", "lacking", "says"),
    [
        ("disk", {"appendonly": "no"}, "keeps no append-only file"),
        ("disk", {"appendfsync": "no"}, "has appendfsync no"),
    ],
)
def test_a_durable_store_asks_every_master_with_a_group(
    cluster: Cluster, level: str, lacking: dict[str, str], says: str
) -> None:
    namespace, owners = apart(cluster)
    durability = parse_durability(level)
    assert durability is not None
    with configured(owners, appendonly="yes", appendfsync="always"):
        for place, owner in enumerate(owners):
            with running(cluster.url, namespace) as (shell, context):
                group = context.keyspace.partitions()[place].group
                with (
                    configured([owner], **lacking),
                    pytest.raises(ConfigurationError, match=f"the master of {group} .*{says}"),
                ):
                    shell.run(require_confirmable(context, durability))
                shell.run(require_confirmable(context, durability))
                assert durability in context.state.confirmable


def test_doctor_shows_the_weakest_level_of_all_masters(cluster: Cluster) -> None:
    namespace, owners = apart(cluster)
    with configured(owners, appendonly="yes", appendfsync="always"), configured(owners[1:], appendonly="no"):
        words = ["doctor", "-p", "compozy_store", "--url", cluster.url, "--namespace", namespace]
        result = CliRunner().invoke(app, [*words, "--format", "json"])
    levels = {level["name"]: level for level in json.loads(result.stdout)["durability"]}
    assert levels["disk"]["standing"] == "refused"
    assert levels["disk"]["meaning"].startswith("Master of ")
    assert levels["replicas"]["standing"] == "true"


# -- a group with several partitions


def test_every_master_of_a_group_with_partitions_is_examined_with_what_it_holds(cluster: Cluster) -> None:
    name = new_namespace("parted")
    with sync.Store.open(cluster.url, namespace=name, partitions={"execution": 16}) as store:
        session = store.session
        health = session.health()
        keyspace = session.context.keyspace
        held = {number for master in health.masters for number in master.partitions.get("execution", ())}
        assert held == set(range(16))
        assert len(health.masters) == 3
        for master in health.masters:
            numbers = master.partitions["execution"]
            owners = {cluster.owner(slot_of(keyspace.at("execution", each).clock)) for each in numbers}
            (owner,) = owners
            assert master.server.used_memory == pytest.approx(owner.info("memory")["used_memory"], rel=0.5)
        assert any(
            "3 with the 2 groups of this namespace in 17 partitions, 3 serving" in line
            for line in lines(health)
        )
        for master in health.masters:  # each is asked about its own keys
            assert session.run(weakest_levels(session.context, [master]))
        for node in cluster.masters():  # what is said of a master is what that one answered
            theirs = {
                each
                for each in range(16)
                if cluster.owner(slot_of(keyspace.at("execution", each).clock)) is node
            }
            with configured([node], maxmemory_policy="allkeys-lru"):
                found = session.health()
            (text,) = [finding.what for finding in found.findings if "evict" in finding.id]
            (numbers,) = re.findall(r"execution ([0-9 ]+):", text)
            assert set(map(int, numbers.split())) == theirs
            policies = {each.partitions["execution"]: each.server.eviction_policy for each in found.masters}
            assert {frozenset(each) for each, policy in policies.items() if policy == "allkeys-lru"} == {
                frozenset(theirs)
            }


def test_masters_and_their_partitions_take_three_exchanges_however_many_there_are(cluster: Cluster) -> None:
    name = new_namespace("exchanges")
    for number in (4, 64):
        with sync.Store.open(
            cluster.url, namespace=f"{name}{number}", partitions={"execution": number}
        ) as store:
            session = store.session
            sent: list[int] = []
            exchange = session.shell.channel.exchange

            def counting(commands: Any, *more: Any, exchange: Any = exchange, sent: list[int] = sent) -> Any:
                sent.append(len(commands))
                return exchange(commands, *more)

            session.shell.channel.exchange = counting  # type: ignore[method-assign]
            health = session.health()
            assert len(sent) == 3
            assert len(health.masters) == 3
            assert len(health.partitions) == number
            sent.clear()
            assert session.run(measure(session.context)).up
            assert len(sent) == 2
