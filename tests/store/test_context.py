"""A context cannot change, and its copies share what the store has learned."""

from __future__ import annotations

import dataclasses

import pytest

from compozy_store import PACKAGE
from keyweave.changes.unit import UnitOfWork
from keyweave.read.strategy import BY_KEYS, BY_SCRIPT
from keyweave.store.context import Context
from tests.scripted import Scripted


@pytest.fixture
def context() -> Context:
    return Scripted().context


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Context)])
def test_no_attribute_can_change(context: Context, name: str) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(context, name, None)


def test_copies_differ_in_one_attribute_and_share_the_state(context: Context) -> None:
    unit = UnitOfWork("op")
    copies = {
        "unit": context.inside(unit),
        "strategy": context.using(BY_KEYS),
        "policy": context.without_retries(),
    }
    for changed, copy in copies.items():
        assert getattr(copy, changed) != getattr(context, changed)
        for field in dataclasses.fields(Context):
            if field.name != changed and (changed, field.name) != ("unit", "strategy"):
                assert getattr(copy, field.name) is getattr(context, field.name), field.name
    for copy in (*copies.values(), context.using(BY_KEYS).inside(unit).without_retries()):
        copy.state.unbuilt.add("TaskState.by_status")
        copy.state.sweepers += 1
        assert context.state.unbuilt == {"TaskState.by_status"}
    assert context.state.sweepers == 4


def test_a_transaction_has_the_strategy_that_merges_its_rows(context: Context) -> None:
    unit = UnitOfWork("op")
    assert context.inside(unit).strategy is BY_SCRIPT.inside
    assert context.using(BY_KEYS).inside(unit).strategy is BY_KEYS


def test_for_a_build_every_index_counts_as_built_and_only_there(context: Context) -> None:
    context.state.unbuilt.add("TaskState.by_status")
    building = context.reading_unbuilt()
    assert building.unbuilt == set()
    assert context.unbuilt == context.state.unbuilt == {"TaskState.by_status"}
    assert building.package is PACKAGE


def test_what_a_build_learns_its_store_knows(context: Context) -> None:
    building = context.reading_unbuilt()
    building.state.settings_hidden = True
    building.state.writes += 1
    building.state.unbuilt.add("TaskState.by_agent")
    assert context.state.settings_hidden
    assert context.state.writes == 1
    assert context.unbuilt == {"TaskState.by_agent"}
    assert building.unbuilt == set(), "every index still counts as built"
