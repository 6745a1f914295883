"""Repositories: what is inherited, in both flavours, and how a type checker sees it."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from compozy_store import User, aio, sync
from keyweave.aio import repository as asyncio_repository
from keyweave.sync import repository as blocking_repository

ROOT = Path(__file__).resolve().parent.parent.parent

CALLS = """\
from compozy_store import Role, TaskState, User, aio
from compozy_store.sync import Store
from keyweave.aio.repository import Repository as AsyncRepository
from keyweave.sync.repository import Repository


def first(users: Repository[User]) -> User:
    return users.get("a")


async def later(users: AsyncRepository[User]) -> User:
    return await users.get("a")


async def use(store: Store, waiting: aio.Store, user: User, task: TaskState) -> None:
    first(store.users)
    await later(waiting.users)
    store.users.create(user, if_none="by_role")
    store.users.change("a", lambda row: setattr(row, "role", Role.USER))
    first(store.task_states)  # error
    await later(store.users)  # error
    store.users.create(user, if_none="by_rolle")  # error
    store.users.create(task)  # error
    store.users.get(1)  # error
    store.users.get_many([1])  # error
    store.users.get("a").emial  # error
"""


def test_both_flavours_have_the_same_text_but_for_what_waits() -> None:
    blocking = inspect.getsource(blocking_repository)
    plain = inspect.getsource(asyncio_repository).replace("async def", "def").replace("await ", "")
    plain = plain.replace("an asyncio", "a blocking").replace("keyweave.aio", "keyweave.sync")
    texts = [ast.unparse(ast.parse(text)).splitlines() for text in (plain, blocking)]
    assert sorted(texts[0]) == sorted(texts[1])


@pytest.mark.parametrize("flavour", [sync, aio])
def test_a_repository_has_no_other_attributes(flavour: Any) -> None:
    for name in flavour.__all__:
        if name.endswith("Repository"):
            assert vars(getattr(flavour, name))["__slots__"] == ()
    assert blocking_repository.Repository.__slots__ == ()
    assert blocking_repository.RepositoryOfRecords.__slots__ == ("_context", "_entity", "_run", "_session")


def test_a_type_checker_refuses_what_does_not_fit(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={tmp_path}", "calls.py"],
        env={"MYPYPATH": f"{ROOT / 'runtime'}:{ROOT / 'generated'}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [int(line.split(":")[1]) for line in found.stdout.splitlines() if ": error:" in line]
    assert lines == [n for n, text in enumerate(CALLS.splitlines(), 1) if "# error" in text], found.stdout


def test_it_takes_its_parameters_at_run_time_too() -> None:
    assert get_args(blocking_repository.Repository[User, int]) == (User,)
    assert get_args(asyncio_repository.Repository[User]) == (User,)
