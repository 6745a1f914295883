"""A store whose rows have expired without a sweep returns exactly the same as a store that never had them.

One history is played to two stores. Where a family of rows ends in the first, it is deleted from the second. Then both
are asked everything that repositories can be asked, outside and inside a transaction; they are written to, and
asked again; and at last the first is swept, and both keyspaces hold the same.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Callable, Generator, Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from compozy_store import Component, ExecutionType, Status, TaskState, UsageEntry, WorkflowState, sync
from compozy_store.entities import TASK_STATE, WORKFLOW_STATE
from keyweave.errors import KeyweaveError
from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.model.page import Page
from keyweave.model.record import Record
from keyweave.store.context import Context
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness
from tests.servers.running import new_namespace

RUNS = ["w0", "w1", "w:2"]
TASKS = ["t0", "t1", "t2", "t:3", "t4"]
STATUSES = [Status.RUNNING, Status.PAUSED, Status.SUCCESS]
DOMAINS: dict[str, list[Any]] = {
    "workflow_exec_id": RUNS,
    "task_exec_id": TASKS,
    "parent_state_id": TASKS,
    "workflow_id": ["f", "g"],
    "task_id": ["x", "y"],
    "status": STATUSES,
    "agent_id": ["a"],
    "action_id": ["b"],
    "tool_id": ["c"],
    "execution_type": [ExecutionType.BASIC],
}
"""The possible values of each argument of a read."""

READS = ("get", "find", "exists", "tree")
ANSWERS: dict[str, Callable[[Any], Any]] = {
    "page": lambda rows: rows.page(),
    "reverse": lambda rows: rows.reverse().page(),
    "iterate": lambda rows: rows,
    "list": lambda rows: rows.list(),
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "keys": lambda rows: rows.keys(),
    "first": lambda rows: rows.first(),
}
"""What a handle is asked for."""

steps = st.one_of(
    st.tuples(st.just("run"), st.sampled_from(RUNS), st.sampled_from(["f", "g"]), st.sampled_from(STATUSES)),
    st.tuples(
        st.just("task"),
        st.sampled_from(TASKS),
        st.sampled_from(RUNS),
        st.none() | st.sampled_from(TASKS),
        st.sampled_from(["x", "y"]),
        st.sampled_from(STATUSES),
    ),
    st.tuples(st.just("status"), st.sampled_from(TASKS), st.sampled_from(STATUSES)),
    st.tuples(st.just("end run"), st.sampled_from(RUNS)),
    st.tuples(st.just("end task"), st.sampled_from(TASKS)),
    st.tuples(st.just("end task"), st.sampled_from(TASKS)),
)

Call = Callable[[Any], Any]


class Stage:
    """Two stores: rows of the first expire, those of the second are deleted."""

    def __init__(self, stores: Harness) -> None:
        self.stores = stores
        names = [new_namespace("unswept"), new_namespace("never")]
        self.first, self.second = (self._at(name, timedelta(hours=1)) for name in names)
        self.ending = self._at(names[0], AT_ONCE)

    def _at(self, namespace: str, life: timedelta) -> Any:
        """A store on the existing connections, with its own namespace and retention."""
        session = self.stores.db.session
        old = session.context
        keyspace = Keyspace(Namespace("compozy", "v1", "test", namespace), old.package.groups)
        micros = life // timedelta(microseconds=1)
        lives = {name: replace(each, micros=micros) for name, each in old.retention.items()}
        fresh = Context(old.package, keyspace, old.policy, old.address, lives, old.strategy)
        fresh.state.clock = old.state.clock
        return type(self.stores.db)(session.within(fresh))

    def outcome(self, store: Any, call: Call) -> Any:
        """The outcome of a call, without times; an error by its name."""
        try:
            return plain(self.stores.do(call(store)))
        except KeyweaveError as error:
            return type(error).__name__

    def both(self, call: Call) -> Any:
        """Make a call to both stores; the outcomes must be equal."""
        outcomes = [self.outcome(store, call) for store in (self.first, self.second)]
        assert outcomes[0] == outcomes[1]
        return outcomes[0]

    def play(self, step: tuple[Any, ...]) -> None:
        kind, key, *rest = step
        if kind == "run":
            workflow, status = rest
            self.both(
                lambda on: on.workflow_states.upsert(
                    WorkflowState(workflow_exec_id=key, workflow_id=workflow, status=status)
                )
            )
        elif kind == "task":
            self.both(lambda on: on.task_states.upsert(row(key, *rest)))
        elif kind == "status":
            self.both(lambda on: on.task_states.change(key, lambda each: setattr(each, "status", rest[0])))
        elif kind == "end run":
            for task in self.stores.do(self.second.task_states.by_workflow(key)):
                self.end("task_states", task.task_exec_id)
            self.end("workflow_states", key)
        else:
            self.end("task_states", key)

    def end(self, place: str, key: str) -> None:
        """Let a row and the rows that refer to it expire."""
        if self.stores.do(getattr(self.second, place).find(key)) is None:
            return
        family = [key]
        if place == "task_states":
            rows = self.stores.do(self.second.task_states.all())
            while more := [
                each.task_exec_id
                for each in rows
                if each.parent_state_id in family and each.task_exec_id not in family
            ]:
                family += more
        for each in reversed(family):
            # Terminal rows keep the deadline that they have, so they leave that status first.
            for status in (Status.RUNNING, Status.SUCCESS):
                change = getattr(self.ending, place).change
                self.stores.do(change(each, lambda row, status=status: setattr(row, "status", status)))
        self.stores.do(getattr(self.second, place).delete(key))


def row(key: str, run: str, parent: str | None, name: str, status: Status) -> TaskState:
    tool = "c" if name == "y" else None
    return TaskState(
        task_exec_id=key,
        task_id=name,
        workflow_exec_id=run,
        workflow_id="f",
        component=Component.TOOL if tool else Component.TASK,
        status=status,
        parent_state_id=None if parent == key else parent,
        tool_id=tool,
    )


def plain(found: Any) -> Any:
    """A result without the times that the store sets."""
    if isinstance(found, Record):
        kept = {name: getattr(found, name) for name in found.__struct_fields__}
        return msgspec.to_builtins({**kept, "created_at": None, "updated_at": None})
    if isinstance(found, Page):
        return plain(found.rows)
    return [plain(each) for each in found] if isinstance(found, list | tuple) else found


PLACES: list[tuple[Any, str]] = [(TASK_STATE, "task_states"), (WORKFLOW_STATE, "workflow_states")]


def questions() -> Iterator[tuple[str, Call]]:
    """Every read of every repository that has a retention, with every argument."""
    for place, repository in (
        ("task_states", sync.TaskStateRepository),
        ("workflow_states", sync.WorkflowStateRepository),
    ):
        for name in dir(repository):
            if not name.startswith(READS) or name.endswith("_for_update"):
                continue
            for arguments in combinations(place, name, inspect.signature(getattr(repository, name))):
                yield f"{place}.{name}({arguments})", asked(place, name, arguments)
    for name, handle in HANDLES:
        for answer, ask in ANSWERS.items():
            yield f"{name}.{answer}", partial(answered, handle, ask)
        yield f"{name}, together", partial(together, handle)
    for entity, place in PLACES:
        for view in entity.views.values():
            for values in itertools.product(*[DOMAINS[name] for name in view.fields[:-1]]):
                if view.groups:
                    groups = partial(viewed, place, view.name, values)
                    yield f"{place}.{view.name}{values}.groups", partial(answered, groups, counted)


def answered(handle: Call, ask: Callable[[Any], Any], on: Any) -> Any:
    return ask(handle(on))


def counted(groups: Any) -> Any:
    return groups.group_counts()


def together(handle: Call, on: Any) -> Any:
    """Rows with those that refer to them."""
    rows = handle(on)
    place = on.task_states if "TaskState" in repr(rows) else on.workflow_states
    return place.with_task_states(rows).list()


def viewed(place: str, view: str, values: tuple[Any, ...], on: Any) -> Any:
    return getattr(getattr(on, place), view)(*values)


def filtered(place: str, wanted: dict[str, Any], on: Any) -> Any:
    return getattr(on, place).where(**wanted).scan()


def referred(place: str, having: dict[str, Any], on: Any) -> Any:
    return getattr(on, place).where().having(on.task_states.where(**having))


def either(place: str, on: Any) -> Any:
    wanted = {"status": Status.RUNNING}, {"status": Status.PAUSED, "workflow_id": "f"}
    one, other = [filtered(place, each, on) for each in wanted]
    return one | other


def handles() -> Iterator[tuple[str, Call]]:
    """Every view with every value, every filter, and conditions on referring rows."""
    for entity, place in PLACES:
        for view in entity.views.values():
            for values in itertools.product(*[DOMAINS[name] for name in view.fields]):
                yield f"{place}.{view.name}{values}", partial(viewed, place, view.name, values)
        filters = [{word: value} for word in entity.filters if word in DOMAINS for value in DOMAINS[word]]
        filters += [{"status": status, "workflow_id": "f"} for status in STATUSES]
        for wanted in [{}, *filters]:
            yield f"{place}.where({wanted})", partial(filtered, place, wanted)
        for having in ({"task_id": "x"}, {"task_id": "y", "status": Status.RUNNING}, {"tool_id": "c"}):
            yield f"{place} having {having}", partial(referred, place, having)
        yield f"{place} either", partial(either, place)


HANDLES = list(handles())


def combinations(place: str, name: str, signature: inspect.Signature) -> list[dict[str, Any]]:
    required = [
        word
        for word, parameter in list(signature.parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty
    ]
    keys = RUNS if place == "workflow_states" else TASKS
    domains = {**DOMAINS, "key": keys, "keys": [[*keys, "nobody"]]}
    values = [domains[word] for word in required]
    return [dict(zip(required, each, strict=True)) for each in itertools.product(*values)]


def asked(place: str, name: str, arguments: dict[str, Any]) -> Call:
    return lambda on: getattr(getattr(on, place), name)(**arguments)


QUESTIONS = list(questions())

WRITES: list[Call] = [
    *(lambda on, key=key: on.task_states.delete(key) for key in TASKS[:2]),
    *(lambda on, key=key: on.task_states.upsert(row("new", "w0", key, "x", Status.RUNNING)) for key in TASKS),
    *(lambda on, key=key: on.task_states.create(row(key, "w0", None, "x", Status.PAUSED)) for key in TASKS),
    lambda on: on.task_states.merge_usage("t4", [UsageEntry(provider="p", model="m", prompt_tokens=1)]),
    lambda on: on.task_states.create(row("only x", "w0", None, "x", Status.SUCCESS), if_none="by_task_id"),
    lambda on: on.task_states.create(row("only y", "w1", None, "y", Status.SUCCESS), if_none="by_tool"),
    lambda on: on.workflow_states.delete("w1"),
    lambda on: on.workflow_states.create(
        WorkflowState(workflow_exec_id="w1", workflow_id="g", status=Status.PENDING), if_none="by_status"
    ),
    lambda on: on.workflow_states.change("w:2", lambda each: setattr(each, "status", Status.FAILED)),
]


def in_transaction(tx: Any) -> Generator[Any, Any, list[Any]]:
    """Every result, after a write that the transaction has not committed."""
    answers: list[Any] = []
    yield tx.workflow_states.upsert(
        WorkflowState(workflow_exec_id="w9", workflow_id="f", status=Status.RUNNING)
    )
    yield tx.task_states.upsert(row("t9", "w9", None, "x", Status.RUNNING))
    locked = [asked("task_states", "get_for_update", {"key": key}) for key in TASKS]
    for call in (*locked, *(call for _, call in QUESTIONS)):
        try:
            answers.append(plain((yield call(tx))))
        except KeyweaveError as error:
            answers.append(type(error).__name__)
    return answers


def paged(stage: Stage, store: Any, handle: Call) -> list[Any]:
    """The pages of a handle, with two rows each; without an empty last page."""
    pages: list[Any] = []
    cursor = None
    while True:
        page = stage.stores.do(handle(store).reverse().page(limit=2, cursor=cursor))
        pages.append(plain(page))
        cursor = page.cursor
        if cursor is None:
            return pages if pages[-1] or len(pages) == 1 else pages[:-1]


def contents(stage: Stage, store: Any) -> dict[str, Any]:
    """A namespace's keys and values, without clocks, markers, times and the name of the namespace."""
    own = Harness(stage.stores.flavour, "", stage.stores.runner, [store])
    found: dict[str, Any] = {}
    for name, (kind, value, _) in own.contents().items():
        kept = value
        if kind == b"string":
            kept = re.sub(rb'^\{"revision".*?"op":"[^"]*"', b"", value)
        elif kind == b"zset":
            kept = value[0::2] if "@expiry" not in name else sorted(value[0::2])
        found[re.sub(r"^\{.*?:(\w+:\d+)\}", r"\1", name)] = kept
    return found


@pytest.fixture(params=FLAVOURS, scope="module")
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, "unswept", sweep_every=0) as opened:
        yield opened


def test_an_unswept_store_returns_the_same_as_one_that_never_had_the_rows(stores: Harness) -> None:
    @settings(max_examples=8, deadline=None, derandomize=True, database=None)
    @given(st.lists(steps, min_size=8, max_size=24), st.permutations(WRITES))
    def play(history: list[tuple[Any, ...]], writes: list[Call]) -> None:
        stage = Stage(stores)
        for step in history:
            stage.play(step)
        for name, call in QUESTIONS:
            answers = [stage.outcome(store, call) for store in (stage.first, stage.second)]
            assert answers[0] == answers[1], name
        for name, handle in HANDLES:
            assert paged(stage, stage.first, handle) == paged(stage, stage.second, handle), name
        reported = [stores.transact(in_transaction, store) for store in (stage.first, stage.second)]
        assert reported[0] == reported[1]
        for write in writes:
            stage.both(write)
        for name, call in QUESTIONS:
            answers = [stage.outcome(store, call) for store in (stage.first, stage.second)]
            assert answers[0] == answers[1], name
        stores.do(stage.first.sweep())
        assert contents(stage, stage.first) == contents(stage, stage.second)
        assert stores.do(stage.first.check()).clean

    play()
