"""Retires what a schema change has left behind: indexes that no code keeps, and old names of fields in documents."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from keyweave.changes.answer import Applied
from keyweave.changes.plan import Plan
from keyweave.document.rewrite import Rewrite, rewritten
from keyweave.effects import Call, Command, Flow
from keyweave.errors import ConfigurationError, CorruptDocumentError
from keyweave.exchange.apply import apply
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, Failures
from keyweave.exchange.handshake import read_registries
from keyweave.exchange.outdated import refuse_while_moving
from keyweave.integrity.check import begin, ignore_progress, locator_for
from keyweave.integrity.scan import Batches, KeyScan, Walk, each_scan, scans_at_once
from keyweave.integrity.survey import Observer
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey
from keyweave.model.entity import Entity
from keyweave.model.record import Stored, memory_of
from keyweave.store.context import Context
from keyweave.store.registry import index_field


def drop_index(
    context: Context, stored: str, *, observe: Observer | None = None, at_once: int = AT_ONCE
) -> Flow[int]:
    """Delete the keys of an index that this code does not keep, and its entry in the registry.

    Args:
        stored: its stored name: `TaskState.by_agent`, or `TaskState.by_agent.2` for a later generation.
        observe: called with the progress.
        at_once: most partitions of one master that are worked on at the same time.

    Returns:
        The number of deleted keys.

    Raises:
        ConfigurationError: this code keeps the index, or the namespace has no such index.
    """
    if stored in context.package.indexes:
        raise ConfigurationError(f"{stored}: this code keeps the index; remove it from the schema first")
    partitions = context.keyspace.partitions()
    registries = yield from read_registries(context, partitions)
    holding = [
        partition
        for partition, registry in zip(partitions, registries, strict=True)
        if stored in registry.indexes
    ]
    if not holding:
        known = {
            name for registry in registries for name in registry.indexes
        } - context.package.indexes.keys()
        raise ConfigurationError(
            f"{stored}: this namespace has no such index "
            f"(indexes that this code does not keep: {', '.join(sorted(known)) or 'none'})"
        )
    others = {name for registry in registries for name in registry.indexes}
    locator, dropped = Locator(context.package, context.keyspace, others=others), 0
    progress = yield from begin(context, "drop")

    def visit(scan: KeyScan) -> Flow[None]:
        nonlocal dropped
        walk = Walk(scan, locator)
        while not walk.done:
            places = yield from walk.keys()
            keys = [place.key for place in places if place.what is KeyKind.OTHER and place.label == stored]
            if keys:
                (gone,) = yield from ask(context, (("UNLINK", *keys),))
                dropped += int(gone)
            progress.keys += len(places)
            yield Call(observe or ignore_progress, progress)

    failures = Failures(context)
    yield from each_scan(context, visit, failures, foreign=False, at_once=at_once)
    failures.raise_first()
    commands: tuple[Command, ...] = tuple(
        ("HDEL", partition.schema, index_field(stored)) for partition in holding
    )
    yield from ask(context, commands)
    return dropped


def rewrite_documents(
    context: Context,
    rewrite: Rewrite,
    *,
    entities: Collection[str] | None = None,
    purge: Collection[str] = (),
    dry_run: bool = False,
    observe: Observer | None = None,
    at_once: int = AT_ONCE,
) -> Flow[None]:
    """Rewrite documents as this schema writes them: renamed fields under their new names, without the names in `purge`.

    Revision, creation time and deadline stay as they are. Each rewrite is guarded by the document's revision.

    Args:
        rewrite: updated as work is done.
        entities: names of the entities; by default all.
        purge: names of removed fields, to be deleted permanently.
        dry_run: only report what would be written.
        observe: called with the progress.
        at_once: most partitions of one master that are worked on at the same time.

    Raises:
        ConfigurationError: there is no such entity, or a name in `purge` is a field of the schema.
    """
    refuse_while_moving(context, "a rewrite of documents")
    locator = yield from locator_for(context, entities)
    chosen = [entity for entity in context.package.entities.values() if locator.wanted(entity)]
    for entity in chosen:
        kept = sorted(set(purge) & entity.known)
        if kept:
            raise ConfigurationError(
                f"{entity.name}.{kept[0]} is a field of this schema; it cannot be purged"
            )
    batches = Batches(scans_at_once(context))
    progress = yield from begin(context, "documents")

    def visit(scan: KeyScan) -> Flow[None]:
        walk, gone = Walk(scan, locator), frozenset(purge)
        while not walk.done:
            places = yield from walk.keys()
            rows = [place for place in places if place.what is KeyKind.DOCUMENT]
            for part in batches.of(rows):
                (documents,) = yield from ask(context, (("MGET", *[place.key for place in part]),))
                batches.learn(documents)
                for place, document in zip(part, documents, strict=True):
                    if document is not None:
                        yield from _rewrite(context, rewrite, place, document, gone, dry_run=dry_run)
            progress.keys += len(places)
            progress.documents += len(rows)
            yield Call(observe or ignore_progress, progress)

    failures = Failures(context)
    yield from each_scan(context, visit, failures, foreign=False, at_once=at_once)
    failures.raise_first()


def _rewrite(
    context: Context,
    rewrite: Rewrite,
    place: ParsedKey,
    document: bytes,
    purge: frozenset[str],
    *,
    dry_run: bool,
) -> Flow[None]:
    entity, partition = place.entity, place.partition
    assert entity is not None and partition is not None
    rewrite.read += 1
    codec = context.codec(entity)
    try:
        record = codec.load(document)
        body = rewritten(document, entity.renamed, purge)
    except (CorruptDocumentError, msgspec.MsgspecError, RecursionError):
        rewrite.unreadable += 1
        return
    if body is None:
        return
    stored = memory_of(record)
    assert stored is not None
    done = dry_run or (yield from _restore(context, partition, entity, stored, body))
    rewrite.written += done
    rewrite.overtaken += not done


def _restore(
    context: Context, partition: Partition, entity: Entity[Any], stored: Stored, body: bytes
) -> Flow[bool]:
    codec = context.codec(entity)
    entries = codec.entries_of(stored)
    key: str = entity.key_of(codec.snapshot_of(stored))
    plan = Plan(partition, context.state.ledger.new_op())
    plan.guard_unchanged(entity, key, stored.revision)
    plan.restore(entity, key, (stored.revision, stored.created, stored.expires), body, entries, entries)
    outcome = yield from apply(context, plan, repeatable=True)
    return isinstance(outcome, Applied)
