"""Cursors on a cluster. A cursor is of use on the node that gave it only, so a channel's cursors also name the node.

When the slot has another owner meanwhile, the scan of the slot, or of all masters, begins anew: keys may be returned twice,
and none is left out. A slot that moves key by key has keys on two nodes, so its scan waits until it has moved.
"""

from __future__ import annotations

from typing import Final

from keyweave.connection.redis_py.cluster.route import CURSORS
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.effects import Command, Reply

_NUMBER: Final = 16
_VERSION: Final = 32
_CURSOR: Final = 65
_THROUGH: Final = 1 << 64
"""Stands for the cursor of a master that was scanned to its end. A server's cursor has 64 bits."""


def command_for(command: Command, node: Node, slots: SlotMap) -> Command:
    """Return a command with the cursor that a node gave; 0 where another node gave it."""
    place = CURSORS.get(command[0])  # type: ignore[arg-type]
    if place is None:
        return command
    mark = int(command[place])
    cursor = mark >> _NUMBER if mark & ((1 << _NUMBER) - 1) == slots.number(node) else 0
    return (*command[:place], cursor, *command[place + 1 :])


def reply_of(command: Command, reply: Reply, node: Node, slots: SlotMap) -> Reply:
    """Return a reply whose cursor names the node that gave it."""
    if command[0] not in CURSORS or type(reply) is not list:
        return reply
    cursor = int(reply[0])
    return [b"%d" % (cursor << _NUMBER | slots.number(node) if cursor else 0), *reply[1:]]


class Everywhere:
    """The place of a scan of all masters, many of them at the same time, in the order of their addresses.

    Attributes:
        position: of the first master of those that are scanned now.
        version: of the map of the slots in which the scan began.
    """

    def __init__(self, mark: int) -> None:
        self.version: Final = mark & ((1 << _VERSION) - 1)
        self.position = mark >> _VERSION & ((1 << _NUMBER) - 1)
        self._rest = mark >> (_VERSION + _NUMBER)

    @classmethod
    def beginning(cls, slots: SlotMap) -> Everywhere:
        """Return the place at which a scan begins."""
        return cls(slots.version)

    def cursor(self, number: int) -> int | None:
        """Return the cursor of one of the masters that are scanned now; None if nothing of it is left."""
        found = self._rest >> number * _CURSOR & ((1 << _CURSOR) - 1)
        return None if found == _THROUGH else found

    def move(self, number: int, cursor: int) -> None:
        """Take over the cursor that one of the masters gave."""
        before = self._rest >> number * _CURSOR & ((1 << _CURSOR) - 1)
        self._rest += ((cursor or _THROUGH) - before) << number * _CURSOR

    def through(self, masters: int) -> bool:
        """Return whether nothing is left of so many masters, those that are scanned now."""
        return all(self.cursor(number) is None for number in range(masters))

    def go_on(self, masters: int) -> None:
        """Go on with the masters behind so many."""
        self.position += masters
        self._rest = 0

    @property
    def mark(self) -> bytes:
        """The cursor that stands for this place."""
        return b"%d" % ((self._rest << _NUMBER | self.position) << _VERSION | self.version)
