"""Cases of `engine.tasks`."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Coroutine
from typing import Any, Final

from compozy_engine import TaskFilter
from compozy_engine.errors import NotFoundError
from compozy_store import Status, TaskState
from tools.bench.case import Case, Turn, reads
from tools.bench.data import PAYLOADS, TOP, exec_id, scratch_id, task_exec_id, usage, wide_id
from tools.bench.sides import Side

_NEW: Final = 99
"""Position of a task that an execution does not have."""

_NAMES: Final = {size: f"{size / 1024:g} KB" for size in PAYLOADS}

Preparing = Callable[[Side, Turn], Coroutine[Any, Any, tuple[Any, ...]]]


def _execution(turn: Turn) -> str:
    return exec_id(turn.pick(turn.data.size.executions))


def _workflow(turn: Turn) -> str:
    return f"workflow-{turn.pick(turn.data.size.workflows)}"


def _some_task(turn: Turn) -> str:
    return task_exec_id(_execution(turn), turn.number % 10)


def _parent(turn: Turn) -> str:
    return task_exec_id(_execution(turn), TOP - 1)


def _wide_parent(turn: Turn) -> str:
    return task_exec_id(wide_id(turn.pick(turn.data.size.wide)), 0)


def _own(turn: Turn) -> int:
    """Number of the turn's scratch execution, none that a case of workflows completes."""
    return turn.data.size.scratch + turn.scratch


def _scratch(turn: Turn, size: int = PAYLOADS[0]) -> TaskState:
    """The turn's task, running, with an output of `size` bytes."""
    state = turn.data.scratch_family(_own(turn))[1][0]
    state.status = Status.RUNNING
    state.output = turn.data.payload(size, random.Random(turn.scratch))
    return state


def _scratch_key(turn: Turn) -> str:
    return task_exec_id(scratch_id(_own(turn)), 0)


def _new(size: int) -> Preparing:
    async def prepare(side: Side, turn: Turn) -> tuple[Any, ...]:
        state = _scratch(turn, size)
        state.task_exec_id = task_exec_id(scratch_id(_own(turn)), _NEW)
        await side.rows.forget(tasks=(state.task_exec_id,))
        return (state,)

    return prepare


def _held(size: int) -> Preparing:
    async def prepare(side: Side, turn: Turn) -> tuple[Any, ...]:
        state = await side.engine.tasks.upsert_state(_scratch(turn, size))
        state.status = Status.WAITING
        return (state,)

    return prepare


async def _unknown(side: Side, turn: Turn) -> tuple[Any, ...]:
    await side.engine.tasks.upsert_state(_scratch(turn))
    state = _scratch(turn)
    state.status = Status.WAITING
    return (state,)


async def _foreign(side: Side, turn: Turn) -> tuple[Any, ...]:
    (state,) = await _unknown(side, turn)
    side.rows.estrange("TaskState", state.task_exec_id)
    return (state,)


def _present(size: int) -> Preparing:
    async def prepare(side: Side, turn: Turn) -> tuple[Any, ...]:
        await side.engine.tasks.upsert_state(_scratch(turn, size))
        return (_scratch_key(turn),)

    return prepare


async def _usage(side: Side, turn: Turn) -> tuple[Any, ...]:
    state = _scratch(turn)
    state.usage = [usage("model-a", 1_000), usage("model-b", 2_000)]
    await side.engine.tasks.upsert_state(state)
    return _scratch_key(turn), [usage("model-b", 5), usage("model-c", 7)]


async def _two_writes(side: Side, turn: Turn) -> tuple[Any, ...]:
    """Read a task, end it, and begin the one after it."""
    await side.engine.tasks.upsert_state(_scratch(turn))
    following = _scratch(turn)
    following.task_exec_id = task_exec_id(scratch_id(_own(turn)), _NEW)
    await side.rows.forget(tasks=(following.task_exec_id,))
    key = _scratch_key(turn)

    async def body(repository: Any) -> Any:
        state = await repository.get_state(key)
        state.status = Status.WAITING
        await repository.upsert_state(state)
        return await repository.upsert_state(copy.copy(following))

    return (body,)


async def _locked(side: Side, turn: Turn) -> tuple[Any, ...]:
    """Lock a task and change it."""
    await side.engine.tasks.upsert_state(_scratch(turn))
    key = _scratch_key(turn)

    async def body(repository: Any) -> Any:
        state = await repository.get_state_for_update(key)
        state.status = Status.WAITING
        return await repository.upsert_state(state)

    return (body,)


async def _observe(engine: Any, turn: Turn) -> Any:
    present = await engine.tasks.get_state(_scratch_key(turn))
    try:
        return present, await engine.tasks.get_state(task_exec_id(scratch_id(_own(turn)), _NEW))
    except NotFoundError:
        return present, None


def _writing(method: str, prepare: Any, label: str = "", through: str = "") -> Case:
    return Case(
        method=f"tasks.{method}", label=label, prepare=prepare, observe=_observe, writes=True, through=through
    )


def _lists(pick: Callable[[Turn], TaskFilter], label: str, *, grows: bool = False) -> Case:
    return reads("tasks.list_states", lambda turn: (pick(turn),), label, grows=grows)


TASKS: Final = (
    *(_writing("upsert_state", _new(size), f"new, {name}") for size, name in _NAMES.items()),
    *(_writing("upsert_state", _held(size), f"loaded before, {name}") for size, name in _NAMES.items()),
    _writing("upsert_state", _unknown, f"never loaded, {_NAMES[PAYLOADS[0]]}"),
    _writing("upsert_state", _foreign, f"written elsewhere, {_NAMES[PAYLOADS[0]]}"),
    reads("tasks.get_state", lambda turn: (_some_task(turn),)),
    *(
        Case(method="tasks.get_state", label=name, prepare=_present(size))
        for size, name in list(_NAMES.items())[1:]
    ),
    reads("tasks.get_usage_summary", lambda turn: (_some_task(turn),)),
    _lists(lambda turn: TaskFilter(workflow_exec_id=_execution(turn)), "execution"),
    _lists(
        lambda turn: TaskFilter(workflow_id=_workflow(turn), status=Status.PAUSED),
        "workflow and status",
        grows=True,
    ),
    _lists(
        lambda turn: TaskFilter(agent_id=f"agent-{turn.pick(40)}", status=Status.FAILED),
        "agent and status",
        grows=True,
    ),
    reads("tasks.list_tasks_in_workflow", lambda turn: (_execution(turn),), "10 tasks"),
    reads("tasks.list_tasks_by_status", lambda turn: (_execution(turn), Status.SUCCESS)),
    reads("tasks.list_tasks_by_agent", lambda turn: (_execution(turn), f"agent-{turn.pick(40)}")),
    reads("tasks.list_tasks_by_tool", lambda turn: (_execution(turn), f"tool-{turn.pick(25)}")),
    reads("tasks.list_children", lambda turn: (_parent(turn),), "4 children"),
    reads("tasks.list_children", lambda turn: (_wide_parent(turn),), "100 children"),
    reads("tasks.get_child_by_task_id", lambda turn: (_parent(turn), f"step-{TOP + turn.number % 4}")),
    reads("tasks.get_task_tree", lambda turn: (_parent(turn),), "3 levels"),
    reads("tasks.list_children_outputs", lambda turn: (_parent(turn),), "4 children"),
    reads("tasks.get_progress_info", lambda turn: (_parent(turn),), "4 children"),
    reads("tasks.get_progress_info", lambda turn: (_wide_parent(turn),), "100 children"),
    _writing("with_transaction", _two_writes, "read, two writes"),
    _writing("get_state_for_update", _locked, "and a write", "tasks.with_transaction"),
    _writing("merge_usage", _usage),
)
