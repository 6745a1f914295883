"""The data that every contestant holds: seeded, and the same for the same seed and size.

An execution has ten tasks at three depths, as the product runs them: agents, tools, a router, and a parallel task
with children of its own. A few executions fan out widely. Most payloads are small, some are not.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from itertools import chain
from typing import Any, Final

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

PAYLOADS: Final = (512, 4_096, 65_536)
"""Sizes of outputs, in bytes of JSON."""

_SHARES: Final = (94, 5, 1)
_OUTCOMES: Final = {
    Status.SUCCESS: 80,
    Status.FAILED: 8,
    Status.CANCELED: 4,
    Status.TIMED_OUT: 2,
    Status.RUNNING: 3,
    Status.PENDING: 1,
    Status.WAITING: 1,
    Status.PAUSED: 1,
}
"""How many of a hundred executions are in each status."""

TOP: Final = 5
"""Tasks of an execution without a parent; the last of them runs the children."""

_SENTENCES: Final = 2_000


@dataclass(frozen=True, slots=True)
class Size:
    """How much data there is.

    Attributes:
        workflows: definitions that executions belong to.
        executions: executions with ten tasks each.
        wide: further executions, whose one task has `children` children.
        children: see `wide`.
        scratch: executions that cases which write workflows change, one for each turn; as many again are for tasks.
        users: users, with three API keys each.
    """

    workflows: int
    executions: int
    wide: int
    children: int
    scratch: int
    users: int

    @property
    def tasks(self) -> int:
        """How many tasks there are."""
        return (self.executions + 2 * self.scratch) * 10 + self.wide * (self.children + 1)

    @property
    def families(self) -> int:
        """How many executions there are, of all kinds."""
        return self.executions + 2 * self.scratch + self.wide


FULL: Final = Size(workflows=50, executions=10_000, wide=10, children=100, scratch=256, users=50)
QUICK: Final = Size(workflows=20, executions=1_000, wide=4, children=100, scratch=256, users=50)
TINY: Final = Size(workflows=4, executions=40, wide=2, children=12, scratch=16, users=6)

Family = tuple[WorkflowState, list[TaskState]]


@dataclass(frozen=True)
class Data:
    """The rows of one seed and size. Records are made anew by every call, since records learn what a store holds."""

    seed: int
    size: Size

    def families(self) -> Iterator[Family]:
        """Every execution with its tasks, in the order in which they are loaded."""
        return chain(
            map(self.family, range(self.size.executions)),
            map(self.wide_family, range(self.size.wide)),
            map(self.scratch_family, range(2 * self.size.scratch)),
        )

    def accounts(self) -> Iterator[tuple[User, list[APIKey]]]:
        """Every user with the API keys, in the order in which they are loaded."""
        for number in range(self.size.users):
            yield user(f"user-{number}"), [api_key(f"user-{number}", each) for each in range(3)]

    def family(self, number: int) -> Family:
        """Execution `number` with its ten tasks."""
        chance = random.Random(f"{self.seed}:{number}")
        workflow_id = f"workflow-{number % self.size.workflows}"
        status = chance.choices(list(_OUTCOMES), list(_OUTCOMES.values()))[0]
        return self._family(exec_id(number), workflow_id, status, chance)

    def scratch_family(self, number: int) -> Family:
        """Scratch execution `number`: running, with tasks that have all ended, and workflows of its own."""
        chance = random.Random(f"{self.seed}:scratch:{number}")
        return self._family(
            scratch_id(number), f"scratch-{number % 8}", Status.RUNNING, chance, Status.SUCCESS
        )

    def wide_family(self, number: int) -> Family:
        """Execution of a collection with many children."""
        chance = random.Random(f"{self.seed}:wide:{number}")
        key, workflow_id = wide_id(number), "wide"
        tasks = [self._task(key, workflow_id, 0, None, ExecutionType.COLLECTION, chance, Status.WAITING)]
        for position in range(1, self.size.children + 1):
            status = chance.choice(
                [Status.SUCCESS, Status.SUCCESS, Status.FAILED, Status.RUNNING, Status.PENDING]
            )
            kind = ExecutionType.BASIC
            tasks.append(self._task(key, workflow_id, position, tasks[0].task_exec_id, kind, chance, status))
        return self._workflow(key, workflow_id, Status.RUNNING, chance), tasks

    def payload(self, size: int, chance: random.Random) -> dict[str, Any]:
        """A conversation of about `size` bytes as JSON."""
        messages: list[dict[str, Any]] = []
        room = size - 80
        while room > 0:
            text = chance.choice(self._sentences)
            messages.append({"role": "assistant", "text": text, "tokens": len(text) // 4, "cached": False})
            room -= len(text) + 60
        return {"messages": messages, "finish": {"reason": "stop", "cost": round(chance.random(), 6)}}

    @cached_property
    def _sentences(self) -> list[str]:
        chance = random.Random(self.seed)
        letters = "etaoinshrdlucmfwypvbgkjqxz"
        weights = range(26, 0, -1)
        words = ["".join(chance.choices(letters, weights, k=chance.randint(2, 10))) for _ in range(2_000)]
        return [" ".join(chance.choices(words, k=chance.randint(12, 28))) for _ in range(_SENTENCES)]

    def _family(
        self, key: str, workflow_id: str, status: Status, chance: random.Random, each: Status | None = None
    ) -> Family:
        kinds = [ExecutionType.BASIC] * 10
        kinds[2], kinds[TOP - 1], kinds[8] = (
            ExecutionType.ROUTER,
            ExecutionType.PARALLEL,
            ExecutionType.COMPOSITE,
        )
        tasks: list[TaskState] = []
        for position, kind in enumerate(kinds):
            parent = None if position < TOP else tasks[TOP - 1 if position < 9 else 8].task_exec_id
            ended = each or chance.choices([Status.SUCCESS, status], [3, 1])[0]
            tasks.append(self._task(key, workflow_id, position, parent, kind, chance, ended))
        return self._workflow(key, workflow_id, status, chance), tasks

    def _workflow(self, key: str, workflow_id: str, status: Status, chance: random.Random) -> WorkflowState:
        return WorkflowState(
            workflow_exec_id=key,
            workflow_id=workflow_id,
            status=status,
            input={"query": chance.choice(self._sentences), "limit": chance.randrange(100)},
            output=self.payload(PAYLOADS[0], chance) if status is Status.SUCCESS else None,
        )

    def _task(
        self,
        key: str,
        workflow_id: str,
        position: int,
        parent: str | None,
        kind: ExecutionType,
        chance: random.Random,
        status: Status,
    ) -> TaskState:
        runs = chance.choice(["agent", "agent", "tool"]) if kind is ExecutionType.BASIC else ""
        size = chance.choices(PAYLOADS, _SHARES)[0]
        return TaskState(
            task_exec_id=task_exec_id(key, position),
            task_id=f"step-{position}",
            workflow_exec_id=key,
            workflow_id=workflow_id,
            component=Component(runs or "task"),
            status=status,
            execution_type=kind,
            parent_state_id=parent,
            agent_id=f"agent-{chance.randrange(40)}" if runs == "agent" else None,
            action_id=f"action-{chance.randrange(60)}" if runs == "agent" else None,
            tool_id=f"tool-{chance.randrange(25)}" if runs == "tool" else None,
            usage=[usage("model-a", chance.randrange(1, 4_000))] if chance.random() < 0.3 else None,
            input={"text": chance.choice(self._sentences)},
            output=self.payload(size, chance) if status is Status.SUCCESS else None,
        )


def exec_id(number: int) -> str:
    """The id of an execution: 27 characters that rise with time, as those of a KSUID do."""
    return f"2exec{number:022}"


def wide_id(number: int) -> str:
    """The id of an execution that fans out."""
    return f"2fans{number:022}"


def scratch_id(number: int) -> str:
    """The id of a scratch execution."""
    return f"2work{number:022}"


def task_exec_id(execution: str, position: int) -> str:
    """The id of a task of an execution."""
    return f"2t{execution[1]}{execution[-20:]}{position:04}"


def user(key: str, role: Role = Role.USER) -> User:
    """A user with this id."""
    return User(id=key, email=f"{key}@Example.org", role=role)


def api_key(user_id: str, number: int) -> APIKey:
    """API key `number` of a user."""
    digest = sha256(f"{user_id}:{number}".encode()).digest()
    return APIKey(
        id=f"{user_id}-key-{number}",
        user_id=user_id,
        hash=digest * 2,
        fingerprint=digest,
        prefix=f"cpzy_{digest.hex()[:16]}",
    )


def usage(model: str, tokens: int) -> UsageEntry:
    """What one model used."""
    return UsageEntry(
        provider="provider",
        model=model,
        prompt_tokens=tokens,
        completion_tokens=tokens // 3,
        total_tokens=tokens + tokens // 3,
        agent_ids=["agent-1"],
        captured_at=datetime(2026, 1, 1, tzinfo=UTC),
        source="task",
    )


def size_of(value: object) -> int:
    """Bytes of a value as JSON."""
    return len(json.dumps(value))
