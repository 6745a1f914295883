"""Writers and readers of real threads, with stores of their own, while the partitions of a group on a cluster are doubled and killed."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from keyweave.model.ids import ksuid
from keyweave.repartition.grow import repartition
from tests.partitioned.estate import Estate, opened

WORKERS = 8
ACCOUNTS = 24


class Killed(BaseException):
    """The process that repartitions has ended."""


class Worker(threading.Thread):
    """Writes and reads the accounts that are its own, and remembers what there has to be."""

    def __init__(self, world: Estate, number: int, seed: int) -> None:
        super().__init__(daemon=True)
        self.world = world
        self.random = random.Random(seed * 100 + number)
        self.accounts = [f"a{each}" for each in range(number, ACCOUNTS, WORKERS)]
        self.worth: dict[str, int] = {}
        self.ended = threading.Event()
        self.failure: BaseException | None = None
        self.operations = 0
        self.slowest = 0.0
        self.name_of = f"w{number}"

    def run(self) -> None:
        try:
            while not self.ended.is_set():
                began = time.monotonic()
                self.step()
                self.slowest = max(self.slowest, time.monotonic() - began)
                self.operations += 1
        except BaseException as error:  # noqa: BLE001 - the test reports it
            self.failure = error

    def step(self) -> None:
        deals, draw = self.world.store.deals, self.random
        account, key = draw.choice(self.accounts), f"{self.name_of}.{draw.randrange(40)}"
        act = draw.randrange(5)
        if act == 0 and key in self.worth:
            deals.delete(key)
            del self.worth[key]
        elif act == 1 and key in self.worth:
            assert deals.get(key).worth == self.worth[key]
            assert deals.get_by_code(f"c{key}").id == key
        elif act == 2:
            rows = deals.by_account(account).list()
            found = {row.id: row.worth for row in rows if row.id in self.worth}
            assert all(self.worth[name] == worth for name, worth in found.items())
            assert len({row.id for row in rows}) == len(rows)
        elif act == 3 and key in self.worth:
            self.worth[key] = self.world.store.deals.increment(key, "worth").worth
        elif key not in self.worth:
            deals.create(self.world.deal(key, account, code=f"c{key}", worth=1))
            self.worth[key] = 1


@contextmanager
def workers(worlds: list[Estate], seed: int) -> Iterator[list[Worker]]:
    """Workers that run until the block ends; the failure of one is raised then."""
    found = [Worker(world, number, seed) for number, world in enumerate(worlds)]
    for each in found:
        each.start()
    try:
        yield found
    finally:
        for each in found:
            each.ended.set()
        for each in found:
            each.join()
    for each in found:
        if each.failure is not None:
            raise each.failure


def repartition_killed(world: Estate, to: int, draw: random.Random, kills: int, lease: float) -> int:
    """Repartition, and end it before a random exchange `kills` times, each time to be resumed. Returns the number of exchanges."""
    total = 0
    for left in range(kills, -1, -1):
        until = draw.randrange(10, 150) if left else None
        flow = repartition(world.context, "deals", to, lambda stage: None, lease=lease, plan_life=-4.0)

        def counted(flow: Any = flow, until: int | None = until) -> Any:
            nonlocal total
            sent, answer = 0, None
            while True:
                try:
                    effect = flow.send(answer)
                except StopIteration as stop:
                    return stop.value
                if until is not None and sent >= until:
                    raise Killed
                sent, total = sent + 1, total + 1
                answer = yield effect

        try:
            world.store._session.shell.run(counted())
        except Killed:
            continue
    return total


def compare(world: Estate, found: list[Worker]) -> int:
    """Compare all rows with what the workers know, and check the namespace. Returns the number of rows."""
    wanted: dict[str, int] = {}
    for each in found:
        wanted |= each.worth
    rows = world.store.deals.all().list()
    assert {row.id: row.worth for row in rows} == wanted
    assert len(rows) == len(wanted) == world.store.deals.all().count()
    assert [row.id for page in world.store.deals.all().batches(7) for row in page] == [row.id for row in rows]
    for row in rows:
        assert world.store.deals.get(row.id).code == f"c{row.id}"
    assert world.store.check().clean
    return len(rows)


def fill(world: Estate) -> None:
    """Create the accounts."""
    for number in range(ACCOUNTS):
        world.account(f"a{number}")
    assert len(world.store.accounts.all().list()) == ACCOUNTS


def play(seed: int, kills: int = 4) -> tuple[int, int, float]:
    """Double 4 partitions to 16 under the workers. Returns their operations, the rows at the end, and the slowest step in seconds."""
    namespace = ksuid()
    with ExitStack() as stack:
        worlds = [
            stack.enter_context(opened(namespace, partitions={"deals": 4}, deadline=5.0))
            for _ in range(WORKERS)
        ]
        fill(worlds[0])
        command = stack.enter_context(opened(namespace))
        with workers(worlds, seed) as found:
            repartition_killed(command, 16, random.Random(seed), kills, lease=1.0)
        with opened(namespace) as after:
            assert after.context.keyspace.numbers == {"deals": 16}
            rows = compare(after, found)
        return sum(each.operations for each in found), rows, max(each.slowest for each in found)
