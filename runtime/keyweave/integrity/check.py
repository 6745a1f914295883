"""Compares every document with every derived entry, both ways, using the same `index_entries` as writes do.

A survey finds the rows to inspect; a verification finds what is wrong with them. Memory is constant, and other processes
may write at the same time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from keyweave.document.head import HEAD_LENGTH, read_head
from keyweave.effects import Call, Command, Flow, ServerError
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, Failures
from keyweave.exchange.deadline import TIME, micros_of, read_clocks
from keyweave.exchange.handshake import handshake, read_registries
from keyweave.exchange.numbers import Numbers
from keyweave.integrity.drift import Drift, Kind, Report, Suspect
from keyweave.integrity.homes import count_vacant, homeless
from keyweave.integrity.inspect_entry import FreedRow
from keyweave.integrity.scan import WRONGTYPE, Batches, KeyScan, each_scan, scans_at_once
from keyweave.integrity.survey import Observer, Progress, RowSums, Survey
from keyweave.integrity.verify import Handler, Verification
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey
from keyweave.store.context import Context

SURVEY: Final = "survey"
VERIFY: Final = "verify"

_SIZE: Final[Command] = ("DBSIZE",)


def check(
    context: Context,
    *,
    entities: Collection[str] | None = None,
    observe: Observer | None = None,
    on_drift: Callable[[list[Drift]], object] | None = None,
    report: Report | None = None,
) -> Flow[Report]:
    """Compare the namespace, or some entities of it, and return a report.

    Safe while other processes write: reported drift was found by two inspections. On a cluster the partitions are compared side
    by side, and one that cannot be does not stop the others: the error comes at the end.

    Args:
        entities: names of the entities to compare; by default all, and the keys that belong to no entity.
        observe: called with the progress of the check.
        on_drift: called with the drifts, a bounded number at a time.
        report: gets what is found, also if the check ends with an error; by default a new one.

    Raises:
        ConfigurationError: there is no such entity.
        StoreUnavailableError: the server cannot be used, or rows moved to other partitions meanwhile.
    """
    report = report if report is not None else Report()

    def counted(found: list[Drift]) -> Flow[None]:
        for drift in found:
            report.add(drift)
        if on_drift is not None:
            yield Call(on_drift, found)

    locator = yield from locator_for(context, entities)
    failures, numbers = Failures(context), Numbers(context)
    yield from walk(context, locator, report, observe or ignore_progress, counted, failures)
    failures.raise_first()
    yield from numbers.require_same("the check")
    return report


def walk(
    context: Context,
    locator: Locator,
    report: Report,
    observe: Observer,
    handle: Handler,
    failures: Failures,
    at_once: int = AT_ONCE,
) -> Flow[set[FreedRow]]:
    """Survey and verify. Calls `handle` with confirmed drift, and sets in the report how much was read.

    Args:
        failures: gets the partitions that cannot be compared; the others are nevertheless.
        at_once: most partitions of one master that are read at the same time, in the passes that the observer sees.

    Returns:
        The rows that the native TTL freed and no sweep has removed yet.
    """
    yield from read_clocks(context)  # which native TTLs are right depends on it
    freed: set[FreedRow] = set()
    batches = Batches(scans_at_once(context))
    survey = Survey(context, locator, (yield from begin(context, SURVEY)), observe, batches)
    try:
        yield from survey.run(failures, at_once)
    finally:
        progress = survey.progress
        report.documents, report.entries = progress.documents, progress.entries
        report.set_aside, report.others = survey.set_aside, survey.others
    report.unbuilt = tuple(sorted(context.unbuilt))
    report.unfinished = tuple(
        f"repartition of the group {group} from {each.half} to {each.target} is unfinished: run keyweave repartition "
        f"--group {group} --to {each.target}"
        for group, each in sorted(context.keyspace.doublings.items())
    )
    if survey.sums.close():
        # A master that is gone would say neither its time nor how many keys it has.
        progress = Progress(VERIFY, total=progress.total) if failures else (yield from begin(context, VERIFY))

        def verify(scan: KeyScan) -> Flow[None]:
            sums = survey.sums
            return Verification(context, locator, progress, observe, sums, handle, batches, freed).run(scan)

        yield from each_scan(context, verify, failures, at_once=at_once)
    report.unswept = len(freed)
    if context.router is not None and not failures.of_master:  # the homes of a row may be anywhere
        lost = yield from homeless(context, locator, failures)
        if lost:
            yield from handle(lost)
        report.vacant = 0
        yield from count_vacant(context, report, failures)
    if not locator.limited:
        late = yield from _clocks(context, survey.sums, failures)
        if late:
            yield from handle(late)
    return freed


def locator_for(context: Context, entities: Collection[str] | None) -> Flow[Locator]:
    """Return the locator that selects and parses the keys of some entities, by default of all.

    Raises:
        ConfigurationError: there is no such entity.
    """
    unknown = sorted(set(entities or ()) - context.package.entities.keys())
    if unknown:
        known = ", ".join(sorted(context.package.entities))
        raise ConfigurationError(f"there is no entity {unknown[0]!r} (there are: {known})")
    if context.unbuilt:
        yield from handshake(context)  # a build may have completed since the store was opened
    registries = yield from read_registries(context, context.keyspace.partitions())
    others = {stored for registry in registries for stored in registry.indexes}
    return Locator(
        context.package, context.keyspace, entities or None, unbuilt=context.unbuilt, others=others
    )


def begin(context: Context, stage: str) -> Flow[Progress]:
    """Start a walk: set the store's clock, and return its progress with the number of keys in the database."""
    if context.clustered:
        yield from read_clocks(context)
        (total,) = yield from ask(context, (_SIZE,))
    else:
        time, total = yield from ask(context, (TIME, _SIZE))
        context.state.clock.set(micros_of(time))
    return Progress(stage, total=int(total))


def _clocks(context: Context, sums: RowSums, failures: Failures) -> Flow[list[Drift]]:
    """Return drift of the revision clocks: unreadable, or behind the highest revision of a document.

    A clock is read after the documents, so a revision issued meanwhile is no drift. It is read together with the document
    of the highest revision: a server that restarted during the check may have lost both.
    """
    partitions = [each for each in context.keyspace.partitions() if each not in failures]
    commands: list[Command] = []
    for partition in partitions:
        _, document = sums.highest.get(partition.tag, (0, partition.clock))
        commands += [
            ("MULTI",),
            ("GET", partition.clock),
            ("GETRANGE", document, 0, HEAD_LENGTH - 1),
            ("EXEC",),
        ]
    replies = yield from ask(context, tuple(commands), tolerated=WRONGTYPE)
    found = []
    for partition, (reply, document) in zip(partitions, replies[3::4], strict=True):
        highest, _ = sums.highest.get(partition.tag, (0, ""))
        head = read_head(document) if isinstance(document, bytes) else None
        suspect = Suspect(ParsedKey(partition.clock, KeyKind.CLOCK, partition), value=str(highest))
        if isinstance(reply, ServerError) or (reply is not None and not reply.split(b" ")[0].isdigit()):
            found.append(Drift(Kind.BAD_CLOCK, suspect.place.label, suspect, partition.clock))
        elif int((reply or b"0").split(b" ")[0]) < highest and head is not None and head.revision == highest:
            found.append(Drift(Kind.CLOCK_BEHIND, suspect.place.label, suspect, partition.clock))
    return found


def ignore_progress(progress: Progress) -> None:
    """Ignore the progress of a walk: the default observer."""
