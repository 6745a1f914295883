"""Writes between two exchanges of a check or a repair."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from compozy_store import Role, Status, User
from compozy_store.sync import Store
from keyweave.effects import Command, Flow, Send, Sleep
from keyweave.integrity import check as check_flows
from keyweave.integrity import repair as repair_flows
from keyweave.integrity.drift import Kind
from keyweave.integrity.remedy import Repairs
from tests.harness import AT_ONCE, task, user
from tests.integrity.site import DAY, Site, healthy
from tests.servers.running import server_url


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


def disturbed(site: Site, flow: Flow[Any], when: Callable[[Any], bool], act: Callable[[], object]) -> int:
    """Run a flow, doing something ahead of every effect that `when` picks. Returns how often."""
    number, answer = 0, None
    while True:
        try:
            effect = flow.send(answer)
        except StopIteration:
            return number
        if when(effect):
            number += 1
            act()

        def one(effect: Any = effect) -> Flow[Any]:
            return (yield effect)

        answer = site.store.session.run(one())


def holds(word: str) -> Callable[[Any], bool]:
    """Picks exchanges that have a command with `word` among its first two words."""

    def pick(effect: Any) -> bool:
        commands: tuple[Command, ...] = tuple(effect.commands) if isinstance(effect, Send) else ()
        return any(word in command[:2] for command in commands)

    return pick


def plans(site: Site) -> Callable[[Any], bool]:
    """Picks exchanges that carry a plan."""
    carriers = [holds(site.context.scripts[name].sha) for name in ("apply", "free")]
    return lambda effect: any(carries(effect) for carries in carriers)


def once(act: Callable[[], object]) -> Callable[[], object]:
    """`act`, the first time only."""
    left = [act]
    return lambda: left.pop()() if left else None


STATUS = ("TaskState", "by_status", "RUNNING")


def set_status(site: Site, key: str, status: Status) -> None:
    site.store.task_states.change(key, lambda row: setattr(row, "status", status))


def set_email(site: Site, key: str, email: str) -> None:
    def change(row: User) -> None:
        row.email = email

    site.store.users.change(key, change)


def hand_over(site: Site, giver: str, taker: str) -> None:
    """One user gives another its email."""
    email = site.store.users.get(giver).email
    set_email(site, giver, "else@x")
    set_email(site, taker, email)


REPAIRS: dict[str, tuple[Callable[[Site], object], Callable[[Site], object]]] = {
    "the row moves on": (
        lambda s: s.send(("ZREM", s.view(*STATUS), "root")),
        lambda s: set_status(s, "root", Status.PAUSED),
    ),
    "the row is deleted": (
        lambda s: s.send(("ZREM", s.view(*STATUS), "t1")),
        lambda s: s.store.task_states.delete("t1"),
    ),
    "a row appears": (
        lambda s: s.send(("ZADD", s.view(*STATUS), 1, "new")),
        lambda s: s.store.task_states.create(task("new")),
    ),
    "the wrong value becomes right": (
        lambda s: s.send(("ZADD", s.view("TaskState", "by_status", "PAUSED"), 1, "root")),
        lambda s: set_status(s, "root", Status.PAUSED),
    ),
    "the score is written": (
        lambda s: s.send(("ZADD", s.view("WorkflowState", "all"), 1, "w")),
        lambda s: s.store.workflow_states.change("w", lambda row: setattr(row, "input", {"n": 2})),
    ),
    "the value is claimed by another row": (
        lambda s: s.send(("HDEL", s.view("User", "email"), "u1@x")),
        lambda s: hand_over(s, "u1", "u2"),
    ),
    "the wrong owner takes the value": (
        lambda s: s.send(("HSET", s.view("User", "email"), "u1@x", "u2")),
        lambda s: hand_over(s, "u1", "u2"),
    ),
    "the owner of a claim appears": (
        lambda s: s.send(("HSET", s.view("User", "email"), "new@x", "new")),
        lambda s: s.store.users.create(user("new")),
    ),
    "the deadline ends": (
        lambda s: s.send(("PERSIST", s.document("TaskState", "d1"))),
        lambda s: set_status(s, "d1", Status.RUNNING),
    ),
    "a deadline begins": (
        lambda s: s.send(("ZADD", s.execution.expiry, 1, "TaskState:root")),
        lambda s: set_status(s, "root", Status.FAILED),
    ),
}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_does_not_undo_what_was_written_meanwhile(site: Site, name: str) -> None:
    damage, write = REPAIRS[name]
    damage(site)
    repairs = Repairs()
    flow = repair_flows.reindex(site.context, repairs)
    assert disturbed(site, flow, plans(site), once(lambda: write(site)))
    report = site.store.check()
    assert report.clean, report.drift
    assert repairs.complete


@pytest.mark.parametrize(
    ("owner", "taker"),
    [(None, "u2"), ("ghost", "u3"), ("u2", "u2")],
    ids=["no claim", "no owner", "another's"],
)
def test_a_repair_leaves_a_claim_that_another_row_took_meanwhile(
    site: Site, owner: str | None, taker: str
) -> None:
    """The value was free, so two rows have it now; the row with the claim keeps it."""
    claims = site.view("User", "email")
    site.send(("HDEL", claims, "u1@x") if owner is None else ("HSET", claims, "u1@x", owner))
    flow = repair_flows.reindex(site.context, Repairs())
    take = once(lambda: set_email(site, taker, "U1@x"))
    assert disturbed(site, flow, plans(site), take)
    assert site.send(("HGET", claims, "u1@x")) == [taker.encode()]
    assert site.kinds() == {Kind.DUPLICATE_VALUE}


def test_a_row_that_is_written_between_all_readings_is_not_reported(site: Site) -> None:
    """Every atomic reading finds it elsewhere than the reading before; between the readings it is moved back."""
    site.store.task_states.create(task("busy"))
    site.send(("ZADD", site.view("TaskState", "by_agent", "a"), 1, "busy"))
    found: list[Any] = []
    moves = iter([Status.PAUSED, Status.RUNNING] * 20)
    flow = check_flows.check(site.context, on_drift=found.extend)
    assert disturbed(site, flow, holds("MULTI"), lambda: set_status(site, "busy", next(moves))) > 8
    assert [each.kind for each in found] == [Kind.WRONG_VALUE]


def test_a_row_that_moved_during_its_inspection_is_inspected_again(site: Site) -> None:
    site.send(("ZADD", site.view("TaskState", "by_agent", "a"), 1, "root"))
    object.__setattr__(
        site.context, "monotonic", lambda: 0.0
    )  # so that there is a pause between the inspections
    found: list[Any] = []
    atomic = holds("MULTI")
    move: dict[bool, Status] = {True: Status.PAUSED, False: Status.RUNNING}
    seen: list[bool] = []

    def when(effect: Any) -> bool:
        seen.append(atomic(effect))
        return seen[-1] or isinstance(effect, Sleep)

    disturbed(
        site,
        check_flows.check(site.context, on_drift=found.extend),
        when,
        lambda: set_status(site, "root", move[seen[-1]]),
    )
    assert [each.kind for each in found] == [Kind.WRONG_VALUE]


def test_only_drift_of_both_inspections_is_reported(site: Site) -> None:
    object.__setattr__(site.context, "monotonic", lambda: 0.0)
    view = site.view(*STATUS)
    (score,) = site.send(("ZSCORE", view, "root"))
    site.send(("ZREM", view, "root"), ("ZADD", view, 1, "ghost"))
    found: list[Any] = []

    def repair_one_and_damage_another() -> None:
        site.send(("ZADD", view, score, "root"), ("ZREM", site.view("TaskState", "all"), "root"))

    looks = disturbed(
        site,
        check_flows.check(site.context, on_drift=found.extend),
        lambda effect: isinstance(effect, Sleep),
        repair_one_and_damage_another,
    )
    assert looks == 1
    assert [(each.kind, each.suspect.member) for each in found] == [(Kind.STALE_ENTRY, "ghost")]
    assert site.kinds() == {Kind.STALE_ENTRY, Kind.MISSING_ENTRY}


def test_a_row_that_is_deleted_during_its_inspection_is_not_reported(site: Site) -> None:
    site.send(("ZREM", site.view(*STATUS), "t1"))
    found: list[Any] = []
    delete = once(lambda: site.store.task_states.delete("t1"))
    disturbed(site, check_flows.check(site.context, on_drift=found.extend), holds("MULTI"), delete)
    assert found == []


def test_a_repair_restores_an_entry_of_a_row_that_changes_meanwhile(site: Site) -> None:
    site.send(("DEL", site.view("User", "by_role", "admin")))
    set_role = once(lambda: site.store.users.change("u1", lambda row: setattr(row, "role", Role.ADMIN)))
    disturbed(site, repair_flows.reindex(site.context, Repairs()), holds("MULTI"), set_role)
    assert site.store.users.by_role().group_counts() == {Role.ADMIN: 2, Role.USER: 2}


def test_a_repair_spares_the_deadline_of_a_row_that_comes_back_and_is_freed(site: Site) -> None:
    """Only that deadline leads a sweep to the entries of the freed row."""
    namespace = site.context.keyspace.namespace.tenant
    with (
        Store.open(server_url(), namespace=namespace, retention={"TaskState": DAY}) as slow,
        Store.open(
            server_url(), namespace=namespace, retention={"TaskState": AT_ONCE}, grace_ms=1, sweep_every=0
        ) as quick,
    ):
        slow.task_states.create(task("back", status=Status.SUCCESS))
        place = site.document("TaskState", "back")
        site.send(("DEL", place))
        assert Kind.STALE_DEADLINE in site.kinds()

        def come_back() -> None:
            quick.task_states.create(task("back", name="other", status=Status.FAILED))
            limit = time.monotonic() + 10
            while site.send(("EXISTS", place)) != [0]:
                assert time.monotonic() < limit
                time.sleep(0.001)

        repairs = Repairs()
        assert disturbed(site, repair_flows.reindex(site.context, repairs), plans(site), once(come_back))
        site.store.sweep()
        assert site.check()[1] == []
