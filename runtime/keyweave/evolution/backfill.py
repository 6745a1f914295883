"""Builds indexes that are new to a namespace while applications write: a repair writes them, the registry declares them.

The registry counts the writes of older code that an index has missed. The count is read before the build. If it is higher
afterwards, the index does not count as built, even if it is declared so: the numbers decide this, not a lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from keyweave.effects import Call, Command, Flow
from keyweave.errors import ConfigurationError, CorruptDocumentError
from keyweave.evolution.build import SHOWN, Build
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, Failures
from keyweave.exchange.deadline import deadline_passed
from keyweave.exchange.handshake import handshake, indexes_of, read_registries
from keyweave.exchange.outdated import refuse_while_moving
from keyweave.integrity.check import begin, ignore_progress
from keyweave.integrity.repair import reindex
from keyweave.integrity.scan import Batches, KeyScan, Walk, each_scan, scans_at_once
from keyweave.integrity.survey import Observer
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey
from keyweave.model.entity import Index, Unique
from keyweave.model.entry import ClaimEntry
from keyweave.store.context import Context
from keyweave.store.registry import Registry, index_field, state_text


def backfill(
    context: Context,
    build: Build,
    *,
    only: Collection[str] | None = None,
    dry_run: bool = False,
    observe: Observer | None = None,
    before: list[Registry] | None = None,
    at_once: int = AT_ONCE,
) -> Flow[None]:
    """Build the indexes that are not built yet. Documents never change; the flow may be interrupted and run again.

    Args:
        build: updated as work is done.
        only: indexes, as entity and name (`TaskState.by_status`); by default all. Indexes of one entity are built together.
        dry_run: only report what would be built, and which values collide.
        observe: called with the progress.
        before: the registries, read after the handshake and before the names of keys, where the state has these.
        at_once: most partitions of one master that are worked on at the same time.

    Raises:
        ConfigurationError: there is no such index.
        StoreUnavailableError: the server cannot be used.
    """
    yield from handshake(context)
    refuse_while_moving(context, "backfill")
    wanted = _wanted(context, only)
    build.wanted = tuple(sorted(index.name for index in wanted.values()))
    if not wanted:
        return
    partitions = context.keyspace.partitions()
    if before is None:
        before = yield from read_registries(context, partitions)
    uniques = {index.name for index in wanted.values() if isinstance(index.of, Unique)}
    if uniques:
        yield from _collisions(context, build, uniques, observe or ignore_progress, at_once)
    if build.collisions or dry_run:
        return
    everything = context.reading_unbuilt()
    entities = {index.entity.name for index in wanted.values()}
    yield from reindex(everything, build.repairs, entities=entities, observe=observe, at_once=at_once)
    yield from _declare(context, build, wanted, list(zip(partitions, before, strict=True)))


def _wanted(context: Context, only: Collection[str] | None) -> dict[str, Index]:
    known = {index.name for index in context.package.indexes.values()}
    unknown = sorted(set(only or ()) - known)
    if unknown:
        raise ConfigurationError(f"there is no index {unknown[0]!r} (there are: {', '.join(sorted(known))})")
    entities = {name.partition(".")[0] for name in only or known}
    return {
        stored: index
        for stored, index in context.package.indexes.items()
        if index.name in context.unbuilt and index.entity.name in entities
    }


def _declare(
    context: Context, build: Build, wanted: dict[str, Index], before: list[tuple[Partition, Registry]]
) -> Flow[None]:
    """Declare the indexes built, with the number of writes that they had missed before the build began."""
    stuck = {drift.where for drift in (*build.repairs.left, *build.repairs.postponed)}
    commands: list[Command] = []
    for partition, registry in before:
        for stored in indexes_of(context, partition).keys() & wanted.keys():
            index = wanted[stored]
            if index.name not in stuck:
                state = state_text(index, built=True, missed=registry.missed(stored))
                commands.append(("HSET", partition.schema, index_field(stored), state))
    if commands:
        yield from ask(context, tuple(commands))
    after = yield from read_registries(context, [partition for partition, _ in before])
    for (partition, registry), now in zip(before, after, strict=True):
        for stored in indexes_of(context, partition).keys() & wanted.keys():
            more = now.missed(stored) - registry.missed(stored)
            if more:
                build.passed[wanted[stored].name] = more
    yield from handshake(context)
    build.built = tuple(name for name in build.wanted if name not in context.unbuilt)


def _collisions(
    context: Context, build: Build, uniques: set[str], observe: Observer, at_once: int
) -> Flow[None]:
    """Find values that several live rows claim. Keeps one id per value in memory: about 150 bytes a row."""
    entities = {name.partition(".")[0] for name in uniques}
    holders: dict[tuple[str, str], str] = {}
    colliding: set[tuple[str, str]] = set()
    progress = yield from begin(context, "unique values")
    locator, batches = Locator(context.package, context.keyspace, entities), Batches(scans_at_once(context))

    def note(name: str, claim: ClaimEntry) -> None:
        place = (f"{name}.{claim.unique}", claim.value)
        if place[0] not in uniques:
            return
        holder = holders.setdefault(place, claim.owner)
        if holder != claim.owner:
            colliding.add(place)
            if len(build.colliding) < SHOWN:
                build.colliding.append((place[0], holder, claim.owner))

    def visit(scan: KeyScan) -> Flow[None]:
        walk = Walk(scan, locator)
        while not walk.done:
            places = yield from walk.keys()
            rows = [place for place in places if place.what is KeyKind.DOCUMENT]
            for part in batches.of(rows):
                for name, claim in (yield from _claims(context, part, batches)):
                    note(name, claim)
            progress.keys += len(places)
            progress.documents += len(rows)
            yield Call(observe, progress)

    failures = Failures(context)
    yield from each_scan(context, visit, failures, foreign=False, at_once=at_once)
    failures.raise_first()
    for name, _ in colliding:
        build.collisions[name] = build.collisions.get(name, 0) + 1


def _claims(
    context: Context, places: Iterable[ParsedKey], batches: Batches
) -> Flow[list[tuple[str, ClaimEntry]]]:
    """Return the claims of live rows, with the entity's name. Unreadable rows have none; the repair reports such rows."""
    rows = list(places)
    (documents,) = yield from ask(context, (("MGET", *[place.key for place in rows]),))
    batches.learn(documents)
    found: list[tuple[str, ClaimEntry]] = []
    for place, document in zip(rows, documents, strict=True):
        if document is None or place.entity is None or place.partition is None:
            continue
        try:
            record, head = context.codec(place.entity).peek(document)
        except CorruptDocumentError:
            continue
        if head.expires and (yield from deadline_passed(context, place.partition, head.expires)):
            continue
        entries = place.entity.entries(record)
        found += [(place.entity.name, entry) for entry in entries if isinstance(entry, ClaimEntry)]
    return found
