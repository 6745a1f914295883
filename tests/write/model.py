"""A plain model in memory that drives every generated repository, in either flavour.

Each step is done by the store and by the model; results and errors must agree, and at the end of every
run the whole keyspace must agree with its documents.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from compozy_store import (
    APIKey,
    APIKeyExistsError,
    Component,
    EmailExistsError,
    Role,
    Status,
    TaskState,
    User,
    WorkflowState,
)
from keyweave.errors import AlreadyExistsError, ConflictError, NotFoundError, ReferenceViolationError
from tests.servers.running import new_namespace

IDS = st.sampled_from(["a", "a:b", "{x}%3A\0", "\N{SNOWMAN}"])
EMAILS = st.sampled_from(["a@x", "A@X", "b:c@x", "\N{GRINNING FACE}@x"])
PRINTS = st.sampled_from([b"", b"\0", b"\xff:", b"print"])
STATUSES = st.sampled_from([Status.PENDING, Status.RUNNING, Status.SUCCESS])


class Boom(Exception):
    """Raised by a function to roll back its transaction."""


class Repositories(RuleBasedStateMachine):
    """One namespace, driven through one flavour."""

    flavour: ClassVar[str]
    runner: ClassVar[asyncio.Runner]
    store: ClassVar[Any]

    def __init__(self) -> None:
        super().__init__()
        name = new_namespace("model")
        # One connection serves every run; only the namespace is fresh.
        context = type(self).store.session.context
        keyspace = type(context.keyspace)(
            type(context.keyspace.namespace)("compozy", "v1", "test", name), context.package.groups
        )
        fresh = type(context)(
            context.package, keyspace, context.policy, context.address, context.retention, context.strategy
        )
        fresh.state.clock = context.state.clock
        self.db: Any = type(type(self).store)(type(self).store.session.within(fresh))
        self.users: dict[str, str] = {}
        self.keys: dict[str, tuple[str, bytes]] = {}
        self.runs: dict[str, Status] = {}
        self.tasks: dict[str, tuple[str, str | None, Status]] = {}
        self.order: list[str] = []

    def do(self, outcome: Any) -> Any:
        """Await a value if necessary."""
        return type(self).runner.run(_await(outcome)) if inspect.isawaitable(outcome) else outcome

    def attempt(self, call: Callable[[], Any]) -> str:
        """The name of the error of a call, or `ok`."""
        try:
            self.do(call())
        except (
            AlreadyExistsError,
            EmailExistsError,
            APIKeyExistsError,
            NotFoundError,
            ReferenceViolationError,
            ConflictError,
        ) as error:
            return type(error).__mro__[0].__name__
        return "ok"

    @rule(key=IDS, email=EMAILS, upsert=st.booleans())
    def put_user(self, key: str, email: str, upsert: bool) -> None:
        taken = any(other != key and value.lower() == email.lower() for other, value in self.users.items())
        expected = "EmailExistsError" if taken else "ok"
        if key in self.users and not upsert:
            expected = "AlreadyExistsError"
        record = User(id=key, email=email, role=Role.USER)
        call = self.db.users.upsert if upsert else self.db.users.create
        assert self.attempt(lambda: call(record)) == expected
        if expected == "ok":
            self.users[key] = email

    @rule(key=IDS)
    def delete_user(self, key: str) -> None:
        expected = "ok" if self.users.pop(key, None) is not None else "UserNotFoundError"
        assert self.attempt(lambda: self.db.users.delete(key)) == expected
        self.keys = {name: api_key for name, api_key in self.keys.items() if api_key[0] != key}

    @rule(email=EMAILS)
    def look_up(self, email: str) -> None:
        found = self.do(self.db.users.find_by_email(email))
        expected = [key for key, value in self.users.items() if value.lower() == email.lower()]
        assert ([found.id] if found else []) == expected

    @rule(key=IDS, owner=IDS, fingerprint=PRINTS)
    def create_api_key(self, key: str, owner: str, fingerprint: bytes) -> None:
        expected = "ok" if owner in self.users else "ReferenceViolationError"
        if any(taken == fingerprint for _, taken in self.keys.values()):
            expected = "APIKeyExistsError"
        if key in self.keys:
            expected = "AlreadyExistsError"
        record = APIKey(id=key, user_id=owner, hash=b"h", fingerprint=fingerprint, prefix=f"p{key}")
        assert self.attempt(lambda: self.db.api_keys.create(record)) == expected
        if expected == "ok":
            self.keys[key] = (owner, fingerprint)

    @rule(key=IDS)
    def discard_api_key(self, key: str) -> None:
        assert self.do(self.db.api_keys.discard(key)) == (self.keys.pop(key, None) is not None)

    @precondition(lambda self: self.users)
    @rule(key=IDS, data=st.data(), fails=st.booleans())
    def move_an_email_in_a_transaction(self, key: str, data: st.DataObject, fails: bool) -> None:
        """Free an email by deleting its owner and give it to another user, in one step."""
        first = data.draw(st.sampled_from(sorted(self.users)))
        if key in self.users:
            return
        email = self.users[first]
        record = User(id=key, email=email, role=Role.USER)

        def steps(tx: Any) -> Any:
            yield tx.users.delete(first)
            yield tx.users.create(record)
            assert (yield tx.users.get_by_email(email)).id == key
            assert (yield tx.api_keys.by_user(first).page()).rows == []
            if fails:
                raise Boom

        try:
            self.do(self.db.transact(closure(steps, type(self).flavour)))
        except Boom:
            return
        del self.users[first]
        self.users[key] = email
        self.keys = {name: api_key for name, api_key in self.keys.items() if api_key[0] != first}

    @rule(key=IDS, status=STATUSES)
    def put_run(self, key: str, status: Status) -> None:
        self.do(
            self.db.workflow_states.upsert(
                WorkflowState(workflow_exec_id=key, workflow_id="w", status=status)
            )
        )
        self.runs.pop(key, None)
        self.runs[key] = status

    @rule(key=IDS)
    def delete_run(self, key: str) -> None:
        expected = "ok" if key in self.runs else "WorkflowNotFoundError"
        assert self.attempt(lambda: self.db.workflow_states.delete(key)) == expected
        self.runs.pop(key, None)
        self.prune()

    @rule(key=IDS, run=IDS, parent=st.none() | IDS, status=STATUSES)
    def create_task(self, key: str, run: str, parent: str | None, status: Status) -> None:
        expected = "ok"
        if run not in self.runs or (parent is not None and parent not in self.tasks and parent != key):
            expected = "ReferenceViolationError"
        if key in self.tasks:
            expected = "AlreadyExistsError"
        elif parent == key:
            return
        assert (
            self.attempt(lambda: self.db.task_states.create(self.task(key, run, parent, status))) == expected
        )
        if expected == "ok":
            self.tasks[key] = (run, parent, status)
            self.order.append(key)

    @rule(key=IDS, status=STATUSES)
    def change_task(self, key: str, status: Status) -> None:
        expected = "ok" if key in self.tasks else "TaskNotFoundError"
        assert (
            self.attempt(lambda: self.db.task_states.change(key, lambda row: setattr(row, "status", status)))
            == expected
        )
        if expected == "ok":
            run, parent, _ = self.tasks[key]
            self.tasks[key] = (run, parent, status)

    @precondition(lambda self: self.tasks)
    @rule(data=st.data(), status=STATUSES)
    def save_a_stale_task(self, data: st.DataObject, status: Status) -> None:
        key = data.draw(st.sampled_from(sorted(self.tasks)))
        stale = self.do(self.db.task_states.get(key))
        self.change_task(key, status)
        assert self.attempt(lambda: self.db.task_states.save(stale)) == "ConflictError"

    @rule(key=IDS)
    def delete_task(self, key: str) -> None:
        expected = "ok" if key in self.tasks else "TaskNotFoundError"
        assert self.attempt(lambda: self.db.task_states.delete(key)) == expected
        self.tasks.pop(key, None)
        self.prune()

    @rule(run=IDS, key=IDS, gone=IDS, status=STATUSES, fails=st.booleans())
    def transaction(self, run: str, key: str, gone: str, status: Status, fails: bool) -> None:
        """Insert an execution and a task, delete another task, read the results, and commit or roll back."""
        if key in self.tasks or key == gone:
            return
        before = (dict(self.runs), dict(self.tasks), list(self.order))
        self.runs.pop(run, None)
        self.runs[run] = status
        self.tasks[key] = (run, None, status)
        self.order.append(key)
        self.tasks.pop(gone, None)
        self.prune()
        wanted = self.listed()

        def steps(tx: Any) -> Any:
            yield tx.workflow_states.upsert(
                WorkflowState(workflow_exec_id=run, workflow_id="w", status=status)
            )
            yield tx.task_states.create(self.task(key, run, None, status))
            yield tx.task_states.discard(gone)
            page = yield tx.task_states.all().page(limit=3)
            rest = (
                (yield tx.task_states.all().page(limit=100, cursor=page.cursor)).rows if page.cursor else []
            )
            assert [row.task_exec_id for row in (*page.rows, *rest)] == wanted
            assert (yield tx.task_states.by_workflow(run).count()) == sum(
                1 for task in self.tasks.values() if task[0] == run
            )
            assert (yield tx.task_states.get(key)).status == status
            if fails:
                raise Boom

        try:
            self.do(self.db.transact(closure(steps, type(self).flavour)))
        except Boom:
            self.runs, self.tasks, self.order = before

    @invariant()
    def lists_agree(self) -> None:
        pages, cursor = [], None
        while True:
            page = self.do(self.db.task_states.all().page(limit=2, cursor=cursor))
            pages += [row.task_exec_id for row in page.rows]
            cursor = page.cursor
            if cursor is None:
                break
        assert pages == self.listed()
        runs = self.do(self.db.workflow_states.all().page(limit=100)).rows
        assert [row.workflow_exec_id for row in runs] == list(reversed(self.runs))

    @rule(owner=IDS, fingerprint=PRINTS)
    def api_keys_agree(self, owner: str, fingerprint: bytes) -> None:
        page = self.do(self.db.api_keys.by_user(owner).page(limit=100))
        owned = [key for key, (user, _) in self.keys.items() if user == owner]
        assert [row.id for row in page.rows] == list(reversed(owned))
        assert self.do(self.db.api_keys.by_user(owner).count()) == len(owned)
        found = self.do(self.db.api_keys.find_by_fingerprint(fingerprint))
        holders = [key for key, (_, taken) in self.keys.items() if taken == fingerprint]
        assert ([found.id] if found else []) == holders

    @precondition(lambda self: self.tasks)
    @rule(data=st.data())
    def families_agree(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.tasks)))
        children = [task for name, task in self.tasks.items() if task[1] == key]
        counts = self.do(self.db.task_states.by_parent_status(key).group_counts())
        assert counts == {
            status: n for status in Status if (n := sum(child[2] == status for child in children))
        }
        tree = [row.task_exec_id for row in self.do(self.db.task_states.tree(key))]
        assert tree[0] == key
        assert set(tree) == self.family({key})
        some = self.tasks[key]
        found = self.do(
            self.db.task_states.where(status=some[2], workflow_exec_id=some[0]).page(limit=100)
        ).rows
        assert [row.task_exec_id for row in found] == [
            name
            for name in self.listed()
            if self.tasks[name][0] == some[0] and self.tasks[name][2] == some[2]
        ]

    def teardown(self) -> None:
        report = self.do(self.db.check())
        assert report.clean, report.drift
        assert report.documents == len(self.users) + len(self.keys) + len(self.runs) + len(self.tasks)

    def task(self, key: str, run: str, parent: str | None, status: Status) -> TaskState:
        """A record for the model's task."""
        return TaskState(
            task_exec_id=key,
            task_id="t",
            workflow_exec_id=run,
            workflow_id="w",
            component=Component.TASK,
            status=status,
            parent_state_id=parent,
        )

    def listed(self) -> list[str]:
        """Keys of tasks, newest first."""
        newest: dict[str, None] = {}
        for key in reversed(self.order):
            newest.setdefault(key)
        return [key for key in newest if key in self.tasks]

    def family(self, keys: set[str]) -> set[str]:
        """Tasks below `keys`, including these."""
        while more := {name for name, task in self.tasks.items() if task[1] in keys} - keys:
            keys |= more
        return keys

    def prune(self) -> None:
        """Remove rows that refer to a missing row."""
        while orphans := [
            key
            for key, (run, parent, _) in self.tasks.items()
            if run not in self.runs or (parent is not None and parent not in self.tasks)
        ]:
            for key in orphans:
                del self.tasks[key]


async def _await(outcome: Any) -> Any:
    return await outcome


def closure(steps: Callable[[Any], Any], flavour: str) -> Callable[[Any], Any]:
    """One function for both flavours: `steps` yields calls and receives their results."""

    def blocking(tx: Any) -> None:
        generator, value = steps(tx), None
        while True:
            try:
                value = generator.send(value)
            except StopIteration:
                return

    async def waiting(tx: Any) -> None:
        generator, value = steps(tx), None
        while True:
            try:
                value = await generator.send(value)
            except StopIteration:
                return

    return blocking if flavour == "sync" else waiting
