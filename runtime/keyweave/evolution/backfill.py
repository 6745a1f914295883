"""Building indexes that are new to a namespace, beside writers: what a repair writes, then the word that it is done.

How many writes of older code an index has missed is read before the build. If there are more afterwards, the index
does not count as built, whoever says so: that is decided by the registry's numbers, not by a lock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from keyweave.effects import Command, Flow
from keyweave.errors import ConfigurationError, CorruptDocumentError
from keyweave.evolution.build import SHOWN, Build
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import deadline_passed
from keyweave.exchange.handshake import handshake, indexes_of, read_registries
from keyweave.integrity.check import begin, ignore_progress
from keyweave.integrity.repair import reindex
from keyweave.integrity.scan import Batches, Walk
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
) -> Flow[None]:
    """Build the indexes that must not be read yet. No document is touched; it may be interrupted and run again.

    Args:
        build: is told what was done, as it is done.
        only: indexes, as entity and name (`TaskState.by_status`); all by default. Indexes of one entity are built together.
        dry_run: only tell what would be built, and which values collide.
        observe: is told how far it is.

    Raises:
        ConfigurationError: there is no such index.
        StoreUnavailableError: the server cannot be used.
    """
    yield from handshake(context)
    wanted = _wanted(context, only)
    build.wanted = tuple(sorted(index.name for index in wanted.values()))
    if not wanted:
        return
    partitions = context.keyspace.partitions()
    before = yield from read_registries(context, partitions)
    uniques = {index.name for index in wanted.values() if isinstance(index.of, Unique)}
    if uniques:
        yield from _collisions(context, build, uniques, observe or ignore_progress)
    if build.collisions or dry_run:
        return
    everything = context.reading_unbuilt()
    entities = {index.entity.name for index in wanted.values()}
    yield from reindex(everything, build.repairs, entities=entities, observe=observe)
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
        if index.name in context.state.unbuilt and index.entity.name in entities
    }


def _declare(
    context: Context, build: Build, wanted: dict[str, Index], before: list[tuple[Partition, Registry]]
) -> Flow[None]:
    """Say what is built, as of the writes that were missed before the build began."""
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
    build.built = tuple(name for name in build.wanted if name not in context.state.unbuilt)


def _collisions(context: Context, build: Build, uniques: set[str], observe: Observer) -> Flow[None]:
    """Look for values that several live rows claim. Holds one id for each value: about 150 bytes a row."""
    entities = {name.partition(".")[0] for name in uniques}
    holders: dict[tuple[str, str], str] = {}
    twice: set[tuple[str, str]] = set()
    progress = yield from begin(context, "unique values")
    walk, batches = Walk(context, Locator(context.package, context.keyspace, entities)), Batches()
    while not walk.done:
        places = yield from walk.keys()
        rows = [place for place in places if place.what is KeyKind.DOCUMENT]
        for part in batches.of(rows):
            claims = yield from _claims(context, part, batches)
            for name, claim in claims:
                place = (f"{name}.{claim.unique}", claim.value)
                if place[0] not in uniques:
                    continue
                holder = holders.setdefault(place, claim.owner)
                if holder != claim.owner:
                    twice.add(place)
                    if len(build.colliding) < SHOWN:
                        build.colliding.append((place[0], holder, claim.owner))
        progress.keys += len(places)
        progress.documents += len(rows)
        observe(progress)
    for name, _ in twice:
        build.collisions[name] = build.collisions.get(name, 0) + 1


def _claims(
    context: Context, places: Iterable[ParsedKey], batches: Batches
) -> Flow[list[tuple[str, ClaimEntry]]]:
    """What live rows claim, with the entity's name. Rows that cannot be read claim nothing; the repair names them."""
    rows = list(places)
    (documents,) = yield from ask(context, (("MGET", *[place.key for place in rows]),))
    batches.learn(documents)
    found: list[tuple[str, ClaimEntry]] = []
    for place, document in zip(rows, documents, strict=True):
        if document is None or place.entity is None:
            continue
        try:
            record, head = context.codec(place.entity).peek(document)
        except CorruptDocumentError:
            continue
        if head.expires and (yield from deadline_passed(context, head.expires)):
            continue
        entries = place.entity.entries(record)
        found += [(place.entity.name, entry) for entry in entries if isinstance(entry, ClaimEntry)]
    return found
