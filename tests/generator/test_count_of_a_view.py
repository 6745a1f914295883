"""The count of one list of a view is not planned: it sends what the planner would send, for every view of every accepted schema."""

from __future__ import annotations

import importlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from compozy_store import Status
from keyweave.effects import Command, Send
from keyweave.errors import ValidationError
from keyweave.opening.prepare import prepare
from keyweave.read import answers
from keyweave.read.known import named_list
from keyweave.read.query import Part, Query
from keyweave.store.context import Context
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import NAMES, Corpus, sources
from tests.harness import harness, run, task
from tests.schemas.rows import row

ROWS = 5


def sent(context: Context, query: Query) -> Sequence[Command]:
    """The first pipeline of a count."""
    effect = next(answers.count(context, query))
    assert isinstance(effect, Send)
    return tuple(effect.commands)


@pytest.mark.parametrize("name", NAMES)
def test_it_sends_what_the_planner_would_send(
    name: str, corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema, package = load_sources(sources(name)), corpus.load(name)
    module = importlib.import_module(f"{package.__name__}.package")
    _, context = prepare(module.PACKAGE, "redis://nowhere", namespace="counted")
    draw, compared = random.Random(name), 0
    for entity in schema.entities:
        descriptor = context.package.entities[entity.name]
        for view in descriptor.views.values():
            for _ in range(ROWS):
                record = row(draw, package, schema, entity, {}, refers=True)
                values = tuple(getattr(record, field) for field in view.selecting)
                if view.each or None in values:
                    continue
                query = Query(descriptor, (Part(view.name, values),), view.order)
                try:
                    found = sent(context, query)
                except ValidationError:
                    with pytest.raises(ValidationError):
                        named_list(query)
                    continue
                monkeypatch.setitem(vars(answers), "named_list", lambda query: None)
                assert found == sent(context, query)
                monkeypatch.setitem(vars(answers), "named_list", named_list)
                compared += 1
    views = [view for each in context.package.entities.values() for view in each.views.values()]
    assert bool(compared) == any(not view.each for view in views)


def test_it_is_planned_where_rows_are_not_one_list() -> None:
    """Two lists, a stretch, and filters."""
    with harness("sync", "planned") as stores:
        stores.db.workflow_states.create(run())
        for key, status in (("a", Status.RUNNING), ("b", Status.PAUSED), ("c", Status.RUNNING)):
            stores.db.task_states.create(task(key, status=status))
        tasks: Any = stores.db.task_states
        assert tasks.by_workflow("w").count() == 3
        assert (tasks.by_workflow("w") | tasks.by_workflow("v")).count() == 3
        assert tasks.where(workflow_exec_id="w", status=Status.RUNNING).count() == 2
        first = tasks.get("a").created_at
        assert tasks.by_workflow("w").between(first, first).count() == 1
