"""Checking: every document against every index entry, both ways, by the same `index_entries` that writing uses."""

from __future__ import annotations

from typing import Any, Final

from keyweave.checking import Report
from keyweave.context import Context
from keyweave.effects import Command, Flow
from keyweave.entity import Entity
from keyweave.entry import CREATED, REVISION, ViewEntry
from keyweave.flows.asking import ask
from keyweave.keyspace import Partition
from keyweave.record import Stored, memory_of

_BATCH: Final = 500


def check(context: Context) -> Flow[Report]:
    """Compare the whole namespace. What it reports may be passing while others write.

    Raises:
        CorruptDocumentError: a document cannot be read.
    """
    report = Report()
    for partition in context.keyspace.partitions():
        expected: dict[str, dict[str, Any]] = {}
        keys = yield from _keys(context, partition)
        for entity in context.package.entities.values():
            if entity.group == partition.group:
                yield from _expect(context, partition, entity, keys, expected, report)
        yield from _compare(context, partition, keys, expected, report)
    return report


def _keys(context: Context, partition: Partition) -> Flow[dict[str, str]]:
    """Every key of the partition with its type."""
    found: dict[str, str] = {}
    cursor: bytes | int = 0
    pattern = context.keyspace.pattern()
    while True:
        ((cursor, names),) = yield from ask(context, (("SCAN", cursor, "MATCH", pattern, "COUNT", _BATCH),))
        own = [name.decode() for name in names if name.decode().startswith(partition.tag)]
        kinds = yield from _pipeline(context, [("TYPE", name) for name in own])
        found |= {name: kind.decode() for name, kind in zip(own, kinds, strict=True) if kind != b"none"}
        if int(cursor) == 0:
            return found


def _expect(
    context: Context,
    partition: Partition,
    entity: Entity[Any],
    keys: dict[str, str],
    expected: dict[str, dict[str, Any]],
    report: Report,
) -> Flow[None]:
    prefix = partition.documents(entity.name)
    codec = context.codec(entity)
    own = [name for name, kind in keys.items() if name.startswith(prefix) and kind == "string"]
    for start in range(0, len(own), _BATCH):
        names = own[start : start + _BATCH]
        (documents,) = yield from ask(context, (("MGET", *names),))
        for name, document in zip(names, documents, strict=True):
            if document is None:
                continue
            report.documents += 1
            record = codec.load(document)
            stored = memory_of(record)
            assert stored is not None
            if getattr(record, entity.key) != name[len(prefix) :]:
                report.drift[f"{entity.name}: document under the wrong key"] += 1
            for entry in entity.entries(record):
                if isinstance(entry, ViewEntry):
                    place = partition.view(entity.name, entry.view, entry.values)
                    expected.setdefault(place, {})[entry.member] = _score(entry, stored)
                else:
                    expected.setdefault(partition.claims(entity.name, entry.unique), {})[
                        entry.value
                    ] = entry.owner
            if stored.expires:
                member = partition.expiring(entity.name, name[len(prefix) :])
                expected.setdefault(partition.expiry, {})[member] = float(stored.expires)


def _score(entry: ViewEntry, stored: Stored) -> float:
    if entry.score == CREATED:
        return float(stored.created)
    return float(stored.revision if entry.score == REVISION else entry.score)


def _compare(
    context: Context,
    partition: Partition,
    keys: dict[str, str],
    expected: dict[str, dict[str, Any]],
    report: Report,
) -> Flow[None]:
    documents = tuple(partition.documents(name) for name in context.package.entities)
    special = f"{partition.tag}@"
    for place in sorted({*keys, *expected}):
        kind = keys.get(place)
        if place.startswith(documents) or (place.startswith(special) and place != partition.expiry):
            continue
        name = place[len(partition.tag) :].split(":", 1)[0]
        wanted = expected.get(place, {})
        if kind not in ("zset", "hash", None):
            report.drift[f"{name}: wrong type"] += 1
            continue
        actual = yield from _read(context, place, kind)
        report.entries += len(wanted)
        for member in sorted({*wanted, *actual}):
            if member not in actual:
                report.drift[f"{name}: missing entry"] += 1
            elif member not in wanted:
                report.drift[f"{name}: entry without a document"] += 1
            elif wanted[member] != actual[member]:
                report.drift[f"{name}: wrong {'score' if kind == 'zset' else 'owner'}"] += 1


def _read(context: Context, place: str, kind: str | None) -> Flow[dict[str, Any]]:
    found: dict[str, Any] = {}
    if kind is None:
        return found
    command, cursor = ("ZSCAN" if kind == "zset" else "HSCAN"), 0
    while True:
        ((following, flat),) = yield from ask(context, ((command, place, cursor, "COUNT", _BATCH),))
        for index in range(0, len(flat), 2):
            value = flat[index + 1].decode()
            found[flat[index].decode()] = float(value) if kind == "zset" else value
        cursor = int(following)
        if cursor == 0:
            return found


def _pipeline(context: Context, commands: list[Command]) -> Flow[list[Any]]:
    if not commands:
        return []
    return (yield from ask(context, tuple(commands)))
