"""What is asked of all masters of a cluster: a scan of their keys, and how many they have. Many masters are asked at the same time."""

from __future__ import annotations

from keyweave.connection.redis_py.cluster.scan import Everywhere
from keyweave.connection.redis_py.cluster.slots import SlotMap
from keyweave.connection.redis_py.cluster.steps import AT_ONCE, Exchange, Steps, ask_all, read_slots
from keyweave.effects import Command, Reply, ServerError


def scan_all(slots: SlotMap, command: Command) -> Steps[Reply]:
    """Scan all masters, many of them at the same time, a step further."""
    mark = int(command[1])
    place = Everywhere(mark)
    if not mark:
        yield from read_slots(slots)
    if not mark or place.version != slots.version or place.position >= len(slots.masters):
        place = Everywhere.beginning(slots)
    if not slots.masters:
        return ServerError("CLUSTERDOWN no node serves a slot")
    part = slots.masters[place.position : place.position + AT_ONCE]
    asked = [(number, node) for number, node in enumerate(part) if place.cursor(number) is not None]
    found = yield from ask_all(
        [Exchange(node, (("SCAN", place.cursor(number) or 0, *command[2:]),)) for number, node in asked]
    )
    names: list[Reply] = []
    for (number, _), (reply,) in zip(asked, found, strict=True):
        if type(reply) is not list:
            return reply
        place.move(number, int(reply[0]))
        names += reply[1]
    if place.through(len(part)):
        place.go_on(len(part))
        if place.position == len(slots.masters):
            yield from read_slots(slots)
            if place.version == slots.version:
                return [b"0", names]
            place = Everywhere.beginning(slots)
    return [place.mark, names]


def count_keys(slots: SlotMap) -> Steps[Reply]:
    """Return the number of keys of all masters."""
    total = 0
    masters = slots.masters
    for start in range(0, len(masters), AT_ONCE):
        found = yield from ask_all(
            [Exchange(node, (("DBSIZE",),)) for node in masters[start : start + AT_ONCE]]
        )
        for (reply,) in found:
            if type(reply) is not int:
                return reply
            total += reply
    return total
