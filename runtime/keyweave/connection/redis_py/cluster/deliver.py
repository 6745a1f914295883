"""What is sent to which node, and what a redirection or a lost node means. No IO: a channel carries out the steps.

A command that a node answers with MOVED or ASK was not carried out, so it is sent to the node that the answer names. All
other refusals, TRYAGAIN and CLUSTERDOWN among them, are replies: a flow decides whether and when it tries again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from keyweave.connection.redis_py.cluster import scan
from keyweave.connection.redis_py.cluster.everywhere import count_keys, scan_all
from keyweave.connection.redis_py.cluster.route import (
    CONFIRMING,
    by_owner,
    scanned_tag,
    slot_of,
    slot_of_tag,
    split_by_slot,
)
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.redis_py.cluster.steps import AT_ONCE, Exchange, Steps, read_slots
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError

_HOPS: Final = 8
"""Most redirections of one command in one exchange."""


_ASKING: Final[Command] = ("ASKING",)
_WITH_MANY_KEYS: Final = frozenset({"MGET", "UNLINK", "EXISTS"})
_NOT_CARRIED_OUT: Final = frozenset({"MOVED", "ASK", "CROSSSLOT"})
_UNANSWERED: Final = object()
"""Stands for the reply of a command that no node has answered yet."""


class _Unit:
    """Commands that go to one node together: one command, or a transaction.

    Attributes:
        places: of the commands in the pipeline.
        slot: of the keys.
        has_key: whether a command has a key. Others go to any master, or any node, if the slot has none.
        asked: the node that imports the slot and has the keys already.
        probe: for a SCAN of one slot, which is not redirected: a key that never exists, and is asked for before it.
    """

    __slots__ = ("asked", "has_key", "places", "probe", "slot")

    def __init__(self, places: list[int], slot: int | None, probe: str | None = None) -> None:
        self.places: Final = places
        self.slot = slot
        self.has_key = True
        self.asked: Node | None = None
        self.probe: Final = probe


def deliver(
    slots: SlotMap, commands: Sequence[Command], answered: list[Reply] | None = None
) -> Steps[list[Reply]]:
    """Send each command to the node that serves its key, and return the replies in order.

    Args:
        slots: the owners of the slots; it is read if it is not known, and read again when it turns out to be wrong.
        commands: the pipeline. A command without a key goes along with the first one that has a key.
        answered: the replies of a node that was sent the whole pipeline already.

    Raises:
        ConnectionFailure: a node cannot be used. It has the answers of the others.
        ConfigurationError: a node is no node of a cluster.
    """
    if answered is None and not slots.stale:
        shares = by_owner(commands, slots.tagged, slots.owner)
        if shares is not None and len(shares) <= AT_ONCE:
            # The fast path: each command has a key, and no node refuses one.
            answered = yield from _ask_owners(shares, commands)
            if ServerError not in map(type, answered):
                return answered
    return (yield from _deliver(slots, commands, answered))


def _deliver(slots: SlotMap, commands: Sequence[Command], answered: list[Reply] | None) -> Steps[list[Reply]]:
    """Do what `deliver` does for any pipeline. With `answered`, each command was carried out or refused once."""
    replies: list[Reply] = [_UNANSWERED] * len(commands) if answered is None else answered
    sent = answered is not None
    waiting = _units(commands)
    try:
        if slots.stale and answered is None:
            yield from read_slots(slots)
        for _ in range(_HOPS):
            if answered is None:
                yield from _ask(slots, commands, waiting, replies)
            elif any(type(reply) is ServerError and reply.code == "CLUSTERDOWN" for reply in answered):
                slots.stale = True
            answered = None
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
            if command[0] == "SCAN" and replies[place] is _UNANSWERED:
                replies[place] = yield from scan_all(slots, command)
            elif command[0] == "DBSIZE":
                replies[place] = yield from count_keys(slots)
            elif _crosses(command, replies[place]):
                replies[place] = yield from _split(slots, command)
    except ConnectionFailure as failure:
        found = {place: reply for place, reply in enumerate(replies) if _answers(reply)}
        if not found and not failure.answers and (failure.sent or not sent):
            raise
        raise ConnectionFailure(
            failure.reason, str(failure), sent=sent or failure.sent, answers=found
        ) from failure
    return replies


def _answers(reply: Reply) -> bool:
    """Return whether a reply says what became of the command."""
    if type(reply) is ServerError:
        return reply.code not in _NOT_CARRIED_OUT
    return reply is not _UNANSWERED


def _ask(
    slots: SlotMap, commands: Sequence[Command], units: Sequence[_Unit], replies: list[Reply]
) -> Steps[None]:
    """Send units to the nodes that serve their slots, at the same time, and take the replies.

    Raises:
        ConnectionFailure: a node cannot be used.
    """
    groups = _by_node(slots, units, replies)
    for start in range(0, len(groups), AT_ONCE):
        part = groups[start : start + AT_ONCE]
        spared = [_spared(commands, theirs) for _, _, theirs in part]
        exchanges = [
            Exchange(node, _words(commands, theirs, node, asking, slots, fewer))
            for (node, asking, theirs), fewer in zip(part, spared, strict=True)
        ]
        found = (yield exchanges) if len(exchanges) > 1 else [(yield exchanges[0])]
        for (node, asking, theirs), fewer, answers in zip(part, spared, found, strict=True):
            if not isinstance(answers, ConnectionFailure):
                _take(slots, commands, theirs, node, asking, answers, replies, fewer)
        _raise_first(found, sent=start > 0)


def _ask_owners(shares: dict[Node, list[int]], commands: Sequence[Command]) -> Steps[list[Reply]]:
    """Send each node its share of the commands, at the same time, and return the replies in the order of the commands.

    Raises:
        ConnectionFailure: a node cannot be used.
    """
    # Always in the same order, so that no two threads wait for connections of each other's nodes.
    nodes = sorted(shares)
    exchanges = [Exchange(node, [commands[place] for place in shares[node]]) for node in nodes]
    found = (yield exchanges) if len(exchanges) > 1 else [(yield exchanges[0])]
    replies: list[Reply] = [_UNANSWERED] * len(commands)
    for node, answers in zip(nodes, found, strict=True):
        if not isinstance(answers, ConnectionFailure):
            for place, answer in zip(shares[node], answers, strict=True):
                replies[place] = answer
    if ConnectionFailure in map(type, found):
        answered = {place: reply for place, reply in enumerate(replies) if _answers(reply)}
        _raise_first(found, sent=False, answers=answered)
    return replies


def _raise_first(
    found: Sequence[list[Reply] | ConnectionFailure],
    *,
    sent: bool,
    answers: Mapping[int, Reply] | None = None,
) -> None:
    """Raise the first failure of exchanges that were under way at the same time.

    Args:
        sent: whether something was sent before them.
        answers: of the nodes that did answer.
    """
    failures = [each for each in found if isinstance(each, ConnectionFailure)]
    if failures:
        first = failures[0]
        sent = sent or len(failures) < len(found) or any(each.sent for each in failures)
        raise ConnectionFailure(first.reason, str(first), sent=sent, answers=answers) from first


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
        if verb == "DBSIZE":
            continue
        if verb == "SCAN":
            tag = scanned_tag(command)
            if tag is not None:
                units.append(_Unit([place], slot_of_tag(tag), probe=f"{tag}:@moving"))
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
        if unit.probe is not None:
            words.append(("EXISTS", unit.probe))
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
        served = next(given) if unit.probe is not None else 0
        for place in unit.places:
            reply = scan.reply_of(commands[place], next(given), node, slots)
            replies[place] = _scanned(served, reply) if unit.probe is not None else reply
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


def _scanned(served: Reply, reply: Reply) -> Reply:
    """Return the reply to a SCAN of one slot, given that to the question whether the node has the slot."""
    if type(served) is not ServerError:
        return reply
    if served.code == "ASK":
        return ServerError("TRYAGAIN the slot of these keys moves to another node")
    return served


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
