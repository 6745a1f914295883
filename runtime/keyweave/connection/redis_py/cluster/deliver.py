"""What is sent to which node, and what a redirection or a lost node means. No IO: a channel carries out the steps.

A command that a node answers with MOVED or ASK was not carried out, so it is sent to the node that the answer names. All
other refusals, TRYAGAIN and CLUSTERDOWN among them, are replies: a flow decides whether and when it tries again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from keyweave.connection.redis_py.cluster import scan
from keyweave.connection.redis_py.cluster.route import (
    CONFIRMING,
    scanned_tag,
    slot_of,
    slot_of_tag,
    split_by_slot,
)
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError
from keyweave.errors import ConfigurationError

T = TypeVar("T")

_HOPS: Final = 8
"""Most redirections of one command in one exchange."""

_AT_ONCE: Final = 32
"""Most nodes that are asked at the same time."""

_ASKING: Final[Command] = ("ASKING",)
_READ_SLOTS: Final[Command] = ("CLUSTER", "SLOTS")
_WITH_MANY_KEYS: Final = frozenset({"MGET", "UNLINK", "EXISTS"})
_DENIED: Final = frozenset({"NOPERM", "NOAUTH", "WRONGPASS"})


class Exchange(NamedTuple):
    """A pipeline for one node. The result is the replies, or the ConnectionFailure is thrown.

    Attributes:
        brief: whether it may take only as long as connecting may, because another node can be asked instead.
    """

    node: Node
    commands: Sequence[Command]
    brief: bool = False


Step: TypeAlias = Exchange | list[Exchange]
"""One exchange, or several that are under way at the same time: the result is then a list, with the replies of each or its failure."""

Steps: TypeAlias = Generator[Step, Any, T]


class _Unit:
    """Commands that go to one node together: one command, or a transaction.

    Attributes:
        places: of the commands in the pipeline.
        slot: of the keys.
        has_key: whether a command has a key. Others go to any master, or any node, if the slot has none.
        asked: the node that imports the slot and has the keys already.
    """

    __slots__ = ("asked", "has_key", "places", "slot")

    def __init__(self, places: list[int], slot: int | None) -> None:
        self.places: Final = places
        self.slot = slot
        self.has_key = True
        self.asked: Node | None = None


def deliver(
    slots: SlotMap, commands: Sequence[Command], first: tuple[Node, list[Reply]] | None = None
) -> Steps[list[Reply]]:
    """Send each command to the node that serves its key, and return the replies in order.

    Args:
        slots: the owners of the slots; it is read if it is not known, and read again when it turns out to be wrong.
        commands: the pipeline. A command without a key goes along with the first one that has a key.
        first: the replies of a node that was sent the whole pipeline already.

    Raises:
        ConnectionFailure: a node cannot be used.
        ConfigurationError: a node is no node of a cluster.
    """
    replies: list[Reply] = [None] * len(commands)
    sent = first is not None
    waiting = _units(commands)
    try:
        if slots.stale and first is None:
            yield from read_slots(slots)
        for _ in range(_HOPS):
            if first is not None:
                _take(slots, commands, waiting, first[0], False, first[1], replies)
                first = None
            else:
                yield from _ask(slots, commands, waiting, replies)
            sent = True
            waiting, moved = _redirected(slots, waiting, replies)
            if moved is not None:
                yield from _reread(slots, moved, [unit for unit in waiting if unit.asked is None])
            if not waiting:
                break
        for unit in waiting:
            for place in unit.places:
                replies[place] = ServerError("TRYAGAIN the nodes of the cluster do not agree yet on a slot")
        for place, command in enumerate(commands):
            if command[0] == "SCAN":
                replies[place] = yield from _scan(slots, command)
            elif command[0] == "DBSIZE":
                replies[place] = yield from _count(slots)
            elif _crosses(command, replies[place]):
                replies[place] = yield from _split(slots, command)
    except ConnectionFailure as failure:
        if sent and not failure.sent:
            raise ConnectionFailure(failure.reason, str(failure), sent=True) from failure
        raise
    return replies


def _ask(
    slots: SlotMap, commands: Sequence[Command], units: Sequence[_Unit], replies: list[Reply]
) -> Steps[None]:
    """Send units to the nodes that serve their slots, at the same time, and take the replies.

    Raises:
        ConnectionFailure: a node cannot be used.
    """
    groups = _by_node(slots, units, replies)
    for start in range(0, len(groups), _AT_ONCE):
        part = groups[start : start + _AT_ONCE]
        spared = [_spared(commands, theirs) for _, _, theirs in part]
        exchanges = [
            Exchange(node, _words(commands, theirs, node, asking, slots, fewer))
            for (node, asking, theirs), fewer in zip(part, spared, strict=True)
        ]
        found = (yield exchanges) if len(exchanges) > 1 else [(yield exchanges[0])]
        failures: list[ConnectionFailure] = []
        for (node, asking, theirs), fewer, answers in zip(part, spared, found, strict=True):
            if isinstance(answers, ConnectionFailure):
                failures.append(answers)
            else:
                _take(slots, commands, theirs, node, asking, answers, replies, fewer)
        if failures:
            first = failures[0]
            sent = start > 0 or len(failures) < len(part) or any(each.sent for each in failures)
            raise ConnectionFailure(first.reason, str(first), sent=sent) from first


def _units(commands: Sequence[Command]) -> list[_Unit]:
    """Return what is sent to one node as a whole: a command, or a transaction.

    A command without a key, such as TIME, goes to the node of the key before it; without one, to that of the first key.
    """
    units: list[_Unit] = []
    inside: _Unit | None = None
    without_key: list[_Unit] = []
    before: int | None = None
    for place, command in enumerate(commands):
        verb, slot = command[0], slot_of(command)
        if inside is not None:
            inside.places.append(place)
            inside.slot = slot if inside.slot is None else inside.slot
            inside = None if verb == "EXEC" else inside
            continue
        if verb in ("SCAN", "DBSIZE"):
            continue
        unit = _Unit([place], slot)
        units.append(unit)
        if verb == "MULTI":
            inside = unit
        elif slot is not None:
            before = slot
        elif before is not None:
            unit.slot, unit.has_key = before, False
        else:
            without_key.append(unit)
    along = next((unit.slot for unit in units if unit.slot is not None), None)
    for unit in without_key:
        unit.slot, unit.has_key = along, False
    return units


def _by_node(
    slots: SlotMap, units: Sequence[_Unit], replies: list[Reply]
) -> list[tuple[Node, bool, list[_Unit]]]:
    """Return one pipeline for each node. A unit whose slot has no owner gets its reply here."""
    groups: dict[tuple[Node, bool], list[_Unit]] = {}
    for unit in units:
        node = unit.asked or (None if unit.slot is None else slots.owner(unit.slot))
        if node is None and not unit.has_key:
            node = (slots.masters or slots.candidates(None))[0]
        if node is None:
            slots.stale = True
            for place in unit.places:
                replies[place] = ServerError("CLUSTERDOWN no node serves the slot of this key")
        else:
            groups.setdefault((node, unit.asked is not None), []).append(unit)
    # Always in the same order, so that no two threads wait for connections of each other's nodes.
    return [(node, asking, groups[node, asking]) for node, asking in sorted(groups)]


def _spared(commands: Sequence[Command], units: Sequence[_Unit]) -> set[_Unit]:
    """Return the units that a node is not sent: all WAIT but the last one, which confirms what is before the others as well."""
    return set([unit for unit in units if commands[unit.places[0]][0] in CONFIRMING][:-1])


def _words(
    commands: Sequence[Command],
    units: Sequence[_Unit],
    node: Node,
    asking: bool,
    slots: SlotMap,
    spared: AbstractSet[_Unit],
) -> list[Command]:
    words: list[Command] = []
    for unit in units:
        if unit in spared:
            continue
        if asking:
            words.append(_ASKING)
        words += [scan.command_for(commands[place], node, slots) for place in unit.places]
    return words


def _take(
    slots: SlotMap,
    commands: Sequence[Command],
    units: Sequence[_Unit],
    node: Node,
    asking: bool,
    answers: Sequence[Reply],
    replies: list[Reply],
    spared: AbstractSet[_Unit] = frozenset(),
) -> None:
    given = iter(answers)
    confirmation: Reply = None
    for unit in units:
        if unit in spared:
            continue
        if asking:
            next(given)
        unit.asked = None
        for place in unit.places:
            replies[place] = scan.reply_of(commands[place], next(given), node, slots)
            if type(replies[place]) is ServerError and replies[place].code == "CLUSTERDOWN":
                slots.stale = True
            if commands[place][0] in CONFIRMING:
                confirmation = replies[place]
    for unit in spared:
        unit.asked = None
        replies[unit.places[0]] = confirmation


def _redirected(
    slots: SlotMap, units: Sequence[_Unit], replies: Sequence[Reply]
) -> tuple[list[_Unit], Node | None]:
    """Return the units that another node has to carry out, and the node that the latest MOVED named."""
    again: list[_Unit] = []
    moved: Node | None = None
    for unit in units:
        if not unit.has_key and again and again[-1].slot == unit.slot:
            # It is about the command before it, such as WAIT.
            unit.asked = again[-1].asked
            again.append(unit)
            continue
        for place in unit.places:
            reply = replies[place]
            if type(reply) is not ServerError or reply.code not in ("MOVED", "ASK"):
                continue
            slot, node = _target(slots, reply)
            if reply.code == "ASK":
                unit.asked = node
            else:
                moved = node
                slots.move(slot, node)
            again.append(unit)
            break
    return again, moved


def _target(slots: SlotMap, redirection: ServerError) -> tuple[int, Node]:
    _, slot, address = redirection.message.split(" ")[:3]
    host, _, port = address.rpartition(":")
    owner = slots.owner(int(slot)) or Node(host, int(port))
    return int(slot), slots.named(host, int(port), owner)


def _reread(slots: SlotMap, moved: Node, units: Sequence[_Unit]) -> Steps[None]:
    """Read the slots again from a node that got one. What MOVED said holds, whether or not that succeeds."""
    owners = [(unit.slot, slots.owner(unit.slot)) for unit in units if unit.slot is not None]
    try:
        yield from read_slots(slots, moved)
    except ConnectionFailure:
        slots.stale = True
    for slot, node in owners:
        if node is not None:
            slots.move(slot, node)


def read_slots(slots: SlotMap, first: Node | None = None) -> Steps[None]:
    """Ask one node after the other for the slots until one answers. One caller at a time does so, others go on meanwhile.

    Raises:
        ConnectionFailure: none answers, and the slots were never read.
        ConfigurationError: a node is no node of a cluster.
    """
    if slots.reading and slots.known:
        return
    slots.reading = True
    error: ConnectionFailure | None = None
    try:
        for node in slots.candidates(first):
            try:
                (reply,) = yield Exchange(node, (_READ_SLOTS,), brief=True)
            except ConnectionFailure as failure:
                if failure.reason == "deadline":
                    raise
                error = error or failure
                continue
            if type(reply) is list:
                slots.learn(reply, node)
                return
            if "cluster support disabled" in reply.message:
                raise ConfigurationError(
                    f"{node.host}:{node.port} is no node of a Redis Cluster: open the store with a redis:// URL"
                )
            reason = "authentication" if reply.code in _DENIED else "connect"
            text = f"{node.host}:{node.port} does not name the masters of the cluster: {reply.message}"
            error = ConnectionFailure(reason, text, sent=False)
    finally:
        slots.reading = False
    if not slots.known:
        assert error is not None
        raise ConnectionFailure(error.reason, str(error), sent=False) from error


# -- scanning


def _scan(slots: SlotMap, command: Command) -> Steps[Reply]:
    tag = scanned_tag(command)
    if tag is not None:
        return (yield from _scan_slot(slots, command, tag))
    mark = int(command[1])
    place = scan.Everywhere(mark)
    if not mark:
        yield from read_slots(slots)
    if not mark or place.version != slots.version or place.position >= len(slots.masters):
        place = scan.Everywhere.beginning(slots)
    if not slots.masters:
        return ServerError("CLUSTERDOWN no node serves a slot")
    node = slots.masters[place.position]
    (reply,) = yield Exchange(node, (("SCAN", place.cursor, *command[2:]),))
    if type(reply) is not list:
        return reply
    place.cursor = int(reply[0])
    if not place.cursor:
        place.position += 1
        if place.position == len(slots.masters):
            yield from read_slots(slots)
            if place.version == slots.version:
                return [b"0", *reply[1:]]
            place = scan.Everywhere.beginning(slots)
    return [place.mark, *reply[1:]]


def _scan_slot(slots: SlotMap, command: Command, tag: str) -> Steps[Reply]:
    """Scan the keys of one slot. SCAN is not redirected, so a key that never exists asks whether the node has the slot."""
    slot = slot_of_tag(tag)
    for _ in range(_HOPS):
        node = slots.owner(slot)
        if node is None:
            slots.stale = True
            return ServerError("CLUSTERDOWN no node serves the slot of these keys")
        words = (("EXISTS", f"{tag}:@moving"), scan.command_for(command, node, slots))
        served, reply = yield Exchange(node, words)
        if type(served) is not ServerError:
            return scan.reply_of(command, reply, node, slots)
        if served.code == "ASK":
            return ServerError("TRYAGAIN the slot of these keys moves to another node")
        if served.code != "MOVED":
            return served
        unit = _Unit([0], slot)
        _, moved = _redirected(slots, [unit], [served])
        assert moved is not None
        yield from _reread(slots, moved, [unit])
    return ServerError("TRYAGAIN the nodes of the cluster do not agree yet on a slot")


def _count(slots: SlotMap) -> Steps[Reply]:
    """Return the number of keys of all masters."""
    total = 0
    for node in slots.masters:
        (reply,) = yield Exchange(node, (("DBSIZE",),))
        if type(reply) is not int:
            return reply
        total += reply
    return total


# -- commands whose keys are in several slots


def _crosses(command: Command, reply: Reply) -> bool:
    return command[0] in _WITH_MANY_KEYS and type(reply) is ServerError and reply.code == "CROSSSLOT"


def _split(slots: SlotMap, command: Command) -> Steps[Reply]:
    """Carry out a command with keys of several slots as one command for each."""
    parts = list(split_by_slot(command))
    answers = yield from deliver(slots, [part for _, part in parts])
    refusal = next((answer for answer in answers if type(answer) is ServerError), None)
    if refusal is not None:
        return refusal
    if command[0] != "MGET":
        return sum(answers)
    found: list[Reply] = [None] * (len(command) - 1)
    for (places, _), answer in zip(parts, answers, strict=True):
        for place, value in zip(places, answer, strict=True):
            found[place] = value
    return found
