"""Strategies for histories: few ids, so that they collide; mostly valid records, so that much happens.

With several partitions, a task stays in its execution, its parent is of the same one, and so is every task of a transaction: what is
beyond that is refused there by design. Which tasks an execution has follows from their ids then.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from hypothesis import strategies as st

from compozy_engine import TaskFilter, WorkflowFilter
from compozy_store import (
    APIKey,
    Component,
    ExecutionType,
    Role,
    Status,
    TaskState,
    UsageEntry,
    User,
    WorkflowState,
)
from tests.parity.steps import TRANSFORMERS, Call, Complete, Keep, Remove, Step, Transaction, WriteBack

STEPS_AT_LEAST: Final = 30
MOMENTS: Final = tuple(
    datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=400 * number, microseconds=number)
    for number in range(4)
)
"""Times that histories contain; the store sets all others."""

USERS = st.sampled_from(["ada", "Bob:", "{é}"])
EMAILS = st.sampled_from(["ada@x", "ADA@X", "é@z", "É@z", "%:{}@x"])
KEYS = st.sampled_from(["k1", "k:2"])
BYTES = st.sampled_from([b"", b"\0", b"\xff\xfe", b"fingerprint", b"F"])
EXECUTIONS = st.sampled_from(["e1", "e1", "e:2"])
WORKFLOWS = st.sampled_from(["W", "w"])
TASKS = st.sampled_from(["t1", "t2", "t:3", "t\N{SNOWMAN}"])


class Place(NamedTuple):
    """Executions whose tasks meet.

    Attributes:
        executions: their ids.
        tasks: ids of their tasks.
        parents: of their tasks.
        slots: names for tasks that are kept.
    """

    executions: st.SearchStrategy[str]
    tasks: st.SearchStrategy[str]
    parents: st.SearchStrategy[str | None]
    slots: st.SearchStrategy[str]


ANYWHERE: Final = Place(
    EXECUTIONS, TASKS, st.sampled_from([None, None, "t1", "t2", "t:3"]), st.sampled_from("ab")
)
"""Every execution: a task may move from one to another."""

APART: Final = tuple(
    Place(st.just(execution), st.sampled_from(tasks), st.sampled_from([None, None, *tasks]), st.just(slot))
    for execution, tasks, slot in (("e1", ["t1", "t2"], "a"), ("e:2", ["t:3", "t\N{SNOWMAN}"], "b"))
)
"""Each execution for itself."""

NAMES = st.sampled_from(["fetch", "Fetch"])
AGENTS = st.sampled_from(["agent", "agent", "other"])
TOOLS = st.sampled_from(["tool", "tool", "other"])
STATUSES = st.sampled_from([*Status, *Status, "RUNNING", "SUCCESS"])
"""A text that names a status is equal to the status."""

_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
_NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False).map(
    lambda x: x + 0.0
)
_SHALLOW = st.recursive(
    st.none() | st.booleans() | _NUMBERS | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=4,
)


def _nested(value: Any, depth: int, name: str) -> Any:
    for _ in range(depth):
        value = {name: [value]}
    return value


JSON = (
    st.none()
    | _SHALLOW
    | st.builds(_nested, _SHALLOW, st.integers(1, 60), _TEXT)
    | st.sampled_from(
        [10**300, -(2**63) - 1, 5e-324, 1.7976931348623157e308, {"a\u0300": "\u00e0"}, "\U0001f600"]
    )
)

_COUNT = st.integers(0, 5)
USAGE = st.builds(
    UsageEntry,
    provider=st.sampled_from(["p", " p", "q", "p", " "]),
    model=st.sampled_from(["m", "m ", "n"]),
    source=st.sampled_from(["", "task", "TASK", " ta sk", "tool"]),
    prompt_tokens=st.sampled_from([0, 1, 2, 3, -1]) | _COUNT,
    completion_tokens=_COUNT,
    total_tokens=st.sampled_from([0, 0, 7]),
    reasoning_tokens=st.none() | _COUNT,
    cached_prompt_tokens=st.none() | _COUNT,
    agent_ids=st.lists(AGENTS, max_size=2),
    captured_at=st.none() | st.sampled_from(MOMENTS),
    updated_at=st.none() | st.sampled_from(MOMENTS),
)
ENTRIES = st.lists(USAGE, max_size=3)

_GIVEN: st.SearchStrategy[Any] = st.sampled_from([None, None, MOMENTS[0], "no moment"])
"""Values of callers in fields that only the store writes."""

USER = st.builds(
    User, id=USERS, email=EMAILS, role=st.sampled_from([*Role, "admin", "boss"]), created_at=_GIVEN
)
API_KEY = st.builds(
    APIKey,
    id=KEYS,
    user_id=USERS,
    hash=BYTES,
    fingerprint=BYTES,
    prefix=st.sampled_from(["one", "two", "three"]),
    last_used=st.none() | st.sampled_from(MOMENTS),
)
WORKFLOW = st.builds(
    WorkflowState,
    workflow_exec_id=EXECUTIONS,
    workflow_id=WORKFLOWS,
    status=STATUSES,
    usage=st.none() | ENTRIES,
    input=JSON,
    output=JSON,
    error=JSON,
    created_at=_GIVEN,
    updated_at=_GIVEN,
)

_RUNS: tuple[dict[str, Any], ...] = (
    {},
    {"agent_id": "agent", "action_id": "act", "component": Component.AGENT},
    {"tool_id": "tool", "component": Component.TOOL},
    {"execution_type": ExecutionType.PARALLEL},
    {"execution_type": ExecutionType.ROUTER},
    {
        "execution_type": ExecutionType.WAIT,
        "agent_id": "agent",
        "action_id": "act",
        "component": Component.AGENT,
    },
    # The following values break a check.
    {"agent_id": "agent", "component": Component.AGENT},
    {"tool_id": "tool"},
    {"execution_type": ExecutionType.ROUTER, "tool_id": "tool", "component": Component.TOOL},
    {"action_id": "act"},
)


@st.composite
def task_states(draw: st.DrawFn, place: Place) -> TaskState:
    """A task state, valid more often than not."""
    runs = draw(st.sampled_from(_RUNS[:3] * 4 + _RUNS))
    fields: dict[str, Any] = {"component": Component.TASK, **runs}
    return TaskState(
        task_exec_id=draw(place.tasks),
        task_id=draw(NAMES),
        workflow_exec_id=draw(place.executions),
        workflow_id=draw(WORKFLOWS),
        status=draw(STATUSES),
        parent_state_id=draw(place.parents),
        output=draw(st.none() | JSON),
        input=draw(st.none() | JSON),
        usage=draw(st.sampled_from([None, None, []]) | ENTRIES),
        error=draw(st.none() | JSON),
        created_at=draw(_GIVEN),
        updated_at=draw(_GIVEN),
        **fields,
    )


TASK_FILTERS = st.builds(
    TaskFilter,
    status=st.none() | STATUSES | st.just("NO STATUS"),
    workflow_id=st.none() | WORKFLOWS,
    workflow_exec_id=st.none() | EXECUTIONS,
    task_id=st.none() | NAMES,
    task_exec_id=st.sampled_from([None, None, None, "t1"]),
    parent_state_id=st.none() | TASKS,
    agent_id=st.sampled_from([None, None, None, "agent", ""]),
    action_id=st.sampled_from([None, None, None, "act"]),
    tool_id=st.sampled_from([None, None, None, "tool"]),
    execution_type=st.sampled_from([None, None, None, *ExecutionType]),
)
WORKFLOW_FILTERS = st.builds(
    WorkflowFilter,
    status=st.none() | STATUSES,
    workflow_id=st.none() | WORKFLOWS,
    workflow_exec_id=st.sampled_from([None, None, None, "e1", "nowhere"]),
)


def _calls(method: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Call]:
    return st.builds(Call, st.just(method), st.tuples(*arguments))


def _task_changes(place: Place) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(
        {"status": STATUSES},
        optional={
            "output": JSON,
            "parent_state_id": st.none() | place.tasks,
            "workflow_exec_id": place.executions,
        },
    )


def _task_steps(prefix: str, place: Place) -> list[st.SearchStrategy[Any]]:
    """Calls of task methods; without a prefix they are for a transaction's repository."""
    task, (executions, tasks, _, slots) = task_states(place), place
    writes = [
        _calls(f"{prefix}upsert_state", task),
        _calls(f"{prefix}upsert_state", task),
        _calls(f"{prefix}merge_usage", tasks, ENTRIES),
        st.builds(WriteBack, st.just(f"{prefix}upsert_state"), slots, _task_changes(place)),
        st.builds(Keep, st.just(f"{prefix}get_state"), tasks, slots),
    ]
    removals = [st.builds(Remove, st.just("task_states"), tasks)]
    reads = [
        _calls(f"{prefix}get_state", tasks),
        _calls(f"{prefix}get_state_for_update", tasks),
        _calls(f"{prefix}get_usage_summary", tasks),
        _calls(f"{prefix}list_states", st.none() | TASK_FILTERS),
        _calls(f"{prefix}list_tasks_in_workflow", executions),
        _calls(f"{prefix}list_tasks_by_status", executions, STATUSES),
        _calls(f"{prefix}list_tasks_by_agent", executions, AGENTS),
        _calls(f"{prefix}list_tasks_by_tool", executions, TOOLS),
        _calls(f"{prefix}list_children", tasks),
        _calls(f"{prefix}get_child_by_task_id", tasks, NAMES),
        _calls(f"{prefix}get_task_tree", tasks),
        _calls(f"{prefix}get_task_tree", tasks, st.integers(-1, 2)),
        _calls(f"{prefix}list_children_outputs", tasks),
        _calls(f"{prefix}get_progress_info", tasks),
    ]
    return [*writes, *writes, *removals, *reads]


def _transactions(place: Place) -> st.SearchStrategy[Transaction]:
    return st.builds(
        Transaction,
        steps=st.lists(st.one_of(_task_steps("", place)), min_size=1, max_size=6).map(tuple),
        nested=st.booleans(),
        fails=st.sampled_from([False, False, True]),
    )


AUTH: list[st.SearchStrategy[Any]] = [
    _calls("auth.create_user", USER),
    _calls("auth.update_user", USER),
    _calls("auth.create_initial_admin_if_none", USER),
    _calls("auth.get_user_by_id", USERS),
    _calls("auth.get_user_by_email", EMAILS),
    _calls("auth.list_users"),
    _calls("auth.delete_user", USERS),
    _calls("auth.create_api_key", API_KEY),
    _calls("auth.create_api_key", API_KEY),
    _calls("auth.get_api_key_by_id", KEYS),
    _calls("auth.get_api_key_by_fingerprint", BYTES),
    _calls("auth.list_api_keys_by_user_id", USERS),
    _calls("auth.update_api_key_last_used", KEYS),
    _calls("auth.delete_api_key", KEYS),
    st.builds(Keep, st.just("auth.get_user_by_id"), USERS, st.just("u")),
    st.builds(
        WriteBack,
        st.just("auth.update_user"),
        st.just("u"),
        st.fixed_dictionaries({}, optional={"email": EMAILS, "role": st.sampled_from(Role)}),
    ),
]
_WORKFLOW_CHANGES = st.fixed_dictionaries(
    {"status": STATUSES}, optional={"output": JSON, "workflow_id": WORKFLOWS}
)
EXECUTION: list[st.SearchStrategy[Any]] = [
    _calls("workflows.upsert_state", WORKFLOW),
    _calls("workflows.upsert_state", WORKFLOW),
    _calls("workflows.update_status", EXECUTIONS, STATUSES),
    _calls("workflows.get_state", EXECUTIONS),
    _calls("workflows.list_states", st.none() | WORKFLOW_FILTERS),
    _calls("workflows.get_state_by_id", WORKFLOWS),
    _calls("workflows.get_state_by_task_id", WORKFLOWS, NAMES),
    _calls("workflows.get_state_by_agent_id", WORKFLOWS, AGENTS),
    _calls("workflows.get_state_by_tool_id", WORKFLOWS, TOOLS),
    _calls("workflows.merge_usage", EXECUTIONS, ENTRIES),
    st.builds(Complete, EXECUTIONS, st.sampled_from(sorted(TRANSFORMERS))),
    st.builds(Keep, st.just("workflows.get_state"), EXECUTIONS, st.just("w")),
    st.builds(WriteBack, st.just("workflows.upsert_state"), st.just("w"), _WORKFLOW_CHANGES),
    st.builds(Remove, st.just("workflow_states"), EXECUTIONS),
]


def _steps(*places: Place) -> st.SearchStrategy[Step]:
    return st.one_of(
        st.just(
            Call("auth.list_users")
        ),  # the simplest step, which shrinking puts in place of steps without effect
        st.one_of(AUTH),
        st.one_of(EXECUTION),
        st.one_of([step for place in places for step in _task_steps("tasks.", place)]),
        st.one_of([_transactions(place) for place in places]),
    )


@st.composite
def _histories(
    draw: st.DrawFn, task: st.SearchStrategy[TaskState], steps: st.SearchStrategy[list[Step]]
) -> list[Step]:
    """Some rows to begin with, more often than not, and then anything."""
    begin: list[Step] = []
    if draw(st.sampled_from([True, True, False])):
        for exec_id in ("e1", "e:2"):
            state = WorkflowState(
                workflow_exec_id=exec_id, workflow_id=draw(WORKFLOWS), status=draw(STATUSES)
            )
            begin.append(Call("workflows.upsert_state", (state,)))
        begin += [Call("tasks.upsert_state", (draw(task),)) for _ in range(draw(st.integers(2, 6)))]
        begin += [Call("auth.create_user", (draw(USER),)) for _ in range(2)]
        begin += [Call("auth.create_api_key", (draw(API_KEY),)) for _ in range(2)]
    return begin + draw(steps)


def histories(partitions: int) -> st.SearchStrategy[list[Step]]:
    """Histories that a store with so many partitions has to play as PostgreSQL does."""
    places = APART if partitions > 1 else (ANYWHERE,)
    steps = st.lists(_steps(*places), min_size=STEPS_AT_LEAST, max_size=STEPS_AT_LEAST + 15)
    return _histories(st.one_of([task_states(place) for place in places]), steps)
