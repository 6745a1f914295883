"""Work for each partition, driven with literal replies: what is done at the same time, and what a failure leaves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from keyweave.effects import Call, Command, ConnectionFailure, Flow, Send, ServerError, Sleep
from keyweave.errors import AuthenticationError, CorruptDocumentError, KeyweaveError, StoreUnavailableError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, MOST, Failures, by_master, each_partition
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.spread import slot_of
from tests.scripted import Scripted

SLOTS = 16_384


class World:
    """A context with several partitions, and servers that answer every command with a word. Keeps what each exchange sent."""

    def __init__(self, partitions: int, *, masters: int = 3, clustered: bool = True) -> None:
        self.scripted = Scripted(deadline=1.0)
        self.context = self.scripted.context
        object.__setattr__(self.context, "clustered", clustered)
        self.context.spread({"execution": partitions, "auth": 1}, {})
        self.partitions = [self.context.keyspace.at("execution", index) for index in range(partitions)]
        self.masters = masters
        self.sent: list[list[Command]] = []
        self.lost: set[Partition] = set()
        self.slots: Any = [
            [
                SLOTS * n // masters,
                SLOTS * (n + 1) // masters - 1,
                [b"host", 7000 + n, b"id"],
                [b"r", 1, b"r"],
            ]
            for n in range(masters)
        ]

    def master(self, partition: Partition) -> int:
        return slot_of(partition.tag[1:-2].encode()) * self.masters // SLOTS

    def run(self, flow: Flow[Any]) -> Any:
        answer: Any = None
        failure: BaseException | None = None
        while True:
            try:
                effect = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as stop:
                return stop.value
            answer, failure = None, None
            if isinstance(effect, Sleep):
                self.scripted.time.now += effect.seconds
            elif isinstance(effect, Send):
                self.sent.append(list(effect.commands))
                answer, failure = self.answer(effect.commands)
            else:
                assert isinstance(effect, Call)
                answer = effect.function(*effect.arguments)

    def answer(self, commands: Sequence[Command]) -> tuple[Any, BaseException | None]:
        if commands == (("CLUSTER", "SLOTS"),):
            return [self.slots], None
        down = {number for number, command in enumerate(commands) if self.of(command) in self.lost}
        replies = {number: b"word" for number in range(len(commands)) if number not in down}
        if not down:
            return list(replies.values()), None
        return None, ConnectionFailure("closed", "host:7001 is gone", sent=True, answers=replies)

    def of(self, command: Command) -> Partition | None:
        return next((each for each in self.partitions if str(command[1]).startswith(each.tag)), None)

    def asked(self) -> list[list[int]]:
        """The partitions that each exchange concerned, without the questions for the slots."""
        found = [
            [self.of(command) for command in commands] for commands in self.sent if commands[0][0] == "GET"
        ]
        return [[each.index for each in exchange if each is not None] for exchange in found]

    def reads(self, times: int, bad: dict[int, KeyweaveError] | None = None) -> Any:
        """Work that asks some times, and fails in some partitions at its second exchange."""

        def work(partition: Partition) -> Flow[int]:
            for number in range(times):
                if number == 1 and partition.index in (bad or {}):
                    raise (bad or {})[partition.index]
                yield from ask(self.context, (("GET", partition.clock),))
            return partition.index

        return work


def test_the_masters_are_those_that_the_cluster_names() -> None:
    world = World(16)
    found = world.run(by_master(world.context, world.partitions))
    assert sorted(master.name for master in found) == ["host:7000", "host:7001", "host:7002"]
    for master in found:
        numbers = {world.master(partition) for partition in master.partitions}
        assert [f"host:{7000 + number}" for number in numbers] == [master.name]
    every = [partition for master in found for partition in master.partitions]
    assert sorted(partition.index for partition in every) == list(range(16))


def test_a_master_that_is_not_known_is_one_of_its_own_and_no_answer_means_one_for_all() -> None:
    world = World(4)
    world.slots = [[0, SLOTS // 2, [None, 7000, b"id"]]]
    found = world.run(by_master(world.context, world.partitions))
    assert sorted(len(master.partitions) for master in found) == [1, 1, 2]
    assert {master.name for master in found} == {""}
    world.slots = ServerError("ERR This instance has cluster support disabled")
    assert [each.partitions for each in world.run(by_master(world.context, world.partitions))] == [
        world.partitions
    ]


def test_one_server_or_one_partition_is_asked_nothing_about_slots() -> None:
    for world in (World(4, clustered=False), World(1)):
        (master,) = world.run(by_master(world.context, world.partitions))
        assert (master.name, master.partitions, world.sent) == ("", world.partitions, [])


def test_on_one_server_the_partitions_are_done_one_after_another() -> None:
    world = World(4, clustered=False)
    failures = Failures(world.context)
    found = world.run(each_partition(world.context, world.partitions, world.reads(2), failures))
    assert list(found.values()) == [0, 1, 2, 3]
    assert world.asked() == [[0], [0], [1], [1], [2], [2], [3], [3]]


def test_on_a_cluster_some_of_each_master_are_under_way_at_the_same_time() -> None:
    world = World(64)
    found = world.run(
        each_partition(world.context, world.partitions, world.reads(2), Failures(world.context))
    )
    assert found == {partition: partition.index for partition in world.partitions}
    widths = []
    for exchange in world.asked():
        masters = [world.master(world.partitions[index]) for index in exchange]
        widths.append([masters.count(number) for number in range(3)])
    assert all(max(width) <= AT_ONCE for width in widths)
    assert widths[:10] == [[AT_ONCE] * 3] * 10
    assert len(widths) == 2 * -(-max(map(len, world.run(_lists(world)))) // AT_ONCE)


def _lists(world: World) -> Flow[list[list[Partition]]]:
    found = yield from by_master(world.context, world.partitions)
    return [master.partitions for master in found]


def test_many_masters_have_no_more_under_way_than_may_be_in_all() -> None:
    world = World(256, masters=64)
    world.run(each_partition(world.context, world.partitions, world.reads(1), Failures(world.context)))
    first = [world.master(world.partitions[index]) for index in world.asked()[0]]
    assert (len(first), len(set(first))) == (MOST, MOST)
    assert max(map(len, world.asked())) == MOST


def test_a_partition_that_fails_does_not_stop_the_others_and_the_error_names_it() -> None:
    world = World(16)
    failures = Failures(world.context)
    bad = {5: CorruptDocumentError("a key holds another type"), 6: AuthenticationError("it is not permitted")}
    found = world.run(each_partition(world.context, world.partitions, world.reads(3, bad), failures))
    assert sorted(found.values()) == sorted(set(range(16)) - {5, 6})
    assert (len(failures), failures.of_master) == (2, False)
    assert world.partitions[5] in failures and world.partitions[4] not in failures
    with pytest.raises(CorruptDocumentError) as error:
        failures.raise_first()
    five, six = (f"host:{7000 + world.master(world.partitions[index])}" for index in (5, 6))
    assert str(error.value) == (
        f"partition 5 of the group execution on {five}, partition 6 of the group execution on {six}: a key holds another type"
    )
    world.sent.clear()
    again = world.run(each_partition(world.context, world.partitions, world.reads(1), failures))
    assert again.keys() == found.keys()  # what has failed is left out from then on


def test_when_a_master_is_gone_its_other_partitions_are_not_tried_and_the_other_masters_are_done() -> None:
    world = World(64)
    world.lost = {partition for partition in world.partitions if world.master(partition) == 1}
    failures = Failures(world.context)
    found = world.run(each_partition(world.context, world.partitions, world.reads(2), failures))
    assert set(found) == set(world.partitions) - world.lost
    assert len(failures) == len(world.lost) and failures.of_master
    tried = {
        index for exchange in world.asked() for index in exchange if world.partitions[index] in world.lost
    }
    assert len(tried) == AT_ONCE
    with pytest.raises(StoreUnavailableError, match=r"on host:7001, .* and \d+ more: .*host:7001 is gone"):
        failures.raise_first()


def test_the_error_of_one_server_stays_what_it_is_and_a_group_with_one_partition_has_no_number() -> None:
    world = World(4, clustered=False)
    failures = Failures(world.context)
    error = CorruptDocumentError("it is damaged")
    world.run(each_partition(world.context, world.partitions, world.reads(2, {2: error}), failures))
    with pytest.raises(CorruptDocumentError, match=r"^it is damaged$"):
        failures.raise_first()
    world = World(4)
    failures = Failures(world.context)
    failures.raise_first()
    failures.add(world.context.keyspace.at("auth", 0), CorruptDocumentError("it is damaged"), "a:1")
    with pytest.raises(CorruptDocumentError, match=r"^group auth on a:1: it is damaged$"):
        failures.raise_first()
