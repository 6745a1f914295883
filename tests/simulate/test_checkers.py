"""Checkers distinguish histories that have an explanation from those that have none."""

from __future__ import annotations

import pytest

from tools.simulate.history import ABSENT, PRESENT
from tools.simulate.judge.check_cycles import find_circle
from tools.simulate.judge.linearize import FOREVER, Event, linearizable


def event(
    began: int, ended: int, read: str | None = None, write: str | None = None, *, certain: bool = True
) -> Event:
    return Event(began, ended if certain else FOREVER, read, write, certain, "")


EXPLAINED = {
    "writes at the same time, in either order": (
        event(1, 4, None, "a"),
        event(2, 3, None, "b"),
        event(5, 6, "a"),
    ),
    "a read during a write": (event(1, 4, None, "a"), event(2, 3, ABSENT)),
    "a write that perhaps happened and was read": (event(1, 2, None, "a", certain=False), event(8, 9, "a")),
    "a write that perhaps happened and did not": (event(1, 2, None, "a", certain=False), event(8, 9, ABSENT)),
    "a deletion of what perhaps was written": (
        event(1, 2, None, "a", certain=False),
        event(3, 4, PRESENT, ABSENT),
    ),
    "a conflict with another write": (event(1, 2, None, "a"), event(3, 6, None, "b"), event(4, 5, "!a")),
}
UNEXPLAINED = {
    "a read of what was replaced": (event(1, 2, None, "a"), event(3, 4, None, "b"), event(5, 6, "a")),
    "a row that comes back": (event(1, 2, None, "a"), event(3, 4, PRESENT, ABSENT), event(5, 6, "a")),
    "a write that was read twice with another between": (
        event(1, 9, None, "a"),
        event(2, 3, "a", "b"),
        event(10, 11, "a"),
    ),
    "two updates of one value": (
        event(1, 2, None, "a"),
        event(3, 6, "a", "b"),
        event(4, 7, "a", "c"),
    ),
    "a conflict without a cause": (event(1, 2, None, "a"), event(4, 5, "!a")),
    "a deletion of nothing": (event(1, 2, PRESENT, ABSENT),),
}


@pytest.mark.parametrize("name", EXPLAINED)
def test_a_history_with_an_explanation_is_accepted(name: str) -> None:
    assert linearizable(EXPLAINED[name], ABSENT) is True


@pytest.mark.parametrize("name", UNEXPLAINED)
def test_a_history_without_one_is_refused(name: str) -> None:
    assert linearizable(UNEXPLAINED[name], ABSENT) is False


def test_the_shortest_circle_through_a_transaction_is_found() -> None:
    graph = {"a": {"b": ""}, "b": {"c": "", "a": ""}, "c": {"a": ""}, "d": {"a": ""}}
    assert find_circle(graph) == ["a", "b"]


def test_dependencies_without_a_circle_are_none() -> None:
    assert find_circle({"a": {"b": "", "c": ""}, "b": {"c": ""}}) is None
