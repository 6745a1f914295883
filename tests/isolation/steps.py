"""What sessions of schedules do in one step, the rows that they begin with, and final states as text."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from compozy_engine.errors import WorkflowNotFoundError
from compozy_store import Role, Status, UsageEntry
from tests.contract.stories import key, task, user, workflow
from tests.isolation.acting import Actor

Notes: TypeAlias = dict[str, Any]
"""What a session has read; a transaction that runs again begins with nothing."""

Step: TypeAlias = Callable[[Actor, Notes], Awaitable[None]]


class Boom(Exception):
    """What a session raises to discard its transaction."""


async def an_execution(actor: Actor) -> None:
    await actor.workflows.upsert_state(workflow())


async def one_task(actor: Actor) -> None:
    await an_execution(actor)
    await actor.tasks.upsert_state(task("p", status=Status.RUNNING, output=0))


async def two_tasks(actor: Actor) -> None:
    await one_task(actor)
    await actor.tasks.upsert_state(task("q", status=Status.RUNNING, output=0))


async def a_family(actor: Actor) -> None:
    await one_task(actor)
    await actor.tasks.upsert_state(task("c", parent_state_id="p"))


async def two_users(actor: Actor) -> None:
    await actor.auth.create_user(user("u", "old@x"))
    await actor.auth.create_user(user("v"))


async def read(actor: Actor, notes: Notes, name: str = "p") -> None:
    notes[name] = await actor.tasks.get_state(name)
    notes.setdefault("saw", []).append(notes[name].output)


async def lock(actor: Actor, notes: Notes, name: str = "p") -> None:
    notes[name] = await actor.tasks.get_state_for_update(name)


async def add_one(actor: Actor, notes: Notes, name: str = "p") -> None:
    notes[name].output += 1
    await actor.tasks.upsert_state(notes[name])


async def add_one_locked(actor: Actor, notes: Notes) -> None:
    await lock(actor, notes)
    await add_one(actor, notes)


async def write_ten(actor: Actor, notes: Notes) -> None:
    await actor.tasks.upsert_state(task("p", status=Status.RUNNING, output=10))


async def pause(actor: Actor, notes: Notes) -> None:
    notes["p"].status = Status.PAUSED
    await actor.tasks.upsert_state(notes["p"])


async def pause_if_both_run(actor: Actor, notes: Notes, name: str) -> None:
    if all(notes[each].status is Status.RUNNING for each in "pq"):
        notes[name].status = Status.PAUSED
        await actor.tasks.upsert_state(notes[name])


async def read_both(actor: Actor, notes: Notes) -> None:
    for name in "pq":
        notes[name] = await actor.tasks.get_state(name)


async def lock_both(actor: Actor, notes: Notes) -> None:
    for name in "pq":
        await lock(actor, notes, name)


async def insert_child(actor: Actor, notes: Notes, parent: str | None = "p", **fields: Any) -> None:
    await actor.tasks.upsert_state(task("new", parent_state_id=parent, **fields))


async def move_away(actor: Actor, notes: Notes) -> None:
    await actor.tasks.upsert_state(task("c"))


async def see_children(actor: Actor, notes: Notes) -> None:
    children = [each.task_exec_id for each in await actor.tasks.list_children("p")]
    tree = [each.task_exec_id for each in await actor.tasks.get_task_tree("p")]
    counted = (await actor.tasks.get_progress_info("p")).total_children
    assert tree == ["p", *children] and counted == len(children)
    notes.setdefault("saw", []).append(len(children))


async def fail(actor: Actor, notes: Notes) -> None:
    raise Boom


async def remove(actor: Actor, notes: Notes, kind: str, name: str) -> None:
    await actor.remove(kind, name)


async def merge(actor: Actor, notes: Notes) -> None:
    await actor.tasks.merge_usage("p", [UsageEntry(provider="p", model="m", prompt_tokens=1)])


async def complete(actor: Actor, notes: Notes) -> None:
    await actor.workflows.complete_workflow("w")


async def create(actor: Actor, notes: Notes, name: str, email: str) -> None:
    await actor.auth.create_user(user(name, email))


async def create_admin(actor: Actor, notes: Notes, name: str) -> None:
    await actor.auth.create_initial_admin_if_none(user(name))


async def move(actor: Actor, notes: Notes, name: str, email: str) -> None:
    await actor.auth.update_user(user(name, email))


async def delete_user(actor: Actor, notes: Notes) -> None:
    await actor.auth.delete_user("u")


async def create_key(actor: Actor, notes: Notes) -> None:
    await actor.auth.create_api_key(key("k", "u"))


async def tasks(actor: Actor) -> str:
    """Every task with its output, and its status unless that is RUNNING or SUCCESS."""
    reported = []
    for each in sorted(await actor.tasks.list_states(), key=lambda state: state.task_exec_id):
        output = "" if each.output is None else f"={each.output}"
        status = "" if each.status in (Status.RUNNING, Status.SUCCESS) else f" {each.status.value.lower()}"
        reported.append(f"{each.task_exec_id}{output}{status}")
    return ", ".join(reported) or "nothing"


async def usage(actor: Actor) -> str:
    merged = await actor.tasks.get_usage_summary("p") or []
    return f"{sum(entry.prompt_tokens for entry in merged)} tokens in {len(merged)} entry"


async def execution(actor: Actor) -> str:
    try:
        state = await actor.workflows.get_state("w")
    except WorkflowNotFoundError:
        return await tasks(actor)
    return f"{state.status.value} with {', '.join(sorted(state.tasks))}"


async def users(actor: Actor) -> str:
    """Every user with the email, and with the API keys; each is looked up by every unique value too."""
    reported = []
    for each in sorted(await actor.auth.list_users(), key=lambda one: one.id):
        assert (await actor.auth.get_user_by_email(each.email)).id == each.id
        keys = [one.id for one in await actor.auth.list_api_keys_by_user_id(each.id)]
        role = " admin" if each.role is Role.ADMIN else ""
        reported.append(" ".join([f"{each.id}={each.email}{role}", *keys]))
    return ", ".join(reported) or "nothing"


async def who_is_admin(actor: Actor) -> str:
    admins = [each.id for each in await actor.auth.list_users() if each.role is Role.ADMIN]
    return f"{len(admins)} admin"
