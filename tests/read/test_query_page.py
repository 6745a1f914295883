"""Filters that one list serves are planned once for each kind; what a store remembers of them never changes an answer."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from compozy_store import Status
from keyweave.errors import KeyweaveError, UnboundedQueryError, ValidationError
from keyweave.query import at_least, at_most, between
from tests.harness import Harness, harness, in_batches, run, task
from tests.queries.draw import ORDERS, condition, implying, row
from tests.queries.package import stock
from tests.servers.running import new_namespace, server_url

FIELDS = ("kind", "owner", "price", "weight", "opened", "flag", "team", "cost", "rank", "slug")
LONG_AGO, FAR = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["sync", "aio"])
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, "lists") as opened:
        for name in ("v", "w"):
            opened.do(opened.db.workflow_states.create(run(name)))
        for number in range(6):
            opened.do(
                opened.db.task_states.create(
                    task(f"t{number}", workflow="vw"[number % 2], status=list(Status)[number % 3])
                )
            )
        yield opened


def lists(stores: Harness) -> dict[Any, Any]:
    known = stores.db.session.context.state.choices.get("TaskState")
    return known.known if known is not None else {}


def keys(page: Any) -> list[str]:
    return [each.task_exec_id for each in page.rows]


def test_filters_that_differ_in_values_are_planned_once(stores: Harness) -> None:
    tasks = stores.db.task_states
    assert keys(stores.do(tasks.where(workflow_exec_id="v").page())) == ["t4", "t2", "t0"]
    assert len(lists(stores)) == 1
    assert keys(stores.do(tasks.where(workflow_exec_id="w").page())) == ["t5", "t3", "t1"]
    assert keys(stores.do(tasks.where(workflow_exec_id="none").page())) == []
    assert len(lists(stores)) == 1
    assert keys(stores.do(tasks.where(workflow_exec_id="v", created_at=at_least(LONG_AGO)).page())) == [
        "t4",
        "t2",
        "t0",
    ]
    assert len(lists(stores)) == 2


def test_a_cursor_of_the_planner_continues_on_a_remembered_list(stores: Harness) -> None:
    query = stores.db.task_states.where(workflow_exec_id="v", created_at=at_least(LONG_AGO))
    assert not lists(stores)
    first = stores.do(query.page(2))
    assert lists(stores)
    same_moment = at_least(LONG_AGO.astimezone(timezone(timedelta(hours=5))))
    other = stores.db.task_states.where(created_at=same_moment, workflow_exec_id="v")
    assert keys(stores.do(other.page(2, first.cursor))) == ["t0"]
    second = stores.do(query.page(1))
    lists(stores).clear()
    assert keys(stores.do(query.page(2, second.cursor))) == ["t2", "t0"]


@pytest.mark.parametrize(
    ("filters", "rule"),
    [
        ({"workflow_exec_id": 1, "created_at": at_least(LONG_AGO)}, "expected str"),
        ({"workflow_exec_id": ["v"], "created_at": at_least(LONG_AGO)}, "expected str"),
        ({"workflow_exec_id": "v", "created_at": between(FAR, LONG_AGO)}, "above its high end"),
        ({"workflow_exec_id": "v", "created_at": at_least("now")}, "expected datetime"),
        (
            {"workflow_exec_id": "v", "created_at": at_least(FAR.replace(tzinfo=None))},
            "time zone",
        ),
        ({"workflow_exec_id": "\udc80", "created_at": at_least(LONG_AGO)}, "surrogate"),
    ],
)
def test_what_does_not_fit_is_refused_after_its_kind_was_planned(
    stores: Harness, filters: dict[str, Any], rule: str
) -> None:
    tasks = stores.db.task_states
    for ends in (at_least(LONG_AGO), at_most(FAR), between(LONG_AGO, FAR)):
        stores.do(tasks.where(workflow_exec_id="v", created_at=ends).page())
    with pytest.raises(ValidationError, match=rule):
        stores.do(tasks.where(**filters).page())


def test_moments_beyond_exact_scores_are_compared_on_documents(stores: Harness) -> None:
    tasks = stores.db.task_states
    for ends, found in (
        (at_most(FAR), 3),
        (at_least(LONG_AGO), 3),
        (at_least(FAR), 0),
        (at_most(LONG_AGO), 0),
    ):
        assert len(stores.do(tasks.where(workflow_exec_id="v", created_at=ends).page()).rows) == found
        assert len(stores.do(tasks.by_workflow("v").between(ends.low, ends.high).page()).rows) == found


def test_an_equal_value_of_the_orders_own_field_bounds_every_page() -> None:
    """The planner reads a stretch of the order for it; the second page of that kind read the whole order."""
    with stock().sync.Store.open(server_url(), namespace=new_namespace("ranked")) as store:
        chance = random.Random(1)
        for number in range(12):
            store.items.create(stock().Item(**{**row(chance, f"i{number}"), "rank": number % 3}))
        for rank in (1, 2, 1):
            handle = store.items.where(rank=rank).order_by("rank")
            for found in (handle.page(50).rows, handle.list(), [handle.first()]):
                assert {each.rank for each in found} == {rank}
            assert handle.count() == 4


STRETCHES: dict[str, tuple[dict[str, Any], tuple[int, int], tuple[int, int], list[int]]] = {
    "the first one implies the condition of a view": ({"owner": "ada"}, (0, 2), (0, 8), [8, 5, 2, 1]),
    "the first one says what an equal value says": ({"price": 1}, (1, 1), (0, 8), [1]),
    "the first one is within the others": ({"owner": "ada"}, (0, 8), (0, 2), [2, 1]),
}


@pytest.mark.parametrize("kind", STRETCHES)
def test_what_was_planned_for_a_stretch_holds_for_others_only_where_values_do_not_decide(kind: str) -> None:
    filters, before, after, found = STRETCHES[kind]
    with stock().sync.Store.open(server_url(), namespace=new_namespace("stretches")) as store:
        chance = random.Random(1)
        for price in (1, 2, 5, 8):
            values = {**row(chance, f"i{price}"), "owner": "ada", "price": price}
            store.items.create(stock().Item(**values))

        def read(low: int, high: int) -> list[Any]:
            rows = store.items.where(**filters).order_by("price").between(low, high)
            pages = [each.price for each in in_batches(rows, 2)]
            first = rows.first()
            prices = [each.price for each in rows.list()]
            assert pages == prices
            assert (first.price if first is not None else None) == (prices[0] if prices else None)
            assert rows.count() == len(prices) == len(rows.keys())
            return prices

        read(*before)
        assert read(*after) == found


def test_an_end_that_bounds_nothing_is_planned_as_none() -> None:
    """What was found out for it was kept for ends that bound a query."""
    with stock().sync.Store.open(server_url(), namespace=new_namespace("ends")) as store:
        chance = random.Random(1)
        for number in range(4):
            store.items.create(stock().Item(**row(chance, f"i{number}")))

        def slugs(low: str) -> list[str]:
            return [each.slug for each in store.items.where(slug=at_least(low)).order_by("slug").list()]

        for _ in range(2):
            with pytest.raises(UnboundedQueryError):
                slugs("")
            assert slugs("slug2") == ["slug2", "slug3"]


def filters_of(chance: random.Random) -> dict[str, Any]:
    filters = (
        {name: value for name, (value, _) in chance.choice(implying(chance)).items()}
        if chance.random() < 0.4
        else {}
    )
    for name in chance.sample(FIELDS, chance.choice([0, 1, 1, 2])):
        filters.setdefault(name, condition(chance, name)[0])
    return filters


def answer(handle: Any, limit: int) -> Any:
    """The keys of all pages and their cursors, or the error."""
    found, cursor = [], None
    try:
        while True:
            page = handle.page(limit, cursor)
            found += [each.id for each in page.rows]
            cursor = page.cursor
            if cursor is None:
                return found
            found.append(cursor)
    except KeyweaveError as error:
        return type(error), str(error)


@pytest.mark.parametrize("seed", range(3))
def test_a_store_that_remembers_answers_as_one_that_plans(seed: int) -> None:
    chance, namespace, refused = random.Random(seed), new_namespace("remembers"), 0
    opened = stock().sync.Store.open
    with (
        opened(server_url(), namespace=namespace) as store,
        opened(server_url(), namespace=namespace) as plans,
    ):
        for number in range(24):
            store.items.create(stock().Item(**row(chance, f"i{number}")))
        for _ in range(400):
            filters, order, scan = filters_of(chance), chance.choice(ORDERS), chance.random() < 0.5
            both = []
            plans.session.context.state.choices.clear()
            for each in (store, plans):
                handle = each.items.where(**filters).order_by(order)
                both.append(answer(handle.scan() if scan else handle, 7))
            assert both[0] == both[1], (filters, order, scan)
            refused += both[0][:1] == (UnboundedQueryError,)
        assert refused > 0
        assert store.session.context.state.choices["Item"].known
