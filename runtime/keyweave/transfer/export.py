"""Exports every live document as its stored bytes, each as of one moment. The file is no snapshot of the whole store."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from functools import partial
from typing import Final

from keyweave.effects import Call, Flow
from keyweave.errors import CorruptDocumentError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import Failures
from keyweave.exchange.deadline import current_time
from keyweave.exchange.numbers import Numbers
from keyweave.homes.misplaced import is_misplaced
from keyweave.integrity.check import begin, ignore_progress, locator_for
from keyweave.integrity.scan import Batches, KeyScan, Walk, each_scan, scans_at_once
from keyweave.integrity.survey import Observer
from keyweave.keyspace.parse import KeyKind, ParsedKey
from keyweave.store.context import Context
from keyweave.transfer.file import Writer

EXPORT: Final = "export"


def export(
    context: Context,
    writer: Writer,
    write: Callable[[bytes], object],
    *,
    entities: Collection[str] | None = None,
    observe: Observer | None = None,
) -> Flow[None]:
    """Export the namespace, or some entities of it, as the bytes of a file. Rows past their deadline are left out.

    On a cluster the partitions are read side by side, so the file has their rows in turns. A partition that cannot be read ends the
    export at once: without its rows the file is of no use.

    Args:
        writer: formats and counts the lines.
        write: called with the bytes of the file, in order.
        entities: names of the entities; by default all.
        observe: called with the progress.

    Raises:
        ConfigurationError: there is no such entity.
        StoreUnavailableError: the server cannot be used, or rows moved to other partitions meanwhile; the bytes written so far have no
            last line, so they are no export.
    """
    locator = yield from locator_for(context, entities)
    progress = yield from begin(context, EXPORT)
    batches = Batches(scans_at_once(context))
    yield Call(
        write,
        writer.header(context.package, (yield from current_time(context, context.keyspace.partitions()[0]))),
    )

    def visit(scan: KeyScan) -> Flow[None]:
        walk = Walk(scan, locator)
        while not walk.done and not failures:
            places = yield from walk.keys()
            documents = [place for place in places if place.what is KeyKind.DOCUMENT]
            for batch in batches.of(documents):
                read = yield from _lines(context, writer, write, batch, batches)
                progress.documents += read
            progress.keys += len(places)
            yield Call(observe or ignore_progress, progress)

    failures, numbers = Failures(context), Numbers(context)
    yield from each_scan(context, visit, failures, foreign=False)
    failures.raise_first()
    yield from numbers.require_same("the export")
    yield Call(write, writer.end())


def _lines(
    context: Context,
    writer: Writer,
    write: Callable[[bytes], object],
    places: list[ParsedKey],
    batches: Batches,
) -> Flow[int]:
    (found,) = yield from ask(context, (("MGET", *[place.key for place in places]),))
    batches.learn(found)
    rows: defaultdict[str, list[bytes]] = defaultdict(list)
    for place, document in zip(places, found, strict=True):
        assert place.entity is not None and place.partition is not None
        if document is None:
            continue  # deleted, or of another type, which a check reports
        try:
            record, head = context.codec(place.entity).peek(document)
        except CorruptDocumentError:
            writer.left_out += 1
            continue
        known = context.keyspace.doublings.get(place.partition.group)
        if known is not None and is_misplaced(context, place.partition, place.entity, record):
            continue  # it has moved to another partition, and is exported from there
        if place.entity.key_of(record) != place.rest:
            writer.left_out += 1
        elif head.expires and head.expires <= (yield from current_time(context, place.partition)):
            writer.expired += 1
        else:
            rows[place.entity.name].append(document)
    for name, documents in rows.items():
        # Others may have called before this is: the digest has to see the lines in the order in which they are written.
        yield Call(partial(_put, writer, write), name, documents)
    return len(places)


def _put(writer: Writer, write: Callable[[bytes], object], name: str, documents: list[bytes]) -> object:
    return write(writer.lines(name, documents))
