"""Servers that hold the partitions, as if they were one: a command goes to the server of its first key.

Each has its own clock, scripts and states. The file is one for all, in the order of the steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from keyweave.effects import Command, ServerError
from keyweave.keyspace.keys import Keyspace, Partition
from tools.simulate.partitions.arena import GROUP
from tools.simulate.server.node import Node

_EVERYWHERE: Final = ("SCAN", "DBSIZE")


class Masters(Node):
    """All servers.

    Args:
        keyspace: whose partitions they hold.
        skews: microseconds by which their clocks differ from virtual time; one for each server.

    Attributes:
        nodes: the servers.
        away: numbers of those that cannot be reached.
        look: called after each step that changed something.
    """

    def __init__(self, keyspace: Keyspace, skews: Sequence[int]) -> None:
        super().__init__()
        self.nodes: Final = [Node() for _ in skews]
        self.away: Final[set[int]] = set()
        self.look: Callable[[], None] = lambda: None
        self._numbers: Final[dict[str, int]] = {}
        for node, skew in zip(self.nodes, skews, strict=True):
            node.file = self.file
            node.offset += skew
        for partition in keyspace.partitions():
            assert partition.group == GROUP
            self._numbers[partition.tag] = partition.index % len(self.nodes)

    def number_of(self, partition: Partition) -> int:
        """The number of the server of a partition."""
        return self._numbers[partition.tag]

    def node_of(self, partition: Partition) -> Node:
        """The server of a partition."""
        return self.nodes[self.number_of(partition)]

    def parts(self, commands: Sequence[Command]) -> dict[int, list[int]]:
        """Places of the commands of a pipeline, by the number of their server.

        A command without a key goes with the one before it that has a key, or else with the first one.
        """
        numbers = [self._number(command) for command in commands]
        usual = next((number for number in numbers if number is not None), 0)
        found: dict[int, list[int]] = {}
        inside: list[int] | None = None
        for place, (command, number) in enumerate(zip(commands, numbers, strict=True)):
            if command[0] == "MULTI":
                inside = []
            if inside is None:
                usual = usual if number is None else number
                found.setdefault(usual, []).append(place)
                continue
            inside.append(place)
            if command[0] == "EXEC":
                keyed = next((numbers[each] for each in inside if numbers[each] is not None), None)
                found.setdefault(usual if keyed is None else keyed, []).extend(inside)
                inside = None
        return found

    def _number(self, command: Command) -> int | None:
        for word in command[1:]:
            if type(word) is str and word[:1] == "{":
                number = self._numbers.get(word[: word.find("}:") + 2])
                if number is not None:
                    return number
        return None

    def run(self, number: int, commands: Sequence[Command], at: int, tag: Any = None) -> list[Any]:
        """Carry out commands on one server."""
        node, steps = self.nodes[number], len(self.file)
        replies: list[Any] = []
        if any(command[0] in _EVERYWHERE for command in commands):
            replies = [reply for command in commands for reply in self._everywhere(node, command, at, tag)]
        else:
            replies = node.pipeline(commands, at, tag)
        if len(self.file) != steps:
            self.look()
        return replies

    def _everywhere(self, node: Node, command: Command, at: int, tag: Any) -> Iterator[Any]:
        """The reply to a command that asks all servers, or to another one."""
        if command[0] not in _EVERYWHERE:
            yield node.execute(command, at, tag)
            return
        every = [each.execute(command, at, tag) for each in self.nodes]
        refusal = next((reply for reply in every if type(reply) is ServerError), None)
        if refusal is not None:
            yield refusal
        elif command[0] == "DBSIZE":
            yield sum(every)
        else:
            yield [b"0", [key for _, keys in every for key in keys]]

    def pipeline(self, commands: Sequence[Command], at: int, tag: Any = None) -> list[Any]:
        """Carry out a pipeline, each server its part."""
        replies: list[Any] = [None] * len(commands)
        for number, places in self.parts(commands).items():
            answers = self.run(number, [commands[place] for place in places], at, tag)
            for place, answer in zip(places, answers, strict=True):
                replies[place] = answer
        return replies

    def heal(self) -> None:
        """Whatever is wrong with a server ends."""
        self.away.clear()
        for node in self.nodes:
            node.full = node.readonly = False
            node.refusing = None

    def catch_up(self, at: int) -> None:
        """Set clocks forward to what they have shown."""
        for node in self.nodes:
            node.offset += max(0, node.latest - at - node.offset)
