"""Cases of `engine.workflows`."""

from __future__ import annotations

from typing import Any, Final

from compozy_engine import WorkflowFilter
from compozy_engine.errors import NotFoundError
from compozy_store import Status, WorkflowState
from tools.bench.case import Case, Turn, reads
from tools.bench.data import exec_id, scratch_id, usage
from tools.bench.sides import Side

_NEW = "2new{:023}"


def _execution(turn: Turn) -> str:
    return exec_id(turn.pick(turn.data.size.executions))


def _workflow(turn: Turn) -> str:
    return f"workflow-{turn.pick(turn.data.size.workflows)}"


def _ran(turn: Turn, what: str) -> tuple[str, str]:
    """A workflow, and an agent or tool that one of its executions ran."""
    number = turn.pick(turn.data.size.executions)
    while True:
        workflow, tasks = turn.data.family(number % turn.data.size.executions)
        used = [value for task in tasks if (value := getattr(task, what)) is not None]
        if used:
            return workflow.workflow_id, used[turn.number % len(used)]
        number += 1


def _scratch(turn: Turn) -> WorkflowState:
    return turn.data.scratch_family(turn.scratch)[0]


async def _restored(side: Side, turn: Turn) -> WorkflowState:
    """The turn's execution, running and without usage."""
    state: WorkflowState = await side.engine.workflows.upsert_state(_scratch(turn))
    return state


async def _new(side: Side, turn: Turn) -> tuple[Any, ...]:
    state = _scratch(turn)
    state.workflow_exec_id = _NEW.format(turn.scratch)
    await side.rows.forget(workflows=(state.workflow_exec_id,))
    return (state,)


async def _held(side: Side, turn: Turn) -> tuple[Any, ...]:
    state = await _restored(side, turn)
    state.status = Status.WAITING
    return (state,)


async def _unknown(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _restored(side, turn)
    state = _scratch(turn)
    state.status = Status.WAITING
    return (state,)


async def _foreign(side: Side, turn: Turn) -> tuple[Any, ...]:
    (state,) = await _unknown(side, turn)
    side.rows.estrange("WorkflowState", state.workflow_exec_id)
    return (state,)


async def _status(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _restored(side, turn)
    return scratch_id(turn.scratch), Status.WAITING


async def _completable(side: Side, turn: Turn) -> tuple[Any, ...]:
    await _restored(side, turn)
    return (scratch_id(turn.scratch),)


async def _usage(side: Side, turn: Turn) -> tuple[Any, ...]:
    state = _scratch(turn)
    state.usage = [usage("model-a", 1_000), usage("model-b", 2_000)]
    await side.engine.workflows.upsert_state(state)
    return scratch_id(turn.scratch), [usage("model-b", 5), usage("model-c", 7)]


async def _observe(engine: Any, turn: Turn) -> Any:
    return await engine.workflows.get_state(scratch_id(turn.scratch))


async def _observe_new(engine: Any, turn: Turn) -> Any:
    try:
        return await engine.workflows.get_state(_NEW.format(turn.scratch))
    except NotFoundError:
        return None


def _writing(method: str, prepare: Any, label: str = "", observe: Any = _observe) -> Case:
    return Case(method=f"workflows.{method}", label=label, prepare=prepare, observe=observe, writes=True)


WORKFLOWS: Final = (
    _writing("upsert_state", _new, "new", _observe_new),
    _writing("upsert_state", _held, "loaded before"),
    _writing("upsert_state", _unknown, "never loaded"),
    _writing("upsert_state", _foreign, "written elsewhere"),
    _writing("update_status", _status),
    reads("workflows.get_state", lambda turn: (_execution(turn),), "10 tasks"),
    reads(
        "workflows.list_states",
        lambda turn: (WorkflowFilter(workflow_id=_workflow(turn), status=Status.RUNNING),),
        "workflow and status",
        grows=True,
    ),
    reads(
        "workflows.list_states",
        lambda turn: (WorkflowFilter(status=Status.PAUSED),),
        "status, of all workflows",
        grows=True,
    ),
    reads(
        "workflows.list_states",
        lambda turn: (WorkflowFilter(workflow_exec_id=_execution(turn)),),
        "execution",
    ),
    reads("workflows.get_state_by_id", lambda turn: (_workflow(turn),)),
    reads("workflows.get_state_by_task_id", lambda turn: (_workflow(turn), f"step-{turn.pick(10)}")),
    reads("workflows.get_state_by_agent_id", lambda turn: _ran(turn, "agent_id")),
    reads("workflows.get_state_by_tool_id", lambda turn: _ran(turn, "tool_id")),
    _writing("complete_workflow", _completable, "10 tasks"),
    _writing("merge_usage", _usage),
)
