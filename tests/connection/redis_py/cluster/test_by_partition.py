"""Work in several partitions of a real cluster: all masters are asked at the same time, and one that fails is named."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from compozy_store import Component, Status, TaskState, WorkflowState, aio, sync
from keyweave.cli import commands
from keyweave.effects import Flow, Send
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.by_partition import Failures, by_master, each_partition
from keyweave.integrity import scan, survey
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import ParsedKey
from tests.harness import FLAVOURS
from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.running import new_namespace
from tests.waiting import wait_until

PARTITIONS = 16
WORKFLOWS = [f"w{number}" for number in range(40)]

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


@pytest.fixture
def store(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Iterator[sync.Store]:
    """A store with forty executions on sixteen partitions. The environment names it for commands."""
    name = new_namespace("nodes")
    for variable, value in (("URL", cluster.url), ("NAMESPACE", name), ("PACKAGE", "compozy_store")):
        monkeypatch.setenv(f"KEYWEAVE_{variable}", value)
    with sync.Store.open(cluster.url, namespace=name, partitions={"execution": PARTITIONS}) as opened:
        opened.workflow_states.create_many(
            [
                WorkflowState(workflow_exec_id=each, workflow_id="f", status=Status.RUNNING)
                for each in WORKFLOWS
            ]
        )
        opened.task_states.create_many([task(each) for each in WORKFLOWS])
        yield opened


def task(workflow: str) -> TaskState:
    return TaskState(
        task_exec_id=f"t-{workflow}",
        task_id="t",
        workflow_exec_id=workflow,
        workflow_id="f",
        component=Component.TASK,
        status=Status.RUNNING,
    )


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_work_for_each_partition_is_under_way_on_all_masters_at_the_same_time(
    cluster: Cluster, store: sync.Store, flavour: str
) -> None:
    """Each master answers only once all of them wait: one after another, the first would end without a result."""
    context, masters = store.session.context, cluster.masters()
    first: dict[Any, Partition] = {}
    for partition in context.keyspace.partitions():
        first.setdefault(cluster.owner(slot_of(partition.clock)), partition)
    assert len(first) == len(masters) == 3
    failures = Failures(context)

    def work(partition: Partition) -> Flow[bytes]:
        if first[cluster.owner(slot_of(partition.clock))] is not partition:
            return b""
        ((_, value),) = yield Send((("BLPOP", f"{partition.tag}@waits", 8),))
        return bytes(value)

    flow = each_partition(context, context.keyspace.partitions(), work, failures)
    found: list[Any] = []

    def run() -> None:
        if flavour == "sync":
            found.append(store.session.shell.run(flow))
        else:
            found.append(asyncio.run(_run_aio(cluster, context.keyspace.namespace.tenant, flow)))

    caller = threading.Thread(target=run)
    caller.start()
    try:
        wait_until(lambda: all(node.info("clients")["blocked_clients"] == 1 for node in masters))
    finally:
        for node, partition in first.items():
            node.ask("LPUSH", f"{partition.tag}@waits", node.name)
        caller.join()
    assert not failures
    assert {found[0][partition].decode() for partition in first.values()} == {node.name for node in masters}


async def _run_aio(cluster: Cluster, namespace: str, flow: Flow[Any]) -> Any:
    async with aio.Store.open(cluster.url, namespace=namespace) as store:
        return await store.session.shell.run(flow)


def test_the_partitions_are_divided_by_the_masters_that_have_them(
    cluster: Cluster, store: sync.Store
) -> None:
    context = store.session.context
    found = store.session.run(by_master(context, context.keyspace.partitions()))
    assert len(found) == 3
    for master in found:
        owners = {cluster.owner(slot_of(partition.clock)) for partition in master.partitions}
        assert [f"127.0.0.1:{node.port}" for node in owners] == [master.name]


def test_a_sweep_names_the_partition_that_it_cannot_sweep_and_its_master(
    cluster: Cluster, store: sync.Store
) -> None:
    context = store.session.context
    bad = context.keyspace.partition("execution", "w7")
    node = cluster.owner(slot_of(bad.clock))
    node.ask("SET", bad.expiry, "no set")
    with pytest.raises(CorruptDocumentError) as error:
        store.sweep()
    assert str(error.value).startswith(
        f"partition {bad.index} of the group execution on 127.0.0.1:{node.port}: a key holds another type"
    )
    node.ask("DEL", bad.expiry)
    assert store.sweep() == 0


def test_the_sweep_command_says_what_it_swept_before_an_error(cluster: Cluster, store: sync.Store) -> None:
    context = store.session.context
    past = {"TaskState": timedelta(microseconds=1)}
    namespace = context.keyspace.namespace.tenant
    with sync.Store.open(cluster.url, namespace=namespace, retention=past, sweep_every=0) as other:
        for each in WORKFLOWS:
            other.task_states.update(f"t-{each}", workflow_exec_id=each, status=Status.SUCCESS)
    bad = context.keyspace.partition("execution", "w7")
    lost = sum(context.keyspace.partition("execution", each).tag == bad.tag for each in WORKFLOWS)
    node = cluster.owner(slot_of(bad.clock))
    node.ask("RENAME", bad.expiry, f"{bad.expiry}.kept")
    node.ask("SET", bad.expiry, "no set")
    result = RUNNER.invoke(app, ["sweep", "--share", "1"])
    assert result.exit_code == 2
    assert f"keyweave: swept {len(WORKFLOWS) - lost} rows before an error" in result.output
    assert f"keyweave: partition {bad.index} of the group execution on 127.0.0.1:{node.port}" in result.output
    node.ask("RENAME", f"{bad.expiry}.kept", bad.expiry)
    result = RUNNER.invoke(app, ["sweep", "--share", "1"])
    assert (result.exit_code, result.stdout) == (0, f"swept {lost} rows\n")
    assert store.check().clean


def damage(monkeypatch: pytest.MonkeyPatch, bad: Partition) -> None:
    """Let a survey of one partition end with an error."""
    read = scan.read_documents

    def failing(context: Any, places: list[ParsedKey]) -> Any:
        if any(place.partition is not None and place.partition.tag == bad.tag for place in places):
            raise CorruptDocumentError("a key holds another type than Keyweave writes")
        return (yield from read(context, places))

    monkeypatch.setattr(survey, "read_documents", failing)


def test_a_check_prints_what_the_other_partitions_have_and_could_not_run(
    store: sync.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = store.session.context
    bad = context.keyspace.partition("execution", "w7")
    name = next(each for each in WORKFLOWS if context.keyspace.partition("execution", each).tag != bad.tag)
    here = context.keyspace.partition("execution", name)
    store.session.run(_ask("ZREM", here.view("TaskState", "by_status", ("RUNNING",)), f"t-{name}"))
    damage(monkeypatch, bad)
    result = RUNNER.invoke(app, ["check"])
    assert result.exit_code == 2
    assert "not complete" in result.output and "TaskState.by_status" in result.output
    assert "clean" not in result.output
    assert f"keyweave: partition {bad.index} of the group execution on 127.0.0.1:" in result.output
    result = RUNNER.invoke(app, ["check", "--format", "json"])
    shape = json.loads(result.stdout)
    assert (result.exit_code, shape["clean"], len(shape["drift"])) == (2, False, 1)
    assert shape["error"].startswith(f"partition {bad.index} of the group execution")


def test_a_repair_says_what_it_did_in_the_others_and_asks_to_be_run_again(
    store: sync.Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = store.session.context
    for name in WORKFLOWS:
        here = context.keyspace.partition("execution", name)
        store.session.run(_ask("ZREM", here.view("TaskState", "by_status", ("RUNNING",)), f"t-{name}"))
    bad = context.keyspace.partition("execution", "w7")
    lost = sum(context.keyspace.partition("execution", each).tag == bad.tag for each in WORKFLOWS)
    with monkeypatch.context() as patch:
        damage(patch, bad)
        result = RUNNER.invoke(app, ["reindex"])
    assert result.exit_code == 2
    assert f"keyweave: stopped; {len(WORKFLOWS) - lost} repaired. Run it again for the rest." in result.output
    result = RUNNER.invoke(app, ["reindex"])
    assert result.exit_code == 0, result.output
    assert store.check().clean


def _ask(*command: Any) -> Flow[Any]:
    (reply,) = yield Send((command,))
    return reply
