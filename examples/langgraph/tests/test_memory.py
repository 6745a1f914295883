"""The long-term store: what LangGraph's own store in memory does, and what users of stores on Redis have reported as broken."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

NAMESPACES = [("a",), ("a", "b"), ("a", "b", "c"), ("ab",), ("b",), ("b", "a"), ("a", "c")]
FILTERS: list[dict[str, Any] | None] = [
    None,
    {"kind": "x"},
    {"kind": {"$ne": "x"}},
    {"score": {"$gte": 2, "$lt": 4}},
    {"score": {"$eq": 3}, "kind": "y"},
    {"nested": {"deep": 1}},
    {"tags": ["red", "green"]},
    {"absent": None},
]
CONDITIONS = [
    (),
    (("prefix", ("a",)),),
    (("prefix", ("a", "*")),),
    (("prefix", ("*", "a")),),
    (("suffix", ("c",)),),
    (("suffix", ("*", "a")), ("prefix", ("b",))),
    (("prefix", ("a", "b", "c", "d")),),
]


def value(draw: random.Random) -> dict[str, Any]:
    return {
        "kind": draw.choice("xyz"),
        "score": draw.randrange(6),
        "nested": {"deep": draw.randrange(2), "more": [1.5, None, True]},
        "tags": draw.choice([["red"], ["red", "green"], []]),
    }


@pytest.mark.parametrize("seed", range(5))
def test_random_operations_give_what_the_store_in_memory_gives(agent: Any, seed: int) -> None:
    draw, model, memory = random.Random(seed), InMemoryStore(), agent.memory()
    for _ in range(60):
        namespace, key = draw.choice(NAMESPACES), draw.choice("klm")
        puts = [PutOp(namespace, key, value(draw) if draw.random() < 0.8 else None)]
        puts += [
            PutOp(draw.choice(NAMESPACES), draw.choice("klm"), value(draw)) for _ in range(draw.randrange(3))
        ]
        model.batch(puts)
        memory.batch(puts)
    gets = [GetOp(namespace, key) for namespace in NAMESPACES for key in "klmn"]
    searches = [
        SearchOp(prefix, wanted, limit=100) for prefix in [(), *NAMESPACES, ("none",)] for wanted in FILTERS
    ]
    lists = [
        ListNamespacesOp(tuple(MatchCondition(kind, path) for kind, path in conditions), depth, 10, offset)  # type: ignore[arg-type]
        for conditions in CONDITIONS
        for depth in (None, 1, 2)
        for offset in (0, 1)
    ]
    # The store in memory remembers a namespace whose last item was deleted.
    held = InMemoryStore()
    held.batch([PutOp(item.namespace, item.key, item.value) for item in model.search((), limit=100)])
    expected, found = held.batch([*gets, *searches, *lists]), memory.batch([*gets, *searches, *lists])
    assert [plain(each) for each in found] == [plain(each) for each in expected]


def plain(result: Any) -> Any:
    """A result without times; of a search, without the order, which the stores choose differently."""
    if isinstance(result, list) and not all(isinstance(each, tuple) for each in result):
        return sorted(((each.namespace, each.key, each.value) for each in result), key=lambda each: each[:2])
    return (
        result if isinstance(result, list) or result is None else (result.namespace, result.key, result.value)
    )


def test_a_search_has_the_latest_puts_first_in_pages(agent: Any) -> None:
    memory = agent.memory()
    for number in range(450):
        memory.put(("a", str(number % 3)), str(number), {"even": number % 2 == 0})
    memory.put(("b",), "other", {})
    found = [item.key for item in memory.search(("a",), limit=500)]
    assert found == [str(number) for number in reversed(range(450))]
    assert [item.key for item in memory.search(("a",), limit=3, offset=5)] == ["444", "443", "442"]
    assert [item.key for item in memory.search(("a",), filter={"even": True}, limit=2, offset=100)] == [
        "248",
        "246",
    ]
    assert len(memory.search(("a",))) == 10
    assert memory.search(("a",), limit=0) == []
    assert len(memory.search((), limit=1000)) == 451


def test_an_item_keeps_the_time_of_its_first_put(agent: Any) -> None:
    memory = agent.memory()
    memory.put(("a",), "k", {"n": 1})
    first = memory.get(("a",), "k")
    memory.put(("a",), "k", {"n": 2})
    second = memory.get(("a",), "k")
    assert (second.value, second.created_at) == ({"n": 2}, first.created_at)
    assert first.updated_at < second.updated_at <= datetime.now(UTC)
    assert memory.search(("a",))[0].updated_at == second.updated_at


VALUES: list[dict[str, Any]] = [
    {"messages": [HumanMessage("hello", id="1")]},
    {"bytes": b"\xff\x00", "set": {1, 2}, "moment": datetime(2026, 1, 31, tzinfo=UTC)},
    {"float": 0.1, "large": 2**63, "small": -(2**63) + 1, "infinite": float("inf")},
    {"text": 'quotes " and \\ and \u0000 and 🙂', "": {"": []}},
    {"deep": [[[[[[[[1]]]]]]]]},
    {},
]


@pytest.mark.parametrize("given", VALUES, ids=["messages", "objects", "numbers", "texts", "deep", "empty"])
def test_every_value_comes_back_as_it_was(agent: Any, given: dict[str, Any]) -> None:
    memory = agent.memory()
    memory.put(("a",), "k", given)
    assert memory.get(("a",), "k").value == given
    (name,) = given.keys() if len(given) == 1 else (None,)
    assert [item.value for item in memory.search(("a",), filter={name: given[name]} if name else None)] == [
        given
    ]


ODD_LABELS = ["a:b", "a*", "{a}", "a-b@example", "a|b", "ä ö", "a\\b", 'a"b', "[a]", "$", "a,b"]


@pytest.mark.parametrize("label", ODD_LABELS)
def test_any_label_and_key_can_be_read_and_deleted(agent: Any, label: str) -> None:
    memory = agent.memory()
    memory.put((label, "b"), label, {"n": 1})
    memory.put((f"{label}x", "b"), label, {"n": 2})
    assert memory.get((label, "b"), label).value == {"n": 1}
    assert [item.value for item in memory.search((label,))] == [{"n": 1}]
    assert memory.list_namespaces(prefix=(label,)) == [(label, "b")]
    memory.delete((label, "b"), label)
    assert memory.get((label, "b"), label) is None
    assert memory.search((label,)) == []
    assert len(memory.search((f"{label}x",))) == 1


def test_namespaces_that_no_path_can_have_are_refused(agent: Any) -> None:
    memory = agent.memory()
    refused: list[Any] = [("a.b",), ("",), ("a", 1)]
    for namespace in refused:
        with pytest.raises(InvalidNamespaceError):
            memory.batch([PutOp(namespace, "k", {})])
    memory.put(("a",), "k", {"n": 1})
    with pytest.raises(ValueError, match=r"unknown operator '\$near'"):
        memory.batch([PutOp(("a",), "l", {}), SearchOp(("a",), {"n": {"$near": 1}})])
    assert memory.get(("a",), "l") is None


# Time to live


def ends(agent: Any, key: str = "k") -> Any:
    row = agent.look.items.find("a.", key)
    return None if row is None else row.ends_at


def test_an_item_ends_after_its_time_and_leaves_nothing(agent: Any) -> None:
    memory = agent.memory()
    memory.put(("a",), "k", {"n": 1}, ttl=1 / 60_000_000)
    memory.put(("a", "b"), "l", {"n": 1}, ttl=0)
    assert memory.get(("a",), "k") is None
    assert memory.search(("a",)) == []
    assert memory.list_namespaces() == []
    agent.look.sweep()
    assert (agent.rows(), agent.stored()) == (0, set())


def test_reads_renew_a_time_to_live_and_nothing_else(agent: Any) -> None:
    memory = agent.memory()
    memory.put(("a",), "k", {"n": 1}, ttl=5)
    memory.put(("a",), "lasting", {"n": 1})
    at = [ends(agent)]
    first = memory.get(("a",), "k")
    at.append(ends(agent))
    memory.search(("a",))
    at.append(ends(agent))
    assert at == sorted(set(at))
    for read in (memory.get(("a",), "k", refresh_ttl=False), *memory.search(("a",), refresh_ttl=False)):
        assert read.key == "lasting" or (read.created_at, read.updated_at) == (
            first.created_at,
            first.updated_at,
        )
    assert (ends(agent), ends(agent, "lasting")) == (at[-1], None)


def test_a_put_decides_about_the_time_to_live(agent: Any) -> None:
    memory = agent.memory(ttl={"default_ttl": 60, "refresh_on_read": False})
    memory.put(("a",), "k", {})
    end = ends(agent)
    assert timedelta(minutes=59) < end - datetime.now(UTC) <= timedelta(minutes=60)
    assert memory.get(("a",), "k") is not None
    assert ends(agent) == end
    memory.put(("a",), "k", {}, ttl=1)
    assert ends(agent) < end
    memory.put(("a",), "k", {}, ttl=None)
    assert ends(agent) is None


def test_a_renewal_does_not_undo_a_put_that_comes_between(agent: Any) -> None:
    """A read renews the row that it has read, not the row that it finds."""
    memory = agent.memory()
    memory.put(("a",), "k", {"n": 1}, ttl=5)
    operations = [GetOp(("a",), "k"), PutOp(("a",), "k", {"n": 2}), GetOp(("a",), "k")]
    assert [each and each.value for each in memory.batch(operations)] == [{"n": 1}, None, {"n": 1}]
    assert memory.get(("a",), "k").value == {"n": 2}
    assert ends(agent) is None


def test_a_blocking_node_can_use_the_asyncio_store(agent: Any) -> None:
    memory = agent.memory()
    if agent.flavour == "sync":
        assert agent.do(memory.aput(("a",), "k", {"n": 1})) is None
        assert memory.get(("a",), "k").value == {"n": 1}
        return

    async def node() -> Any:
        await memory.inner.aput(("a",), "k", {"n": 1})
        with pytest.raises(RuntimeError, match="await the method"):
            memory.inner.get(("a",), "k")
        return await asyncio.to_thread(memory.inner.get, ("a",), "k")

    assert agent.do(node()).value == {"n": 1}
