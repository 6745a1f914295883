"""Doubling the partitions of a group: nothing is lost, doubled or out of order, whenever it is interrupted."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest

from keyweave.effects import Flow, Send
from keyweave.errors import ConfigurationError, KeyweaveError, StoreUnavailableError
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.exchange import lease
from keyweave.exchange.handshake import learn_numbers
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.read import execute
from keyweave.repartition.copy import drain
from keyweave.repartition.grow import repartition
from keyweave.store import doubling
from keyweave.sync.shell import Shell
from tests.over import opened_store
from tests.partitioned.estate import Estate, estate, opened
from tests.servers.running import server_url

NAMES = [f"a{number}" for number in range(6)]


class Interrupted(BaseException):
    """The process that repartitions has ended."""


def filled(namespace: str, number: int) -> Iterator[Estate]:
    with opened(namespace, partitions={"deals": number}) as world:
        for name in NAMES:
            world.account(name)
            for each in range(2):
                world.store.deals.create(
                    world.deal(f"{name}.{each}", name, code=f"c{name}{each}", worth=each)
                )
            world.store.lines.create(estate().Line(account_id=name, number=1, text=name))
        yield world


def contents(world: Estate) -> dict[str, Any]:
    """Everything that callers see, in order."""
    store = world.store
    return {
        "accounts": [row.to_dict() for row in store.accounts.all().list()],
        "deals": [row.to_dict() for row in store.deals.all().list()],
        "pages": [row.id for page in store.deals.by_state(estate().State.OPEN).batches(5) for row in page],
        "lines": [row.to_dict() for row in store.lines.all().list()],
        "keys": [store.deals.get(f"{name}.1").id for name in NAMES],
        "known": [store.deals.get(f"{name}.1", account_id=name).id for name in NAMES],
        "codes": [store.deals.get_by_code(f"c{name}1").id for name in NAMES],
        "emails": [store.accounts.get_by_email(f"{name}@x").id for name in NAMES],
        "count": store.deals.all().count(),
    }


def run(
    world: Estate,
    to: int,
    between: Callable[[int], None] | None = None,
    until: int | None = None,
    still: float = 2.0,
) -> int:
    """Repartition, and return the number of exchanges. `between` acts before each; it ends before the one with the number `until`."""
    flow = repartition(
        world.context, "deals", to, lambda stage: None, lease=-1.0, plan_life=-6.0, still=still
    )
    shell: Shell = world.store._session.shell
    sent = 0

    def counted() -> Any:
        nonlocal sent
        answer: Any = None
        try:
            while True:
                effect = flow.send(answer)
                if between is not None:
                    between(sent)
                if until is not None and sent >= until:
                    raise Interrupted
                sent += 1
                answer = yield effect
        except StopIteration as stop:
            return stop.value

    shell.run(counted())
    return sent


def check_whole(world: Estate, number: int) -> None:
    assert world.store.check().clean
    assert world.context.keyspace.numbers == {"deals": number}
    for name in NAMES:
        assert world.homes()[f"Deal.:{name}.1"] == place_of(name)
    for partition in world.context.keyspace.partitions():
        assert world.ask("EXISTS", partition.changed) == 0
        clock = world.ask("GET", partition.clock)
        assert clock is None or clock.isdigit()


@pytest.mark.parametrize(("number", "to"), [(1, 4), (4, 8)])
def test_a_group_is_doubled_with_everything_in_it(number: int, to: int) -> None:
    namespace = ksuid()
    for world in filled(namespace, number):
        before = contents(world)
        with opened(namespace) as command:
            run(command, to)
        world.store._session.shell.run(learn(world))
        assert contents(world) == before
        check_whole(world, to)
        world.store.deals.create(world.deal("new", "a1", code="new"))
        assert world.store.deals.get_by_code("new").id == "new"


def learn(world: Estate) -> Any:
    return learn_numbers(world.context)


@pytest.mark.parametrize(("number", "to"), [(8, 4), (8, 12), (8, 2048)])
def test_a_number_that_a_group_cannot_get_is_refused(number: int, to: int) -> None:
    with opened(ksuid(), partitions={"deals": number}) as world:
        with pytest.raises(ConfigurationError):
            run(world, to)
        assert world.ask("HGET", world.context.keyspace.at("deals", 0).schema, "doubling") is None


class Actor:
    """A client that writes and reads between the exchanges of a repartition, and knows what there has to be."""

    def __init__(self, world: Estate, rarely: int = 5) -> None:
        self.world = world
        self.rarely = rarely
        self.worth = {f"{name}.{each}": each for name in NAMES for each in range(2)}
        self.lines = {(name, 1) for name in NAMES}
        self.turn = 0
        self.acts = (
            self.update,
            self.create,
            self.delete,
            self.recreate,
            self.code,
            self.line,
            self.transact,
            self.save,
        )

    def __call__(self, number: int) -> None:
        self.turn += 1
        if self.stands_still():
            self.compare()
            return
        self.acts[self.turn % len(self.acts)](NAMES[self.turn % len(NAMES)])
        if self.turn % self.rarely == 0:
            self.compare()

    def stands_still(self) -> bool:
        """Whether a partition stands still now, so that a write would wait for the flow that this test drives."""
        clocks = [self.world.ask("GET", each.clock) for each in self.world.context.keyspace.partitions()]
        time = self.world.ask("TIME")
        now = int(time[0]) * 1_000_000 + int(time[1])
        until = [int(clock.split(b"frozen")[1]) for clock in clocks if clock and b"frozen" in clock]
        return any(each >= now for each in until)

    def update(self, name: str) -> None:
        self.world.store.deals.update(f"{name}.0", worth=100 + self.turn)
        self.worth[f"{name}.0"] = 100 + self.turn

    def save(self, name: str) -> None:
        deal = self.world.store.deals.get(f"{name}.1", account_id=name)
        deal.worth = self.turn
        self.world.store.deals.save(deal)
        self.worth[deal.id] = self.turn

    def create(self, name: str) -> None:
        key = f"{name}.n{self.turn}"
        self.world.store.deals.create(self.world.deal(key, name, code=f"n{self.turn}", worth=self.turn))
        self.worth[key] = self.turn

    def delete(self, name: str) -> None:
        for key in [key for key in self.worth if ".n" in key]:
            self.world.store.deals.delete(key)
            del self.worth[key]

    def recreate(self, name: str) -> None:
        """Delete a row, and create one of the same key and unique value in another partition."""
        if f"r.{self.turn % 3}" in self.worth:
            self.world.store.deals.delete(f"r.{self.turn % 3}")
        self.world.store.deals.create(
            self.world.deal(f"r.{self.turn % 3}", name, code=f"r{self.turn % 3}", worth=self.turn)
        )
        self.worth[f"r.{self.turn % 3}"] = self.turn

    def code(self, name: str) -> None:
        deals = self.world.store.deals
        deals.update(f"{name}.1", code=f"x{self.turn}")
        assert deals.get_by_code(f"x{self.turn}").id == f"{name}.1"
        deals.update(f"{name}.1", code=f"c{name}1")

    def line(self, name: str) -> None:
        number = 1000 + self.turn % 3
        self.world.store.lines.upsert(
            estate().Line(account_id=name, number=number, text=f"{name} {self.turn}")
        )
        self.lines.add((name, number))

    def transact(self, name: str) -> None:
        def work(transaction: Any) -> None:
            deal = transaction.deals.get_for_update(f"{name}.0")
            deal.worth += 1
            transaction.deals.save(deal)
            transaction.accounts.update(name, balance=Decimal(self.turn))

        self.world.store.transact(work)
        self.worth[f"{name}.0"] += 1

    def compare(self) -> None:
        deals, lines = self.world.store.deals, self.world.store.lines
        rows = deals.all().list()
        assert {row.id: row.worth for row in rows} == self.worth
        assert len(rows) == len(self.worth) == deals.all().count()
        created = [row.created_at if hasattr(row, "created_at") else 0 for row in rows]
        assert created == sorted(created, reverse=True)
        assert {(row.account_id, row.number) for row in lines.all().list()} == self.lines
        for key in list(self.worth)[:: max(1, len(self.worth) // 3)]:
            assert deals.get(key).worth == self.worth[key]
        assert all(deals.get(row.id, account_id=row.account_id).worth == row.worth for row in rows[::3])
        ids = [row.id for page in deals.by_state(estate().State.OPEN).batches(7) for row in page]
        assert sorted(ids) == sorted(self.worth)


def aware(world: Estate, act: Callable[[int], None]) -> Callable[[int], None]:
    """Let a client act that knows of the doubling once it is announced, as every client does when a lease has passed."""
    known = False

    def acting(number: int) -> None:
        nonlocal known
        if not known and world.ask("HGET", world.context.keyspace.at("deals", 0).schema, "doubling"):
            world.store._session.shell.run(learn(world))
            known = True
        act(number)

    return acting


@pytest.mark.parametrize(("number", "to"), [(1, 2), (2, 8)])
def test_clients_write_and_read_between_all_exchanges(number: int, to: int) -> None:
    namespace = ksuid()
    for world in filled(namespace, number):
        actor = Actor(world)
        with opened(namespace) as command:
            sent = run(command, to, aware(world, actor))
        assert sent > 20
        world.store._session.shell.run(learn(world))
        actor.compare()
        assert world.store.check().clean
        assert world.context.keyspace.numbers == {"deals": to}


def kill_everywhere(number: int) -> int:
    """End a repartition before each of its exchanges, one further in each run; a client acts directly before the end and after it."""
    namespace = ksuid()
    for world in filled(namespace, number):
        actor = Actor(world, rarely=1000)
        acting = aware(world, actor)
        kills = 0
        while True:

            def last(sent: int, until: int = kills, act: Callable[[int], None] = acting) -> None:
                if until - 2 < sent <= until:
                    act(sent)

            try:
                with opened(namespace) as command:
                    run(command, 2 * number, last, kills, still=0.05)
                break
            except Interrupted:
                kills += 1
                actor.compare()
            if kills % 16 == 0:
                assert world.store.check().clean
        world.store._session.shell.run(learn(world))
        actor.compare()
        assert world.store.check().clean
        assert world.context.keyspace.numbers == {"deals": 2 * number}
    return kills


@pytest.mark.parametrize("number", [1, 2])
def test_it_may_be_interrupted_before_every_exchange(number: int) -> None:
    assert kill_everywhere(number) > 20


def test_a_store_that_knows_of_nothing_is_refused_until_it_does_and_learns_it_when_its_lease_ends() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace) as command:
            assert interrupted_at(command, 4, b"copy")
        with pytest.raises(StoreUnavailableError, match="are being doubled"):
            update_all(world, 7)
        world.context.state.known -= 1000.0
        for name in NAMES:
            assert world.store.deals.update(f"{name}.0", worth=8).worth == 8
        assert set(world.context.keyspace.doublings) == {"deals"}
        report = world.store.check()
        assert report.clean
        assert report.unfinished == (
            "repartition of the group deals from 2 to 4 is unfinished: run keyweave repartition --group deals --to 4",
        )
        with pytest.raises(ConfigurationError, match="backfill has to wait"):
            world.store._session.shell.run(backfill(world.context, Build()))
        with opened(namespace) as command:
            run(command, 4)
        world.context.state.known -= 1000.0
        assert world.store.deals.get("a1.0").worth == 8
        assert not world.context.keyspace.doublings
        check_whole(world, 4)


def nothing() -> Flow[int]:
    """A flow that does nothing."""
    yield from ()
    return 0


def test_without_a_lease_a_store_would_not_find_rows_that_have_moved() -> None:
    """The command of this test does not wait, which is the fault; a store whose lease has ended finds every row."""
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace) as command:
            run(command, 4)
        keys = [f"{name}.0" for name in NAMES]
        assert None in [world.store.deals.find(key) for key in keys]
        world.context.state.known -= 1000.0
        assert None not in [world.store.deals.find(key) for key in keys]


def update_all(world: Estate, worth: int) -> None:
    for name in NAMES:
        world.store.deals.update(f"{name}.0", worth=worth)


def interrupted_at(world: Estate, to: int, phase: bytes) -> bool:
    """End a repartition as soon as a partition has a phase."""

    def between(sent: int) -> None:
        clocks = [world.ask("GET", world.context.keyspace.at("deals", index).clock) for index in range(2)]
        if any(clock is not None and phase in clock for clock in clocks):
            raise Interrupted

    try:
        run(world, to, between)
    except Interrupted:
        return True
    return False


def test_a_stopped_partition_goes_on_by_itself() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace) as command:
            assert interrupted_at(command, 4, b"frozen")
        world.context.state.known -= 1000.0
        for name in NAMES:
            assert world.store.deals.update(f"{name}.0", worth=8).worth == 8
        with opened(namespace) as command:
            run(command, 4)
        assert {row.worth for row in world.store.deals.all().list()} == {8, 1}


def test_a_run_that_was_interrupted_at_its_very_end_is_completed_beside_what_came_late() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        first = world.context.keyspace.at("deals", 0)

        def at_the_end(sent: int, asked: Estate = world, where: Partition = first) -> None:
            clock = asked.ask("GET", where.clock)
            if asked.ask("HGET", where.schema, "partitions") == b"4" and clock.isdigit():
                raise Interrupted

        with opened(namespace) as command, pytest.raises(Interrupted):
            run(command, 4, at_the_end)
        assert world.ask("HGET", first.schema, "doubling") == b"4"
        # The home of a value that has moved, set by a client that stood still until now.
        stray = next(name for name in map(str, range(99)) if place_of(name) & 3 == 2)
        world.ask("HSET", first.homes("Deal", ""), stray, "0 1")
        with opened(namespace) as command:
            run(command, 4)
        world.store._session.shell.run(learn(world))
        assert contents(world)["count"] == 12
        check_whole(world, 4)
        world.store.sweep()
        assert world.ask("HGET", first.homes("Deal", ""), stray) is None


def test_a_process_that_was_taken_over_cannot_go_on() -> None:
    namespace = ksuid()
    for world in filled(namespace, 2):
        with opened(namespace) as first, opened(namespace) as second:
            done = False

            def between(sent: int, taking: Estate = second) -> None:
                nonlocal done
                clock = taking.ask("GET", taking.context.keyspace.at("deals", 0).clock)
                if not done and clock is not None and b"copy" in clock:
                    done = True
                    run(taking, 4)

            with pytest.raises(ConfigurationError, match="another process"):
                run(first, 4, between)
        world.store._session.shell.run(learn(world))
        assert contents(world)["count"] == 12
        check_whole(world, 4)


@pytest.mark.parametrize(
    "fault", ["nothing is noted", "nothing is copied while it stands still", "moved rows are rows"]
)
def test_planted_faults_are_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if fault == "nothing is noted":
        monkeypatch.setattr("keyweave.repartition.grow.drain", lambda *_: nothing())
    elif fault == "nothing is copied while it stands still":
        monkeypatch.setattr(
            "keyweave.repartition.grow.drain", lambda *given: nothing() if given[1].frozen else drain(*given)
        )
    else:
        monkeypatch.setattr(execute, "is_misplaced", lambda *_: False)
    with pytest.raises((AssertionError, KeyweaveError)):
        test_clients_write_and_read_between_all_exchanges(2, 4)


def test_an_asyncio_store_goes_on_while_partitions_are_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doubling, "LEASE", 0.2)  # older numbers are read again before nearly every operation
    monkeypatch.setattr(lease, "may_outlast", lambda *_: False)
    namespace = ksuid()

    async def client() -> list[int]:
        store = await opened_store(estate().aio, "aio", server_url(), namespace=namespace)
        worth = [0]
        try:
            while not done.is_set():
                row = await store.deals.update("a1.0", worth=worth[-1] + 1)
                assert (await store.deals.get("a1.0")).worth == row.worth == worth[-1] + 1
                assert await store.deals.all().count() == 12
                worth.append(row.worth)
            return worth
        finally:
            await store.close()

    done = threading.Event()
    for world in filled(namespace, 2):
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(lambda: asyncio.run(client()))
            with opened(namespace) as command:
                flow = repartition(command.context, "deals", 8, lambda stage: None, lease=0.5, plan_life=-5.0)
                command.store._session.shell.run(flow)
            done.set()
            worth = written.result(20)
        world.store._session.shell.run(learn(world))
        assert world.store.deals.get("a1.0").worth == worth[-1] == len(worth) - 1
        assert len(worth) > 10
        check_whole(world, 8)


@pytest.mark.parametrize("number", [1, 4])
def test_a_copy_that_the_server_has_freed_leaves_nothing_behind(number: int) -> None:
    """The command stood still for longer than the row lived, which then got other values: its copy has no document any more."""
    closed, namespace = estate().State.CLOSED, ksuid()
    account = next(name for name in NAMES if place_of(name) & number)  # its rows move
    for world in filled(namespace, number):
        world.store.deals.create(world.deal("row", account, state=closed, code="old", worth=7))
        source = world.partition(account).document("Deal", "row").encode()
        freed: list[bytes] = []

        def act(_: int, world: Estate = world, source: bytes = source, freed: list[bytes] = freed) -> None:
            pattern = f"*:{world.context.keyspace.namespace.tenant}:deals*Deal:row"
            copies = [key for key in world.ask("KEYS", pattern) if key != source]
            if copies and not freed:
                freed += copies
                assert world.ask("UNLINK", *copies) == 1
                world.store._session.shell.run(learn(world))
                world.store.deals.update("row", state=estate().State.OPEN, code="new")

        with opened(namespace) as command:
            run(command, 2 * number, act)
        world.store._session.shell.run(learn(world))
        assert freed == [world.partition(account).document("Deal", "row").encode()]
        assert world.store.check().clean
        assert world.store.deals.get("row").code == "new"
        assert [row.id for row in world.store.deals.by_state(closed).list()] == []
        with pytest.raises(estate().DealNotFoundError):
            world.store.deals.get_by_code("old")


def run_beside(world: Estate, to: int, act: Callable[[int], None]) -> int:
    """Repartition, and act before each exchange that changes rows. Returns their number."""
    scripts, changes = world.context.scripts, 0
    changing = {word for name in ("carry", "double") for word in (scripts[name].sha, scripts[name].text)}
    flow = repartition(world.context, "deals", to, lambda stage: None, lease=-1.0, plan_life=-6.0)

    def acting() -> Any:
        nonlocal changes
        answer: Any = None
        try:
            while True:
                effect = flow.send(answer)
                if isinstance(effect, Send) and any(
                    changing.intersection(command[1:2]) for command in effect.commands
                ):
                    act(changes)
                    changes += 1
                answer = yield effect
        except StopIteration as stop:
            return stop.value

    shell: Shell = world.store._session.shell
    shell.run(acting())
    return changes


@pytest.mark.parametrize("number", [1, 2])
def test_a_row_that_moved_may_come_back_under_its_key_at_any_moment(number: int) -> None:
    """The new row stays in the partition that the old one has left. What removes the old one there leaves the new one alone."""
    moves = next(name for name in NAMES if place_of(name) & number)
    stays = next(name for name in NAMES if place_of(name) % (2 * number) == place_of(moves) % number)
    moment = moments = 0
    while moment <= moments:
        namespace = ksuid()
        for world in filled(namespace, number):
            actor, made = Actor(world), False

            def act(at: int, world: Estate = world, actor: Actor = actor, moment: int = moment) -> None:
                nonlocal made
                if at >= moment and not made and not actor.stands_still():
                    world.store.deals.delete(f"{moves}.0")
                    world.store.deals.create(world.deal(f"{moves}.0", stays, code="again"))
                    made = True

            with opened(namespace) as command:
                moments = run_beside(command, 2 * number, aware(world, act))
            world.store._session.shell.run(learn(world))
            if made:
                row = world.store.deals.get(f"{moves}.0")
                assert (moment, row.account_id, row.code) == (moment, stays, "again")
                assert (moment, world.store.deals.get_by_code("again").id) == (moment, f"{moves}.0")
            assert (moment, world.store.check().clean) == (moment, True)
        moment += 1
    assert moment > 10
