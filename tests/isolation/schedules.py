"""Short schedules: what a few sessions do, step by step, and the possible results.

Each says which final states are possible over every order of its steps, on Keyweave and, where they differ, on
PostgreSQL at its default isolation level. Where they differ Keyweave allows less: it runs a transaction again when a
row that it read and wrote was written by another session in between.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from compozy_engine.errors import KeyweaveError
from compozy_store import Status
from tests.isolation.acting import Actor, Body, Gate
from tests.isolation.steps import (
    Boom,
    Notes,
    Step,
    a_family,
    add_one,
    add_one_locked,
    an_execution,
    complete,
    create,
    create_admin,
    create_key,
    delete_user,
    execution,
    fail,
    insert_child,
    lock,
    lock_both,
    merge,
    move,
    move_away,
    one_task,
    pause,
    pause_if_both_run,
    read,
    read_both,
    remove,
    see_children,
    tasks,
    two_tasks,
    two_users,
    usage,
    users,
    who_is_admin,
    write_ten,
)


def transaction(**steps: Step) -> Body:
    """A session that takes its steps in one transaction; writing what it wrote is its last step, `end`."""

    async def body(engine: Actor, gate: Gate) -> Any:
        async def inside(actor: Actor) -> Any:
            notes: Notes = {}
            for label, step in steps.items():
                await gate(label)
                await step(actor, notes)
            await gate("end")
            return notes.get("saw")

        return await engine.transact(inside)

    return body


def calls(**steps: Step) -> Body:
    """A session that takes its steps one by one, without a transaction."""

    async def body(engine: Actor, gate: Gate) -> Any:
        notes: Notes = {}
        for label, step in steps.items():
            await gate(label)
            await step(engine, notes)
        return notes.get("saw")

    return body


@dataclass(frozen=True)
class Schedule:
    """A short schedule.

    Attributes:
        why: what it is about.
        setup: the rows to begin with.
        sessions: by name.
        look: the final state as text.
        ends: every final state that is possible on Keyweave.
        postgres: the same on PostgreSQL, or None when it is the same.
    """

    why: str
    setup: Callable[[Actor], Awaitable[None]]
    sessions: Mapping[str, Body]
    look: Callable[[Actor], Awaitable[str]]
    ends: frozenset[str]
    postgres: frozenset[str] | None = field(default=None)


_COUNT: Final = {"read": read, "write": add_one}
_LOCKED: Final = {"lock": lock, "write": add_one}

SCHEDULES: Final[dict[str, Schedule]] = {
    "lost update, locked": Schedule(
        "Two transactions lock a row, add one and write it.",
        one_task,
        {"a": transaction(**_LOCKED), "b": transaction(**_LOCKED)},
        tasks,
        frozenset({"p=2"}),
    ),
    "lost update, three locked": Schedule(
        "Three transactions lock a row, add one and write it.",
        one_task,
        {name: transaction(add=add_one_locked) for name in "abc"},
        tasks,
        frozenset({"p=3"}),
    ),
    "lost update, not locked": Schedule(
        "Two transactions read a row without a lock, add one and write it. PostgreSQL loses one; Keyweave does not.",
        one_task,
        {"a": transaction(**_COUNT), "b": transaction(**_COUNT)},
        tasks,
        frozenset({"p=2"}),
        frozenset({"p=1", "p=2"}),
    ),
    "lost update, no transaction": Schedule(
        "Two sessions read a row and write it back, each in two calls: the last writer wins on both.",
        one_task,
        {"a": calls(**_COUNT), "b": calls(**_COUNT)},
        tasks,
        frozenset({"p=1", "p=2"}),
    ),
    "write skew on one row": Schedule(
        "Two transactions read a row; one changes its status, the other its output. PostgreSQL keeps one of the two.",
        one_task,
        {"a": transaction(read=read, write=pause), "b": transaction(read=read, write=add_one)},
        tasks,
        frozenset({"p=1 paused"}),
        frozenset({"p=1 paused", "p=0 paused", "p=1"}),
    ),
    "write skew on one row, locked": Schedule(
        "The same with the row locked.",
        one_task,
        {"a": transaction(lock=lock, write=pause), "b": transaction(lock=lock, write=add_one)},
        tasks,
        frozenset({"p=1 paused"}),
    ),
    "write skew on two rows": Schedule(
        "Each transaction reads two rows and pauses one of them if both run: without locks both may be paused.",
        two_tasks,
        {
            "a": transaction(read=read_both, write=partial(pause_if_both_run, name="p")),
            "b": transaction(read=read_both, write=partial(pause_if_both_run, name="q")),
        },
        tasks,
        frozenset({"p=0 paused, q=0", "p=0, q=0 paused", "p=0 paused, q=0 paused"}),
    ),
    "write skew on two rows, locked": Schedule(
        "The same with both rows locked: one always goes on.",
        two_tasks,
        {
            "a": transaction(lock=lock_both, write=partial(pause_if_both_run, name="p")),
            "b": transaction(lock=lock_both, write=partial(pause_if_both_run, name="q")),
        },
        tasks,
        frozenset({"p=0 paused, q=0", "p=0, q=0 paused"}),
    ),
    "read your writes": Schedule(
        "A transaction sees the child that it inserted, in every read; another session sees it after the end only.",
        one_task,
        {
            "a": transaction(insert=insert_child, read=see_children),
            "b": calls(first=see_children, second=see_children),
        },
        tasks,
        frozenset({"new, p=0"}),
    ),
    "dirty read": Schedule(
        "A transaction writes and fails: no other session ever sees what it wrote.",
        one_task,
        {"a": transaction(read=read, write=add_one, fail=fail), "b": calls(first=read, second=read)},
        tasks,
        frozenset({"p=0"}),
    ),
    "a row read twice": Schedule(
        "A transaction reads a row twice without a lock, and sees what others wrote in between.",
        one_task,
        {"a": transaction(first=read, second=read), "b": calls(write=write_ten)},
        tasks,
        frozenset({"p=10"}),
    ),
    "a locked row and a single write": Schedule(
        "A transaction locks a row and adds one; another session replaces the row in one call. On PostgreSQL the call "
        "waits; on Keyweave it does not, and the transaction runs again on top of it.",
        one_task,
        {"a": transaction(**_LOCKED), "b": calls(write=write_ten)},
        tasks,
        frozenset({"p=10", "p=11"}),
    ),
    "two inserts of one row": Schedule(
        "Two transactions insert or replace one row: it is there once.",
        one_task,
        {
            "a": transaction(insert=partial(insert_child, output="a")),
            "b": transaction(insert=partial(insert_child, output="b")),
        },
        tasks,
        frozenset({"new=a, p=0", "new=b, p=0"}),
    ),
    "a child during the cascade from its execution": Schedule(
        "One transaction deletes an execution, another inserts a task into it: no task is left behind.",
        a_family,
        {
            "a": transaction(delete=partial(remove, kind="workflow_states", name="w")),
            "b": transaction(insert=insert_child),
        },
        execution,
        frozenset({"nothing"}),
    ),
    "a grandchild during the cascade from a task": Schedule(
        "One transaction deletes a task with its children, another inserts a child of a child.",
        a_family,
        {
            "a": transaction(delete=partial(remove, kind="task_states", name="p")),
            "b": transaction(insert=partial(insert_child, parent="c")),
        },
        tasks,
        frozenset({"nothing"}),
    ),
    "a child that moves away during the cascade": Schedule(
        "One transaction deletes a task, another moves its child out of the family.",
        a_family,
        {
            "a": transaction(delete=partial(remove, kind="task_states", name="p")),
            "b": calls(move=move_away),
        },
        tasks,
        frozenset({"c"}),
    ),
    "a unique value claimed twice": Schedule(
        "Two transactions insert users with one email, in different case.",
        two_users,
        {
            "a": transaction(create=partial(create, name="a", email="new@x")),
            "b": transaction(create=partial(create, name="b", email="NEW@x")),
        },
        users,
        frozenset({"a=new@x, u=old@x, v=v@x", "b=NEW@x, u=old@x, v=v@x"}),
    ),
    "a unique value freed and claimed": Schedule(
        "One transaction gives a user a new email, another inserts a user with the old one.",
        two_users,
        {
            "a": transaction(move=partial(move, name="u", email="new@x")),
            "b": transaction(create=partial(create, name="b", email="old@x")),
        },
        users,
        frozenset({"u=new@x, v=v@x", "b=old@x, u=new@x, v=v@x"}),
    ),
    "an API key during the cascade from its user": Schedule(
        "One transaction deletes a user, another inserts an API key of the user.",
        two_users,
        {"a": transaction(delete=delete_user), "b": transaction(create=create_key)},
        users,
        frozenset({"v=v@x"}),
    ),
    "the first admin made twice": Schedule(
        "Two transactions make the first admin: there is one.",
        two_users,
        {
            "a": transaction(create=partial(create_admin, name="a")),
            "b": transaction(create=partial(create_admin, name="b")),
        },
        who_is_admin,
        frozenset({"1 admin"}),
    ),
    "usage merged twice": Schedule(
        "Two transactions merge usage into one task: both count.",
        one_task,
        {"a": transaction(merge=merge), "b": transaction(merge=merge)},
        usage,
        frozenset({"2 tokens in 1 entry"}),
    ),
    "completion beside a new task": Schedule(
        "An execution is completed while a transaction inserts a task that runs. It counts when it is there first.",
        an_execution,
        {
            "a": transaction(insert=partial(insert_child, parent=None, status=Status.RUNNING)),
            "b": calls(complete=complete),
        },
        execution,
        frozenset({"RUNNING with new", "SUCCESS with new"}),
    ),
}

EXPECTED_ERRORS: Final = (KeyweaveError, Boom)
"""What a session may end with; anything else is a mistake of the schedule."""
