"""The lease of a store: what it relies on is read again in time, inside the budget of the call, and also by what takes long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from keyweave.aio import shell as shell_aio
from keyweave.effects import ConnectionFailure, Flow, Send
from keyweave.errors import OutcomeUnknownError, StoreUnavailableError
from keyweave.exchange.ask import ask
from keyweave.exchange.lease import lease_of, within_lease
from keyweave.model.ids import ksuid
from keyweave.store import doubling
from keyweave.store.doubling import LEASE, longest_age, may_outlast, renewal_age
from keyweave.sync import shell as shell_sync
from keyweave.write.update import update
from tests.partitioned.estate import Estate, opened
from tests.repartition.test_grow import NAMES, filled, run


@pytest.mark.parametrize(("deadline", "timeout"), [(10.0, 5.0), (0.5, 0.2), (20.0, 8.0)])
def test_an_operation_ends_within_the_lease_that_it_began_with(deadline: float, timeout: float) -> None:
    outlasts = renewal_age(deadline, timeout) + deadline + timeout > LEASE - 1.0
    assert may_outlast(deadline, timeout) == outlasts
    assert longest_age(timeout) + timeout < LEASE


class Clock:
    """Time that passes when a shell runs a renewal."""

    def __init__(self, renewal: float) -> None:
        self.now = 1000.0
        self.renewal = renewal
        self.untils: list[float | None] = []
        self.known = 900.0

    def time(self) -> float:
        return self.now

    def run(self, flow: Any, *about: str, until: float | None = None) -> Any:
        self.untils.append(until)
        self.now += self.renewal
        flow.close()
        return "done"

    async def arun(self, flow: Any, *about: str, until: float | None = None) -> Any:
        return self.run(flow, *about, until=until)


def nothing() -> Flow[str]:
    yield Send(())
    return "never"


@pytest.mark.parametrize("flavour", ["sync", "aio"])
@pytest.mark.parametrize("bounded", [True, False])
def test_a_renewal_is_part_of_the_budget_of_the_call(
    flavour: str, bounded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module: Any = {"sync": shell_sync, "aio": shell_aio}[flavour]
    clock = Clock(3.0)
    monkeypatch.setattr(module.time, "monotonic", clock.time)

    class Given:
        """A lease that is too old."""

        def __init__(self) -> None:
            self.state: Any = clock
            self.age = 14.0
            self.budget = 10.0 if bounded else None
            self.short = False

        def renew(self) -> Flow[None]:
            yield Send(())

        def within(self, flow: Flow[Any]) -> Flow[Any]:
            return flow

    class Shell:
        run = staticmethod(clock.run if flavour == "sync" else clock.arun)

    leased = module.renewing(Shell.run, Shell, Given())
    outcome = leased(nothing())
    assert (asyncio.run(outcome) if flavour == "aio" else outcome) == "done"
    assert clock.untils == ([1010.0, 1010.0] if bounded else [None, None])


def twice(world: Estate, between: Any) -> Flow[list[Any]]:
    """Read a row's document, let something happen, and read it again."""
    context = world.context
    name = context.keyspace.partition("deals", "a1").document("Deal", "a1.0")
    (first,) = yield from ask(context, (("EXISTS", name),))
    between()
    (second,) = yield from ask(context, (("EXISTS", name),))
    return [first, second]


def grow(namespace: str) -> None:
    with opened(namespace) as command:
        run(command, 4)


def test_what_outlasts_its_lease_ends_when_partitions_were_doubled() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        shell = world.store._session.shell

        def grown(world: Estate = world) -> None:
            grow(namespace)
            world.context.state.known -= LEASE

        assert shell.run(within_lease(world.context, twice(world, lambda: None))) == [1, 1]
        with pytest.raises(
            StoreUnavailableError, match="could not go on: the partitions of a group are being"
        ):
            shell.run(within_lease(world.context, twice(world, grown)))
        assert world.context.keyspace.numbers == {"deals": 4}
        world.context.state.known -= LEASE
        assert shell.run(within_lease(world.context, twice(world, lambda: None))) == [1, 1]


def test_a_write_that_was_on_its_way_does_not_say_that_nothing_was_written() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        sent = 0

        def losing(flow: Flow[Any], world: Estate = world, namespace: str = namespace) -> Flow[Any]:
            """The answer of the write is lost; before it is sent again partitions are doubled."""
            nonlocal sent
            answer: Any = None
            failure: Exception | None = None
            try:
                while True:
                    effect = flow.send(answer) if failure is None else flow.throw(failure)
                    answer = failure = None
                    words = [str(word) for command in getattr(effect, "commands", ()) for word in command]
                    try:
                        answer = yield effect
                    except ConnectionFailure as error:
                        failure = error
                    if failure is None and any("worth" in word for word in words):
                        sent += 1
                        failure = ConnectionFailure("timeout", "lost", sent=True)
                        grow(namespace)
                        world.context.state.known -= LEASE
            except StopIteration as stop:
                return stop.value

        context = world.context
        flow = update(context, context.package.entities["Deal"], "a1.0", {"worth": 77})
        with pytest.raises(OutcomeUnknownError):
            world.store._session.shell.run(losing(within_lease(context, flow)))
        assert sent == 1
        assert world.store.deals.get("a1.0").worth == 77


def test_a_store_with_a_long_deadline_watches_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace, deadline=60.0) as patient:
            lease = lease_of(patient.context, bounded=True)
            assert lease.short
            assert not lease_of(world.context, bounded=True).short
            monkeypatch.setattr(doubling, "LEASE", 0.001)

            def work(transaction: Any, patient: Estate = patient) -> None:
                transaction.deals.update("a1.0", worth=5)
                grow(namespace)

            with pytest.raises(StoreUnavailableError):
                patient.store.transact(work)
            monkeypatch.undo()
        world.context.state.known -= LEASE
        assert [world.store.deals.get(f"{name}.0").worth for name in NAMES] == [0] * len(NAMES)
