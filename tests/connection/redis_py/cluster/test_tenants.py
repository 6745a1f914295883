"""Tenants of one store on a cluster: each in slots of its own, over a URL and over an application's client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from typer.testing import CliRunner

from compozy_store import Status, sync
from keyweave.admin.app import app
from tests.harness import AT_ONCE, FLAVOURS, harness, run, task, user
from tests.over import client_at
from tests.servers.cluster import Cluster, shared_cluster, slot_of
from tests.servers.running import new_namespace


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    shared = shared_cluster()
    yield shared
    shared.restore()


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_tenants_on_all_masters_share_one_store(flavour: str, cluster: Cluster) -> None:
    with harness(
        flavour, "tenants", url=cluster.url, retention={"TaskState": AT_ONCE}, sweep_every=0
    ) as stores:
        tenants = [stores.db.tenant(new_namespace(f"t{number}")) for number in range(8)]
        slots = {slot_of(tenant.session.context.keyspace.at("auth", 0).clock) for tenant in tenants}
        assert len({cluster.owner(slot).port for slot in slots}) > 1
        for tenant in tenants:
            stores.do(tenant.users.create(user("u")))
            stores.do(tenant.workflow_states.create(run()))
            stores.do(tenant.task_states.create(task("t", status=Status.SUCCESS)))
            assert stores.do(tenant.sweep()) == 1
        for tenant in tenants:
            report = stores.do(tenant.check())
            assert (report.clean, report.documents) == (True, 2)
        assert stores.db.session.context.state.clocks.keys().isdisjoint(
            tenants[0].session.context.state.clocks
        )


def test_tenants_over_an_applications_client_of_a_cluster(cluster: Cluster) -> None:
    client, close = client_at(cluster.url, asynchronous=False)
    store: Any = sync.Store.over(client)
    tenant = store.tenant(new_namespace("over"))
    tenant.users.create(user("u"))
    assert tenant.users.get("u").id == "u"
    assert tenant.session.shell.channel is store.session.shell.channel
    store.close()
    close()


def test_all_tenants_of_a_cluster_are_found_on_every_master(cluster: Cluster) -> None:
    environment = new_namespace("e")
    names = [f"t{number}" for number in range(6)]
    with sync.Store.open(cluster.url, environment=environment, namespace=names[0]) as store:
        for name in names:
            store.tenant(name).users.create(user("u"))
    shared = ["--url", cluster.url, "-p", "compozy_store", "-e", environment, "--format", "json"]
    result = CliRunner().invoke(app, ["check", "--all-tenants", *shared])
    assert result.exit_code == 0, result.output
    shape = json.loads(result.stdout)
    assert [(row["tenant"], row["documents"]) for row in shape["tenants"]] == [(name, 1) for name in names]
