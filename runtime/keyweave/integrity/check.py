"""Checking: every document against every derived entry, both ways, by the same `index_entries` that writing uses.

A survey finds where to look, a verification what is wrong there. Memory is constant, and others may write.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from keyweave.effects import Call, Flow, ServerError
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import micros_of
from keyweave.exchange.handshake import handshake, read_registries
from keyweave.integrity.drift import Drift, Kind, Report, Suspect
from keyweave.integrity.scan import WRONGTYPE
from keyweave.integrity.survey import Ledger, Observer, Progress, Survey
from keyweave.integrity.verify import Handler, Verification
from keyweave.keyspace.parse import KeyKind, Locator, ParsedKey
from keyweave.store.context import Context

SURVEY: Final = "survey"
VERIFY: Final = "verify"


def check(
    context: Context,
    *,
    entities: Collection[str] | None = None,
    observe: Observer | None = None,
    see: Callable[[list[Drift]], object] | None = None,
) -> Flow[Report]:
    """Compare the namespace, or some entities of it. Safe while others write: what is reported was seen twice.

    Args:
        entities: names of the entities to compare; all by default, and with them the keys that belong to none.
        observe: is told how far the check is.
        see: is given the findings, a bounded number at a time.

    Raises:
        ConfigurationError: there is no such entity.
        StoreUnavailableError: the server cannot be used.
    """
    report = Report()

    def counted(found: list[Drift]) -> Flow[None]:
        for finding in found:
            report.add(finding)
        if see is not None:
            yield Call(see, found)

    locator = yield from locator_for(context, entities)
    yield from walk(context, locator, report, observe or unobserved, counted)
    return report


def walk(
    context: Context, locator: Locator, report: Report, observe: Observer, handle: Handler
) -> Flow[None]:
    """Survey and verify; `handle` is given what was found twice, the report is told how much was read."""
    survey = Survey(context, locator, (yield from begin(context, SURVEY)), observe)
    yield from survey.run()
    progress = survey.progress
    report.documents, report.entries = progress.documents, progress.entries
    report.set_aside, report.others = survey.set_aside, survey.others
    report.unbuilt = tuple(sorted(context.state.unbuilt))
    if survey.ledger.close():
        progress = yield from begin(context, VERIFY)
        verification = Verification(
            context, locator, progress, observe, survey.ledger, handle, survey.portions
        )
        yield from verification.run()
    if not locator.limited:
        late = yield from _clocks(context, survey.ledger)
        if late:
            yield from handle(late)


def locator_for(context: Context, entities: Collection[str] | None) -> Flow[Locator]:
    """What is of interest.

    Raises:
        ConfigurationError: there is no such entity.
    """
    unknown = sorted(set(entities or ()) - context.package.entities.keys())
    if unknown:
        known = ", ".join(sorted(context.package.entities))
        raise ConfigurationError(f"there is no entity {unknown[0]!r} (there are: {known})")
    if context.state.unbuilt:
        yield from handshake(context)  # a build may have ended meanwhile
    registries = yield from read_registries(context, context.keyspace.partitions())
    others = {stored for registry in registries for stored in registry.indexes}
    return Locator(
        context.package, context.keyspace, entities or None, unbuilt=context.state.unbuilt, others=others
    )


def begin(context: Context, stage: str) -> Flow[Progress]:
    """The start of a walk: the server's time, and how many keys there are."""
    time, total = yield from ask(context, (("TIME",), ("DBSIZE",)))
    context.state.clock.set(micros_of(time))
    return Progress(stage, total=int(total))


def _clocks(context: Context, ledger: Ledger) -> Flow[list[Drift]]:
    """Clocks that are behind a revision which they have handed out. A clock is read after the documents."""
    partitions = context.keyspace.partitions()
    replies = yield from ask(
        context, tuple(("GET", partition.clock) for partition in partitions), tolerated=WRONGTYPE
    )
    found = []
    for partition, reply in zip(partitions, replies, strict=True):
        highest = ledger.highest.get(partition.tag, 0)
        suspect = Suspect(ParsedKey(partition.clock, KeyKind.CLOCK, partition), value=str(highest))
        if isinstance(reply, ServerError) or (reply is not None and not reply.isdigit()):
            found.append(Drift(Kind.BAD_CLOCK, suspect.place.label, suspect, partition.clock))
        elif int(reply or 0) < highest:
            found.append(Drift(Kind.CLOCK_BEHIND, suspect.place.label, suspect, partition.clock))
    return found


def unobserved(progress: Progress) -> None:
    """Nobody wants to know."""
