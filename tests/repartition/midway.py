"""Namespaces whose partitions are being doubled: some have given rows to their twins, the others have not, and no process goes on."""

from __future__ import annotations

from typing import Any

from compozy_store import sync
from keyweave.exchange.ask import ask
from keyweave.repartition.grow import repartition
from tests.over import opened_store
from tests.servers.running import server_url


def leave_unfinished(store: Any, group: str, to: int, moved: int) -> None:
    """Double the partitions of a group, and end as soon as so many of them have given their rows away."""
    context, shell = store.session.context, store.session.shell
    flow = repartition(context, group, to, lambda stage: None, lease=-1.0, plan_life=-6.0)
    registries = [each.schema for each in context.keyspace.first(group, to // 2)]

    def played() -> Any:
        answer: Any = None
        while True:
            effect = flow.send(answer)
            answer = yield effect
            numbers = yield from ask(context, tuple(("HGET", name, "partitions") for name in registries))
            if sum(int(number or 1) == to for number in numbers) == moved:
                flow.close()
                return

    shell.run(played())


def prepare_engine(namespace: str, number: int) -> None:
    """Make a namespace of the engine whose executions have so many partitions, half of which have been doubled."""
    with opened_store(
        sync, "sync", server_url(), namespace=namespace, partitions={"execution": number}
    ) as store:
        leave_unfinished(store, "execution", 2 * number, number // 2)
