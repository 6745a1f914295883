"""Inspects index entries: each entry and the row that it refers to, in one atomic read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from keyweave.effects import Command, Flow, Reply, ServerError
from keyweave.exchange.ask import ask
from keyweave.exchange.deadline import micros_of
from keyweave.integrity.drift import Drift, Kind, Suspect
from keyweave.integrity.inspect_row import partition_of, read_row, was_freed
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import KeyKind, text, word
from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave.store.context import Context

_MAX_FREED: Final = 10_000
"""Maximum number of freed rows that a check counts, so that its memory does not depend on their number."""

FreedRow: TypeAlias = tuple[Partition, str, str]
"""Partition, entity name and key of a row that is past its deadline and has no document."""


def trace_entries(context: Context, suspects: Sequence[Suspect], freed: set[FreedRow]) -> Flow[list[Drift]]:
    """Return the entries that their rows do not imply. Those of unreadable rows are left out: a check reports such rows.

    The entries of a row that the native TTL freed are not drift, because a sweep removes them. The row is added to `freed`.
    """
    suspects = yield from _unimplied(context, suspects)
    rows = _by_row(context, suspects)
    commands: list[Command] = []
    ends = []
    for document, entries in rows.items():
        commands += [
            ("MULTI",),
            ("GET", word(document)),
            _deadline_command(context, entries[0]),
            ("TIME",),
            *[_entry_command(context, each) for each in entries],
            ("EXEC",),
        ]
        ends.append(len(commands) - 1)
    replies = (yield from ask(context, tuple(commands))) if commands else []
    found: list[Drift] = []
    for entries, end in zip(rows.values(), ends, strict=True):
        document, deadline, time, *answers = replies[end]
        implied = _implied(context, entries[0], document)
        if implied is None:
            continue
        if document is None and was_freed(context, deadline, micros_of(time)):
            if len(freed) < _MAX_FREED:
                freed.add((partition_of(entries[0]), _entity(context, entries[0]).name, entries[0].row))
            continue
        for suspect, answer in zip(entries, answers, strict=True):
            drift = _judge(context, suspect, answer, implied, gone=document is None)
            if drift is not None:
                found.append(drift)
    return found


def _by_row(context: Context, suspects: Iterable[Suspect]) -> dict[str, list[Suspect]]:
    rows: defaultdict[str, list[Suspect]] = defaultdict(list)
    for suspect in suspects:
        entity = _entity(context, suspect)
        rows[partition_of(suspect).document(entity.name, suspect.row)].append(suspect)
    return rows


def _unimplied(context: Context, suspects: Sequence[Suspect]) -> Flow[list[Suspect]]:
    """Return the suspects that their row's document does not imply. Most are implied, and need no atomic read."""
    rows = _by_row(context, suspects)
    (documents,) = yield from ask(context, (("MGET", *map(word, rows)),))
    left: list[Suspect] = []
    for entries, document in zip(rows.values(), documents, strict=True):
        implied = _implied(context, entries[0], document)
        left += [each for each in entries if implied is None or _place(each) not in implied]
    return left


def _deadline_command(context: Context, suspect: Suspect) -> Command:
    partition = partition_of(suspect)
    member = partition.expiring(_entity(context, suspect).name, suspect.row)
    return ("ZSCORE", partition.expiry, word(member))


def _entry_command(context: Context, suspect: Suspect) -> Command:
    place = suspect.place
    if place.what is KeyKind.CLAIMS:
        return ("HGET", place.key, word(suspect.value))
    if place.what is KeyKind.EXPIRY:
        return _deadline_command(context, suspect)
    return ("ZSCORE", place.key, word(suspect.value or suspect.row))


def _place(suspect: Suspect) -> tuple[str, str]:
    return suspect.place.key, "" if suspect.place.what is KeyKind.EXPIRY else suspect.value


def _implied(context: Context, suspect: Suspect, document: Reply) -> set[tuple[str, str]] | None:
    """Return where a row's entries belong: key, and value as in `Suspect`. None for a row that cannot be read."""
    if document is None:
        return set()
    entity, partition = _entity(context, suspect), partition_of(suspect)
    seen = read_row(context, entity, document)
    if seen is None or entity.key_of(seen.record) != suspect.row:
        return None
    places = {
        (
            (
                partition.view(entity.name, entry.view, entry.values),
                entry.member if entity.views[entry.view].by_text else "",
            )
            if isinstance(entry, ViewEntry)
            else (partition.claims(entity.name, entry.unique), entry.value)
        )
        for entry in seen.entries
    }
    # An expiry entry is compared with its document when the row is inspected; here it only needs a document.
    return places | {(partition.expiry, "")}


def _judge(
    context: Context, suspect: Suspect, answer: Reply, implied: set[tuple[str, str]], *, gone: bool
) -> Drift | None:
    place = suspect.place
    if answer is None or isinstance(answer, ServerError) or _place(suspect) in implied:
        return None
    if place.what is KeyKind.EXPIRY:
        return Drift(Kind.STALE_DEADLINE, _entity(context, suspect).name, suspect, place.key)
    if place.what is KeyKind.CLAIMS:
        if text(answer) != suspect.row:
            return None
        kind = Kind.STALE_CLAIM if gone else Kind.UNDUE_CLAIM
        return Drift(kind, place.label, suspect, place.key, suspect.value)
    return Drift(Kind.STALE_ENTRY if gone else Kind.WRONG_VALUE, place.label, suspect, place.key)


def _entity(context: Context, suspect: Suspect) -> Entity[Any]:
    """Return the entity of an entry. An entry of the expiry set has its name as the value."""
    return suspect.place.entity or context.package.entities[suspect.value]
