"""What is reported of groups with several partitions: spans say which one they used, gauges how full they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from keyweave.model.ids import ksuid
from tests.harness import FLAVOURS, Harness, harness
from tests.partitioned.estate import estate
from tests.telemetry.recording import Point, Recording
from tests.waiting import wait_until


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest, recording: Recording) -> Iterator[Harness]:
    retention = {"Deal": timedelta(microseconds=1)}
    with harness(
        request.param, ksuid(), module=estate(), retention=retention, sweep_every=0, **recording.options
    ) as opened:
        yield opened


def placed(recording: Recording, name: str) -> list[tuple[Any, Any]]:
    """The partition and the number of partitions on the spans of an operation."""
    return [
        tuple((span.attributes or {}).get(f"keyweave.{each}") for each in ("partition", "partitions"))  # type: ignore[misc]
        for span in recording.spans()
        if span.name == name
    ]


def account(stores: Harness, name: str) -> None:
    stores.do(stores.db.accounts.create(estate().Account(id=name, email=f"{name}@x")))


def deal(key: str, owner: str, **fields: Any) -> Any:
    return estate().Deal(id=key, account_id=owner, **{"state": estate().State.OPEN, **fields})


def number(stores: Harness, owner: str) -> int:
    index: int = stores.db.session.context.keyspace.partition("deals", owner).index
    return index


def test_a_span_names_the_only_partition_that_its_operation_used(
    stores: Harness, recording: Recording
) -> None:
    account(stores, "a")
    stores.do(stores.db.deals.create(deal("d", "a")))
    stores.do(stores.db.deals.get("d"))
    stores.do(stores.db.deals.by_account("a").list())
    here = f"deals {number(stores, 'a')}"
    for name in ("create Account", "create Deal", "get Deal", "list Deal"):
        assert placed(recording, name) == [(here, 1)], name


def test_a_span_of_several_partitions_has_their_number(stores: Harness, recording: Recording) -> None:
    names = [f"a{each}" for each in range(20)]
    for name in names:
        account(stores, name)
    assert stores.do(stores.db.accounts.all().count()) == 20
    assert placed(recording, "count Account") == [(None, 8)]
    stores.do(stores.db.accounts.delete_many(names))
    several = len({number(stores, name) for name in names})
    assert placed(recording, "delete_many Account") == [(None, several)]


def test_a_transaction_and_its_operations_each_have_their_own(stores: Harness, recording: Recording) -> None:
    account(stores, "a")

    def steps(tx: Any) -> Any:
        yield tx.deals.create(deal("d", "a"))

    stores.transact(steps)
    here = f"deals {number(stores, 'a')}"
    assert placed(recording, "tx.create Deal") == [(here, 1)]
    assert placed(recording, "transact") == [(here, 1)]


def test_a_group_with_one_partition_says_nothing(recording: Recording) -> None:
    with harness("sync", ksuid(), module=estate(), partitions={"deals": 1}, **recording.options) as stores:
        account(stores, "a")
        assert placed(recording, "create Account") == [(None, None)]
        assert recording.points("keyweave.partition.rows") == []


def extents(points: list[Point]) -> dict[str, float]:
    assert {point.attributes["keyweave.group"] for point in points} == {"deals"}
    return {point.attributes["keyweave.extent"]: point.value for point in points}


def test_gauges_show_the_fullest_partition_and_the_mean(recording: Recording) -> None:
    with harness(
        "sync",
        ksuid(),
        module=estate(),
        retention={"Deal": timedelta(microseconds=1)},
        sweep_every=0,
        **recording.options,
    ) as stores:
        rows: Counter[int] = Counter()
        for name in map("a{}".format, range(10)):
            account(stores, name)
            rows[number(stores, name)] += 1
        stores.do(stores.db.deals.create(deal("d", "a1", state=estate().State.CLOSED)))
        rows[number(stores, "a1")] += 1
        # The time is an estimate of the server's.
        wait_until(lambda: recording.total("keyweave.partition.overdue", keyweave_extent="most") == 1)
        assert extents(recording.points("keyweave.partition.rows")) == {
            "most": max(rows.values()),
            "mean": sum(rows.values()) / 8,
        }
        assert extents(recording.points("keyweave.partition.overdue")) == {"most": 1, "mean": 1 / 8}
