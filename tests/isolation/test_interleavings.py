"""Single calls of the contract that race, exchange by exchange: every order in which their commands can reach the server.

Where `test_schedules` takes a call as one step, here every round trip is one, so that a write of another caller falls
between any two commands of a delete, a merge or a transaction. Keyweave only: PostgreSQL's statements have no inside.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pytest

from compozy_engine.errors import KeyweaveError
from compozy_store import Status, UsageEntry
from keyweave.errors import NotFoundError
from tests.contract.stories import ids, key, task, user, workflow
from tests.isolation.acting import Actor, Body
from tests.isolation.acting import actor as on
from tests.isolation.exploring import explore
from tests.isolation.stages import theatre
from tests.isolation.steps import (
    a_family,
    an_execution,
    execution,
    one_task,
    tasks,
    two_users,
    usage,
    users,
    who_is_admin,
)

Call = Callable[[Actor], Awaitable[Any]]


@dataclass(frozen=True)
class Race:
    """Calls at the same time.

    Attributes:
        setup: the rows to begin with.
        calls: one for each session.
        look: the final state as text.
        ends: every final state that is possible, and then some session's result, where that is reported.
        show: text of the results beside the state.
    """

    setup: Callable[[Actor], Awaitable[None]]
    calls: Mapping[str, Call]
    look: Callable[[Actor], Awaitable[str]]
    ends: frozenset[str]
    show: Callable[[dict[str, Any]], str] = lambda outcomes: " ".join(
        f"{name}: {type(each).__name__}"
        for name, each in sorted(outcomes.items())
        if isinstance(each, Exception)
    )


async def with_a_key(actor: Actor) -> None:
    await two_users(actor)
    await actor.auth.create_api_key(key("k", "u"))


async def ended_task(actor: Actor) -> None:
    await an_execution(actor)
    await actor.tasks.upsert_state(task("t", output=1))


async def two_pages(actor: Actor) -> None:
    """One execution more than a page has; `0` is the oldest."""
    await actor.workflows.upsert_state(workflow("0"))
    await asyncio.gather(*(actor.workflows.upsert_state(workflow(f"{number}")) for number in range(1, 201)))


async def pass_on(actor: Actor) -> None:
    await actor.auth.update_user(user("u", "new@x"))
    await actor.auth.update_user(user("v", "old@x"))


async def add_one(actor: Actor, *, locked: bool) -> None:
    async def steps(repository: Any) -> None:
        state = await (repository.get_state_for_update if locked else repository.get_state)("p")
        state.output += 1
        await repository.upsert_state(state)

    await actor.tasks.with_transaction(steps)


async def insert_and_count(actor: Actor, name: str) -> None:
    """A child ends and updates its parent, as the engine's workers do."""

    async def steps(repository: Any) -> None:
        await repository.upsert_state(task(name, parent_state_id="p"))
        parent = await repository.get_state_for_update("p")
        parent.output += 1
        await repository.upsert_state(parent)

    await actor.tasks.with_transaction(steps)


async def status_and_usage(actor: Actor) -> str:
    state = await actor.workflows.get_state("w")
    return f"{state.status.value}, {len(state.usage or ())} entry"


async def completed_by(actor: Actor) -> str:
    state: Any = await actor.workflows.get_state("w")
    assert state.status is Status.SUCCESS
    return f"by {state.output}"


async def api_keys(actor: Actor) -> str:
    try:
        found = await actor.auth.get_api_key_by_id("k")
    except NotFoundError:
        return "no key"
    assert (await actor.auth.get_api_key_by_fingerprint(b"k")).id == "k"
    return "used" if found.last_used is not None else "unused"


def merge(actor: Actor) -> Awaitable[Any]:
    return actor.tasks.merge_usage("p", [UsageEntry(provider="p", model="m", prompt_tokens=1)])


def found_email(outcomes: dict[str, Any]) -> str:
    found = outcomes["b"]
    return type(found).__name__ if isinstance(found, Exception) else f"found {found.id}={found.email}"


RACES: Final[dict[str, Race]] = {
    "one email for two users": Race(
        two_users,
        {
            "a": lambda actor: actor.auth.create_user(user("a", "new@x")),
            "b": lambda actor: actor.auth.create_user(user("b", "NEW@x")),
        },
        users,
        frozenset(
            {
                "b: EmailExistsError | a=new@x, u=old@x, v=v@x",
                "a: EmailExistsError | b=NEW@x, u=old@x, v=v@x",
            }
        ),
    ),
    "three first admins": Race(
        two_users,
        {
            name: partial(lambda actor, name: actor.auth.create_initial_admin_if_none(user(name)), name=name)
            for name in "abc"
        },
        who_is_admin,
        frozenset(
            {
                "a: AlreadyBootstrappedError b: AlreadyBootstrappedError | 1 admin",
                "a: AlreadyBootstrappedError c: AlreadyBootstrappedError | 1 admin",
                "b: AlreadyBootstrappedError c: AlreadyBootstrappedError | 1 admin",
            }
        ),
    ),
    "a new email and a lookup of the old one": Race(
        two_users,
        {
            "a": lambda actor: actor.auth.update_user(user("u", "new@x")),
            "b": lambda actor: actor.auth.get_user_by_email("OLD@x"),
        },
        users,
        frozenset({"found u=old@x | u=new@x, v=v@x", "UserNotFoundError | u=new@x, v=v@x"}),
        found_email,
    ),
    "an email that passes to another user, and a lookup": Race(
        two_users,
        {
            "a": pass_on,
            "b": lambda actor: actor.auth.get_user_by_email("old@x"),
        },
        users,
        frozenset(
            {
                "found u=old@x | u=new@x, v=old@x",
                "found v=old@x | u=new@x, v=old@x",
                "UserNotFoundError | u=new@x, v=old@x",
            }
        ),
        found_email,
    ),
    "two users want each other's email": Race(
        two_users,
        {
            "a": lambda actor: actor.auth.update_user(user("u", "v@x")),
            "b": lambda actor: actor.auth.update_user(user("v", "old@x")),
        },
        users,
        frozenset({"a: EmailExistsError b: EmailExistsError | u=old@x, v=v@x"}),
    ),
    "an API key and the delete of its user": Race(
        two_users,
        {
            "a": lambda actor: actor.auth.delete_user("u"),
            "b": lambda actor: actor.auth.create_api_key(key("k", "u")),
        },
        users,
        frozenset({" | v=v@x", "b: ReferenceViolationError | v=v@x"}),
    ),
    "a key used while it is deleted": Race(
        with_a_key,
        {
            "a": lambda actor: actor.auth.update_api_key_last_used("k"),
            "b": lambda actor: actor.auth.delete_api_key("k"),
        },
        api_keys,
        frozenset({" | no key"}),
    ),
    "a user deleted twice": Race(
        with_a_key,
        {name: lambda actor: actor.auth.delete_user("u") for name in "ab"},
        users,
        frozenset({"a: UserNotFoundError | v=v@x", "b: UserNotFoundError | v=v@x"}),
    ),
    "a task inserted while its execution is deleted": Race(
        a_family,
        {
            "a": lambda actor: actor.remove("workflow_states", "w"),
            "b": lambda actor: actor.tasks.upsert_state(task("new", parent_state_id="c")),
        },
        execution,
        frozenset({" | nothing", "b: ReferenceViolationError | nothing"}),
    ),
    "a task replaced while its execution is deleted": Race(
        a_family,
        {
            "a": lambda actor: actor.remove("workflow_states", "w"),
            "b": lambda actor: actor.tasks.upsert_state(task("c", output=1)),
        },
        execution,
        frozenset({" | nothing", "b: ReferenceViolationError | nothing"}),
    ),
    "a child that moves away while its parent is deleted": Race(
        a_family,
        {
            "a": lambda actor: actor.remove("task_states", "p"),
            "b": lambda actor: actor.tasks.upsert_state(task("c")),
        },
        tasks,
        frozenset({" | c"}),
    ),
    "parent and child deleted": Race(
        a_family,
        {
            "a": lambda actor: actor.remove("task_states", "p"),
            "b": lambda actor: actor.remove("task_states", "c"),
        },
        tasks,
        frozenset({" | nothing"}),
    ),
    "a row inserted twice": Race(
        an_execution,
        {
            name: partial(lambda actor, name: actor.tasks.upsert_state(task("t", output=name)), name=name)
            for name in "abc"
        },
        tasks,
        frozenset({" | t=a", " | t=b", " | t=c"}),
    ),
    "a row replaced and deleted": Race(
        ended_task,
        {
            "a": lambda actor: actor.tasks.upsert_state(task("t", output=2)),
            "b": lambda actor: actor.remove("task_states", "t"),
        },
        tasks,
        frozenset({" | nothing", " | t=2"}),
    ),
    "a status set while usage is merged": Race(
        an_execution,
        {
            "a": lambda actor: actor.workflows.update_status("w", Status.PAUSED),
            "b": lambda actor: actor.workflows.merge_usage("w", [UsageEntry(provider="p", model="m")]),
        },
        status_and_usage,
        frozenset({" | PAUSED, 1 entry"}),
    ),
    "usage merged twice": Race(
        one_task, dict.fromkeys("ab", merge), usage, frozenset({" | 2 tokens in 1 entry"})
    ),
    "two completions": Race(
        ended_task,
        {
            name: partial(
                lambda actor, name: actor.workflows.complete_workflow("w", lambda _: name), name=name
            )
            for name in "ab"
        },
        completed_by,
        frozenset({" | by a", " | by b"}),
        lambda outcomes: "" if outcomes["a"] == outcomes["b"] else "they differ",
    ),
    "a completion while a task begins": Race(
        an_execution,
        {
            "a": lambda actor: actor.workflows.complete_workflow("w"),
            "b": lambda actor: actor.tasks.upsert_state(task("t", status=Status.RUNNING)),
        },
        execution,
        frozenset({" | SUCCESS with t", "a: WorkflowNotReadyError | RUNNING with t"}),
    ),
    "a list of two pages while its last row is written": Race(
        two_pages,
        {
            "a": lambda actor: actor.workflows.list_states(),
            "b": lambda actor: actor.workflows.update_status("0", Status.PAUSED),
        },
        lambda actor: asyncio.sleep(0, "as they are"),
        frozenset({"201 rows, 201 of them different | as they are"}),
        lambda outcomes: f"{len(outcomes['a'])} rows, {len(set(ids(outcomes['a'])))} of them different",
    ),
    "locked transactions": Race(
        one_task, {name: partial(add_one, locked=True) for name in "ab"}, tasks, frozenset({" | p=2"})
    ),
    "transactions without a lock": Race(
        one_task, {name: partial(add_one, locked=False) for name in "ab"}, tasks, frozenset({" | p=2"})
    ),
    "a locked transaction and one without a lock": Race(
        one_task,
        {"a": partial(add_one, locked=True), "b": partial(add_one, locked=False)},
        tasks,
        frozenset({" | p=2"}),
    ),
    "two children that update their parent": Race(
        one_task,
        {name: partial(insert_and_count, name=name) for name in ("c", "d")},
        tasks,
        frozenset({" | c, d, p=2"}),
    ),
    "a child that updates its parent while that is deleted": Race(
        one_task,
        {"a": partial(insert_and_count, name="c"), "b": lambda actor: actor.remove("task_states", "p")},
        tasks,
        # Where the parent is gone when it is read, the child's reference was wrong earlier.
        frozenset({" | nothing", "a: ReferenceViolationError | nothing"}),
    ),
}


def _body(call: Call) -> Body:
    async def body(engine: Actor, gate: Any) -> Any:
        return await call(engine)

    return body


async def ends_of(race: Race) -> tuple[int, set[str]]:
    """The number of orders, and their results."""
    found: set[str] = set()
    number = 0
    bodies = {name: _body(call) for name, call in race.calls.items()}
    async with theatre("keyweave", race.setup, bodies, each_exchange=True) as stage:
        async for run in explore(stage):
            number += 1
            for outcome in run.outcomes.values():
                assert not isinstance(outcome, Exception) or isinstance(outcome, KeyweaveError), outcome
            report = await stage.engine.store.check()
            assert report.clean, (run.steps, report.drift)
            reported = f"{race.show(run.outcomes)} | {await race.look(on(stage.engine))}"
            assert reported in race.ends, (run.steps, reported)
            found.add(reported)
    return number, found


@pytest.mark.parametrize("name", RACES)
def test_every_order_of_exchanges_has_an_expected_result(name: str) -> None:
    number, found = asyncio.run(ends_of(RACES[name]))
    assert number > 1
    assert found == RACES[name].ends
