"""What a history is made of: calls of the contract's methods, and transactions of such calls."""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import msgspec

from compozy_engine import Engine
from compozy_engine.errors import KeyweaveError
from compozy_engine.tasks import TaskRepository
from compozy_engine.workflows import Workflow
from compozy_store import Status
from tests.parity.removing import remove

Slots: TypeAlias = dict[str, Any]
"""Records that a history loaded and kept, by name."""


class Boom(Exception):
    """Raised by a transaction of a history to discard it."""


class Call(msgspec.Struct, frozen=True):
    """One call of a method, such as `tasks.get_state`, with arguments of its own."""

    method: str
    arguments: tuple[Any, ...] = ()

    async def run(self, engine: Any, slots: Slots) -> object:
        target: Any = engine
        for name in self.method.split("."):
            target = getattr(target, name)
        # Records learn what the store holds, so each engine is given its own.
        return await target(*copy.deepcopy(self.arguments))


class Keep(msgspec.Struct, frozen=True):
    """Load a record and keep it, to be written later by `WriteBack`, stale or not."""

    method: str
    key: str
    slot: str

    async def run(self, engine: Any, slots: Slots) -> object:
        slots.pop(self.slot, None)
        slots[self.slot] = await Call(self.method, (self.key,)).run(engine, slots)
        return copy.deepcopy(slots[self.slot])


class WriteBack(msgspec.Struct, frozen=True):
    """Change fields of a record that was kept, and write it."""

    method: str
    slot: str
    changes: dict[str, Any]

    async def run(self, engine: Any, slots: Slots) -> object:
        record = slots.get(self.slot)
        if record is None:
            return None
        for name, value in copy.deepcopy(self.changes).items():
            setattr(record, name, value)
        place, _, name = self.method.rpartition(".")
        target = getattr(engine, place) if place else engine
        return copy.deepcopy(await getattr(target, name)(record))


class Remove(msgspec.Struct, frozen=True):
    """Delete an execution or a task with everything below it. The contract has no method for it; operators do it."""

    kind: str
    key: str

    async def run(self, engine: Any, slots: Slots) -> object:
        return await remove(engine, self.kind, self.key)


class Complete(msgspec.Struct, frozen=True):
    """Complete an execution, with a transformer by name."""

    exec_id: str
    transformer: str

    async def run(self, engine: Engine, slots: Slots) -> object:
        return await engine.workflows.complete_workflow(self.exec_id, TRANSFORMERS[self.transformer])


class Transaction(msgspec.Struct, frozen=True):
    """Steps on a transaction's own repository; it ends early with the first error, or by raising `Boom`."""

    steps: tuple[Call | Keep | WriteBack | Remove, ...]
    nested: bool
    fails: bool

    async def run(self, engine: Engine, slots: Slots) -> object:
        seen: list[object] = []

        async def inside(repository: TaskRepository) -> None:
            own: Slots = {}
            for step in self.steps:
                seen.append(timeless(await step.run(repository, own)))
            if self.fails:
                raise Boom

        async def around(repository: TaskRepository) -> str:
            seen.clear()
            await (repository.with_transaction(inside) if self.nested else inside(repository))
            return "committed"

        try:
            end: object = await engine.tasks.with_transaction(around)
        except (KeyweaveError, Boom) as error:
            end = type(error).__name__
        # Only the commit gives rows their times, so they are read here.
        return end, seen, await engine.tasks.list_states()


Step: TypeAlias = Call | Keep | WriteBack | Remove | Complete | Transaction


def timeless(outcome: Any) -> Any:
    """An outcome without the times that the store sets."""
    if isinstance(outcome, list):
        return [timeless(each) for each in outcome]
    if isinstance(outcome, dict):
        return {name: timeless(each) for name, each in outcome.items()}
    if hasattr(outcome, "created_at"):
        outcome = copy.deepcopy(outcome)
        outcome.created_at = outcome.updated_at = None
    return outcome


def _pick(workflow: Workflow) -> object:
    return {name: [task.output, task.status] for name, task in workflow.tasks.items()}


async def _later(workflow: Workflow) -> object:
    return [workflow.workflow_exec_id, workflow.status, sorted(workflow.tasks)]


def _fail(workflow: Workflow) -> object:
    raise ValueError(f"{len(workflow.tasks)} tasks")


async def _fail_later(workflow: Workflow) -> object:
    raise LookupError("lone \ud800 surrogate")


def _meddle(workflow: Workflow) -> object:
    """Change every argument of a transformer; only its result is stored."""
    for task in list(workflow.tasks.values()):
        task.output, task.status = "meddled", Status.PENDING
        if isinstance(task.input, dict):
            task.input["meddled"] = True
    if isinstance(workflow.input, dict):
        workflow.input.clear()
    workflow.usage, workflow.error, workflow.workflow_id = [], "meddled", "meddled"
    workflow.tasks.clear()
    return workflow.output


def _meddle_and_fail(workflow: Workflow) -> object:
    _meddle(workflow)
    raise ValueError


TRANSFORMERS: dict[str, Callable[[Workflow], object | Awaitable[object]] | None] = {
    "default": None,
    "none": lambda _: None,
    "pick": _pick,
    "later": _later,
    "fail": _fail,
    "fail later": _fail_later,
    "meddle": _meddle,
    "meddle and fail": _meddle_and_fail,
    "list": lambda _: [2**80, {"": []}],
    "unstorable": lambda _: {"no": object()},
}
