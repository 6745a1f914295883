"""Filters whose kind was planned before send, word for word, what a plan of their own would send."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from compozy_store import Status
from keyweave.effects import Flow, Send
from keyweave.errors import KeyweaveError
from keyweave.model.page import Page
from keyweave.opening.prepare import prepare
from keyweave.read import answers, known, query_page
from keyweave.read.query import MOMENTS, Query, where_query
from keyweave.read.strategy import BY_KEYS
from keyweave.store.context import Context
from tests.harness import harness, run, task
from tests.queries.draw import ORDERS, condition, implying, values_of
from tests.queries.package import stock

FIELDS = (
    "kind", "owner", "team", "price", "weight", "opened", "flag", "rank", "slug", "cost", "tags", "id",
)  # fmt: skip
NARROW = ("price", "weight", "owner", "kind")
"""Orders and fields that conditions of views compare with constants."""

CALLS: dict[str, Callable[[Context, Query], Flow[Any]]] = {
    "list": answers.list_rows,
    "first": answers.first,
    "page": lambda context, query: query_page.page(context, query, 7, None),
    "count": answers.count,
    "exists": answers.exists,
    "keys": answers.keys,
}


def sent(context: Context, query: Query, call: str) -> Any:
    """The first pipeline of a call, or its error."""
    try:
        effect = next(CALLS[call](context, query))
    except KeyweaveError as error:
        return type(error), str(error)
    except StopIteration as end:
        return (end.value.rows, end.value.cursor) if isinstance(end.value, Page) else end.value
    assert isinstance(effect, Send)
    return tuple(effect.commands)


def drive(context: Context, query: Query, call: str) -> None:
    """Plan, with sizes for an answer if it asks for some."""
    flow = CALLS[call](context, query)
    try:
        effect = next(flow)
        sizes = ("ZCARD", "ZCOUNT", "ZLEXCOUNT")
        while isinstance(effect, Send) and all(command[0] in sizes for command in effect.commands):
            effect = flow.send([1] * len(effect.commands))
    except StopIteration:
        return
    flow.close()


def stretch(chance: random.Random, order: str) -> tuple[Any, Any]:
    """Ends of an order, some of which are open."""
    values = values_of("opened" if order in MOMENTS else order)
    low, high = sorted(chance.choices(values, k=2))
    return chance.choice([low, None]), chance.choice([high, high, None])


def equal_values(chance: random.Random, names: Sequence[str]) -> dict[str, Any]:
    return {name: chance.choice(values_of(name)) for name in chance.sample(names, chance.choice([1, 1, 2]))}


def filters_of(chance: random.Random) -> dict[str, Any]:
    filters = (
        {name: value for name, (value, _) in chance.choice(implying(chance)).items()}
        if chance.random() < 0.3
        else {}
    )
    for name in chance.sample(FIELDS, chance.choice([1, 1, 2, 2, 3])):
        equal = name != "tags" and chance.random() < 0.7
        filters.setdefault(name, chance.choice(values_of(name)) if equal else condition(chance, name)[0])
    return filters


@pytest.mark.parametrize("by_script", [True, False])
@pytest.mark.parametrize("call", CALLS)
def test_it_sends_what_a_plan_would_send(call: str, by_script: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    _, context = prepare(stock().package.PACKAGE, "redis://nowhere", namespace="known")
    _, plans = prepare(stock().package.PACKAGE, "redis://nowhere", namespace="known")
    if not by_script:
        context.learn(BY_KEYS)
        plans.learn(BY_KEYS)
    entity = plans.package.entities["Item"]
    chance, taken = random.Random(call), []

    def looked_up(original: Callable[..., Any]) -> Callable[..., Any]:
        def look(*arguments: Any) -> Any:
            lists = original(*arguments) if arguments[0] is context else None
            if lists is not None:
                taken.append(lists)
            return lists

        return look

    for module in (answers, query_page):
        for name in ("known_lists", "known_cover", "remember_choice", "remember_cover"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, looked_up(getattr(known, name)))
    for _ in range(3_000):
        order, filters = chance.choice([*MOMENTS, *MOMENTS, *ORDERS]), filters_of(chance)
        narrow = chance.random() < 0.3
        if narrow:  # conditions of views compare the order itself
            order, filters = chance.choice(NARROW[:3]), equal_values(chance, NARROW)
        query = where_query(entity, filters).ordered(order)
        query = query.scanning() if chance.random() < 0.5 else query
        query = query.reversed() if chance.random() < 0.5 else query
        if narrow or chance.random() < 0.25:
            query = query.within(*stretch(chance, query.order))
        planned = sent(plans, query, call)
        assert sent(context, query, call) == planned, query
        if type(planned[0] if isinstance(planned, tuple) and planned else None) is not type:
            drive(context, query, "list" if call == "keys" else call)
    assert len(taken) > 40
    several = [1 for lists in taken if len(lists) > 1 and lists[1]]
    if by_script and call not in ("count", "exists", "keys"):
        assert several, "no choice of several lists was read again"


@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_a_kind_of_filters_is_planned_once(flavour: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """For lists, the first row, counts and pages, of one list and of several; rows and numbers are right all the same."""
    with harness(flavour, "known") as stores:
        tasks: Any = stores.db.task_states
        for name in ("v", "w"):
            stores.do(stores.db.workflow_states.create(run(name)))
        for number in range(8):
            status = (Status.RUNNING, Status.PAUSED)[number // 2 % 2]
            stores.do(
                stores.db.task_states.create(task(f"t{number}", workflow="vw"[number % 2], status=status))
            )

        def answered(workflow: str, status: Status) -> tuple[Any, ...]:
            one, two = tasks.where(workflow_exec_id=workflow), tasks.where(
                workflow_exec_id=workflow, status=status
            )
            return (
                [each.task_exec_id for each in stores.do(one.list())],
                [each.task_exec_id for each in stores.do(two.list())],
                stores.do(two.first()).task_exec_id,
                [each.task_exec_id for each in stores.do(two.page(1)).rows],
                stores.do(one.count()),
                stores.do(two.count()),
                stores.do(two.exists()),
            )

        first = answered("v", Status.RUNNING)
        assert first == (["t6", "t4", "t2", "t0"], ["t4", "t0"], "t4", ["t4"], 4, 2, True)

        def planned(*_: Any, **__: Any) -> Any:
            raise AssertionError("it was planned again")

        for module in (answers, query_page):
            monkeypatch.setattr(module, "checked", planned)
        assert answered("v", Status.RUNNING) == first
        assert answered("w", Status.PAUSED) == (
            ["t7", "t5", "t3", "t1"], ["t7", "t3"], "t7", ["t7"], 4, 2, True,
        )  # fmt: skip
