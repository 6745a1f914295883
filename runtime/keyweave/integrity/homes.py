"""Comparing homes with rows, both ways: a row or unique value that its home does not find, and homes that find nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Command, Flow, Reply
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import Failures, each_partition
from keyweave.homes.home import Home, Homed, has_homes, is_located, read_home
from keyweave.homes.misplaced import is_misplaced
from keyweave.homes.vacant import VacantHomes, presence
from keyweave.integrity.drift import Drift, Kind, Report, Suspect
from keyweave.integrity.scan import Contents, KeyScan, Walk, each_scan
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey, text
from keyweave.store.context import Context

_BATCH = 500


class _There(NamedTuple):
    """A row or unique value that a partition has."""

    thing: Homed
    partition: Partition
    place: ParsedKey
    owner: str


def homeless(context: Context, locator: Locator, failures: Failures) -> Flow[list[Drift]]:
    """Return the rows and unique values that their homes do not find.

    Args:
        failures: gets the partitions that cannot be compared, and has those that are left out.
    """
    found: list[Drift] = []
    visit = partial(_compare, context, locator, found)
    yield from each_scan(context, visit, failures, foreign=False)
    return found


def _compare(context: Context, locator: Locator, found: list[Drift], scan: KeyScan) -> Flow[None]:
    """Add to `found` what the homes do not find among the keys of a scan."""
    walk = Walk(scan, locator)
    while not walk.done:
        places = yield from walk.keys()
        spread = [
            place
            for place in places
            if place.partition is not None and len(context.keyspace.holders(place.partition.group)) > 1
        ]
        there = [each for place in spread if (each := _row(place)) is not None]
        claims = [
            place
            for place in spread
            if place.what is KeyKind.CLAIMS
            and place.entity is not None
            and has_homes(place.entity, place.name)
        ]
        contents = Contents(context, claims)
        while not contents.done:
            for held in (yield from contents.read()):
                there += _values(held.place, held.pairs)
        for start in range(0, len(there), _BATCH):
            found += yield from _lost(context, there[start : start + _BATCH])


def _row(place: ParsedKey) -> _There | None:
    entity, partition = place.entity, place.partition
    if place.what is not KeyKind.DOCUMENT or entity is None or partition is None or is_located(entity):
        return None
    return _There(Homed(entity, "", place.rest), partition, place, place.rest)


def _values(place: ParsedKey, pairs: Sequence[bytes]) -> list[_There]:
    entity, partition = place.entity, place.partition
    assert entity is not None and partition is not None
    return [
        _There(Homed(entity, place.name, text(value)), partition, place, text(owner))
        for value, owner in zip(pairs[0::2], pairs[1::2], strict=True)
    ]


def _lost(context: Context, there: list[_There]) -> Flow[list[Drift]]:
    """Return drift of those whose homes do not name their partitions, also when they are read again.

    One that was there before and after its home was read, unchanged, was there when it was read.
    """
    suspects = [
        each for each, home in (yield from _homes(context, there)) if not _is_home(context, each, home)
    ]
    if not suspects:
        return []
    before = yield from ask(context, tuple([_state(each) for each in suspects]))
    again = yield from _homes(context, suspects)
    after = yield from ask(context, tuple([_state(each) for each in suspects]))
    found = []
    for (each, home), first, last in zip(again, before, after, strict=True):
        if not _is_home(context, each, home) and first is not None and _same(each, first, last):
            if (yield from _has_moved(context, each)):
                continue
            found.append((yield from _drift(context, each, home)))
    return found


def _has_moved(context: Context, each: _There) -> Flow[bool]:
    """Return whether a row has moved to the twin of its partition, and is not removed yet: a repartition is unfinished."""
    known = context.keyspace.doublings.get(each.partition.group)
    if known is None or each.partition.index not in known.moved:
        return False
    entity = each.thing.entity
    (document,) = yield from ask(context, (("GET", each.partition.document(entity.name, each.owner)),))
    try:
        record, _ = context.codec(entity).peek(document or b"")
    except CorruptDocumentError:
        return False
    return is_misplaced(context, each.partition, entity, record)


def _homes(context: Context, there: list[_There]) -> Flow[list[tuple[_There, Home | None]]]:
    commands: tuple[Command, ...] = tuple(
        [
            (
                "HGET",
                each.thing.at(context).homes(each.thing.entity.name, each.thing.unique),
                each.thing.value,
            )
            for each in there
        ]
    )
    replies = yield from ask(context, commands)
    homes = [read_home(reply) if reply is not None else None for reply in replies]
    return list(zip(there, homes, strict=True))


def _is_home(context: Context, each: _There, home: Home | None) -> bool:
    return home is not None and context.keyspace.holder(each.partition.group, home.place) is each.partition


def _state(each: _There) -> Command:
    if each.thing.unique:
        return ("HGET", each.place.key, each.thing.value)
    return ("GETRANGE", each.place.key, 0, HEAD_LENGTH - 1)


def _same(each: _There, first: Reply, last: Reply) -> bool:
    """Return whether two looks at a row or unique value were at the same one."""
    if each.thing.unique:
        return bool(first == last)
    before, after = read_head(first), read_head(last)
    return before is not None and after is not None and before.created == after.created


def _drift(context: Context, each: _There, home: Home | None) -> Flow[Drift]:
    other = False
    if home is not None:
        (present,) = yield from ask(context, (presence(context, each.thing, home),))
        other = bool(present)
    suspect = Suspect(each.place, each.owner, each.thing.value)
    key = each.thing.at(context).homes(each.thing.entity.name, each.thing.unique)
    kind = Kind.DOUBLE_ROW if other else Kind.MISSING_HOME
    return Drift(kind, each.place.label, suspect, key, each.thing.value)


def count_vacant(context: Context, report: Report, failures: Failures) -> Flow[None]:
    """Count the homes without a row or unique value in a report.

    Args:
        failures: gets the partitions that cannot be read, and has those that are left out.
    """

    def count(partition: Partition) -> Flow[None]:
        vacant = VacantHomes(context, [partition])
        while not vacant.done:
            found = yield from vacant.read()
            report.vacant += len(found)  # not in one statement: others count meanwhile

    yield from each_partition(context, context.keyspace.partitions(), count, failures)
