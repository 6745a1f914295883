"""Checks and repairs beside writers: only real drift is reported, and no write is lost."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from compozy_store import Role, Status
from compozy_store.sync import Store
from keyweave.effects import Flow, Send
from keyweave.errors import (
    NotFoundError,
    ReferenceViolationError,
    TransactionConflictError,
    UniqueViolationError,
)
from keyweave.integrity import check as check_flows
from keyweave.integrity import repair as repair_flows
from keyweave.integrity.drift import Kind
from keyweave.integrity.remedy import Repairs
from tests.harness import AT_ONCE, run, task, user
from tests.integrity.site import Site, healthy
from tests.servers.running import server_url

STATES = list(Status)


def write_something(store: Store, chance: random.Random) -> None:
    """One write of any kind; refusals are part of it."""
    key = f"x{chance.randrange(12)}"
    act: list[Callable[[], Any]] = [
        lambda: store.task_states.upsert(task(key, workflow="w", status=chance.choice(STATES))),
        lambda: store.task_states.upsert(task(key + "c", key, workflow="w", name=f"n{chance.randrange(3)}")),
        lambda: store.task_states.change(key, lambda row: setattr(row, "status", chance.choice(STATES))),
        lambda: store.task_states.delete(key),
        lambda: store.users.upsert(user(key, email=f"{chance.randrange(12)}@y")),
        lambda: store.users.change(key, lambda row: setattr(row, "role", Role.ADMIN)),
        lambda: store.users.delete(key),
        lambda: store.workflow_states.upsert(run(key, chance.choice(STATES))),
        lambda: store.workflow_states.delete(key),
        lambda: store.sweep(limit=5),
    ]
    # Each refusal is one that the caller would expect; any other error is a fault.
    refusals = (NotFoundError, UniqueViolationError, ReferenceViolationError, TransactionConflictError)
    with suppress(*refusals):
        chance.choice(act)()


@contextmanager
def writers(site: Site, number: int) -> Iterator[None]:
    """Writers in threads of their own, until the block ends; some rows end at once and are swept."""
    over = threading.Event()
    namespace = site.context.keyspace.namespace.tenant

    def write(seed: int) -> None:
        chance = random.Random(seed)
        with Store.open(server_url(), namespace=namespace, retention={"TaskState": AT_ONCE}) as store:
            while not over.is_set():
                write_something(store, chance)

    with ThreadPoolExecutor(number) as threads:
        running = [threads.submit(write, seed) for seed in range(number)]
        try:
            yield
        finally:
            over.set()
        for each in running:
            each.result()


def test_a_check_beside_writers_reports_nothing_on_a_healthy_store() -> None:
    with healthy("busy", moment=0.02) as site, writers(site, 3):
        for _ in range(12):
            report, found = site.check()
            assert found == []
            assert report.documents >= 20


def test_a_check_beside_writers_reports_what_is_wrong_and_nothing_else() -> None:
    with healthy("busy", moment=0.02) as site, writers(site, 3):
        site.send(("ZREM", site.view("TaskState", "by_status", "RUNNING"), "root"))
        site.send(("ZADD", site.view("User", "by_role", "admin"), 1, "ghost"))
        for _ in range(5):
            _, found = site.check()
            assert {(each.kind, each.suspect.member) for each in found} == {
                (Kind.MISSING_ENTRY, "root"),
                (Kind.STALE_ENTRY, "ghost"),
            }


def test_a_repair_beside_writers_repairs_everything_and_loses_nothing() -> None:
    with healthy("busy", moment=0.02) as site:
        mine = [f"mine{number}" for number in range(30)]
        with writers(site, 2):
            for key in mine:
                site.store.users.create(user(key))
            for _ in range(6):
                place = site.view("User", "by_role", "user")
                site.send(("DEL", place), ("HDEL", site.view("User", "email"), *[f"{key}@x" for key in mine]))
                site.send(("ZADD", site.view("TaskState", "all"), 1, "ghost"))
                for key in mine[::3]:
                    site.store.users.change(key, lambda row: setattr(row, "email", row.email + "x"))
                site.reindex()
        repairs = site.reindex()
        assert repairs.complete
        assert site.store.check().clean
        for number, key in enumerate(mine):
            assert site.store.users.get(key).email == f"{key}@x" + ("x" * 6 if number % 3 == 0 else "")


def interleaved(site: Site, flow: Flow[Any], chance: random.Random) -> Any:
    """Run a flow, with a write between any two of its exchanges."""
    answer: object = None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration as done:
            return done.value
        if isinstance(effect, Send):
            write_something(site.store, chance)
        answer = site.store.session.run(one(effect))


def one(effect: Any) -> Flow[Any]:
    """A flow of one effect."""
    return (yield effect)


@pytest.mark.parametrize("seed", range(12))
def test_a_write_between_any_two_exchanges_is_no_drift(seed: int) -> None:
    chance = random.Random(seed)
    with healthy("between") as site:
        for _ in range(40):
            write_something(site.store, chance)
        report = interleaved(site, check_flows.check(site.context), chance)
        assert report.clean, report.drift


@pytest.mark.parametrize("seed", range(12))
def test_a_repair_with_a_write_between_any_two_exchanges_leaves_agreeing_indexes(seed: int) -> None:
    chance = random.Random(seed)
    with healthy("between") as site:
        for _ in range(40):
            write_something(site.store, chance)
        for key in chance.sample([each for each in site.names() if "State." in each or "User." in each], 5):
            site.send(("DEL", key))
        before = {key for key in site.names() if "User:u" in key or "State:d" in key}
        repairs = Repairs()
        interleaved(site, repair_flows.reindex(site.context, repairs), chance)
        site.reindex()
        # While claims were gone two rows could take one value, and a cascade did not find what its view had lost.
        assert site.kinds() <= {Kind.DUPLICATE_VALUE, Kind.DANGLING_REFERENCE}
        assert before <= set(site.names())


@pytest.mark.parametrize("broken", range(1, 30, 4))
def test_an_interrupted_repair_can_be_continued(broken: int) -> None:
    """After any number of exchanges, as after a kill."""
    with healthy("interrupted") as site:
        before = site.contents()
        for key in [
            each for each in site.names() if "State." in each or "User." in each or "@expiry" in each
        ]:
            site.send(("DEL", key))
        repairs = Repairs()
        flow = repair_flows.reindex(site.context, repairs)
        answer: object = None
        for _ in range(broken):
            answer = site.store.session.run(one(flow.send(answer)))
        flow.close()
        first = repairs.mended.total()
        second = site.reindex()
        assert second.complete
        assert site.contents() == before
        assert first + second.mended.total() >= 60
