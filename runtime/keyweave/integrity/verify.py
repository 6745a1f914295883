"""The second pass of a check: inspects what the survey marked, and inspects what is wrong again a moment later.

Only drift that both inspections found, each in one atomic read, is reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from keyweave.effects import Call, Command, Flow, Sleep
from keyweave.exchange.ask import ask
from keyweave.integrity.drift import Drift, Kind, Suspect
from keyweave.integrity.inspect_entry import FreedRow, trace_entries
from keyweave.integrity.inspect_row import inspect_rows
from keyweave.integrity.scan import Batches, Contents, Held, KeyScan, Walk, read_slots
from keyweave.integrity.survey import Observer, Progress, RowSums
from keyweave.keyspace.parse import INDEXES, KeyKind, Locator, ParsedKey, text, word
from keyweave.store.context import Context
from keyweave.store.ledger import is_intact

_PENDING: Final = 500
_ENTRIES: Final = 200
_REMEMBERED: Final = 100_000

_TYPES: Final = {
    KeyKind.VIEW: b"zset",
    KeyKind.EXPIRY: b"zset",
    KeyKind.CLAIMS: b"hash",
    KeyKind.CLOCK: b"string",
    KeyKind.SCHEMA: b"hash",
    KeyKind.MARK: b"string",
    KeyKind.LEDGER: b"hash",
}
"""The type of each kind of key."""

Handler: TypeAlias = Callable[[list[Drift]], Flow[None]]
"""A flow that is called with confirmed drift, a bounded number of drifts at a time."""


@dataclass(slots=True)
class Verification:
    """A walk through the namespace, or a part of it, that inspects what a survey marked."""

    context: Context
    locator: Locator
    progress: Progress
    observe: Observer
    sums: RowSums
    handle: Handler
    batches: Batches
    freed: set[FreedRow] = field(default_factory=set)
    _pending: list[Drift] = field(default_factory=list)
    _since: float = 0.0
    _handled: set[int] = field(default_factory=set)

    def run(self, scan: KeyScan) -> Flow[None]:
        """Inspect everything that is marked among the keys of a scan."""
        walk = Walk(scan, self.locator)
        while not walk.done:
            places = yield from walk.keys()
            yield from self._inspect_once([each for place in places for each in self._marked(place)])
            contents = Contents(self.context, [place for place in places if place.what in INDEXES])
            while not contents.done:
                held = yield from contents.read()
                yield from self._inspect_once([each for some in held for each in self._marked_entries(some)])
                yield Call(self.observe, self.progress)
            self.progress.keys += len(places)
            yield Call(self.observe, self.progress)
        yield from self._confirm()

    def _marked(self, place: ParsedKey) -> Iterator[Suspect]:
        if place.what is KeyKind.DOCUMENT and place.entity is not None:
            if self.sums.marked(place.entity.name, place.rest):
                yield Suspect(place, place.rest)
        elif self.sums.marked("", place.key):
            yield Suspect(place)

    def _marked_entries(self, held: Held) -> Iterator[Suspect]:
        place, pairs = held
        if place.what is KeyKind.EXPIRY:
            for member in map(text, pairs[0::2]):
                yield from self._marked_deadline(place, member)
            return
        assert place.entity is not None
        name, marked = place.entity.name, self.sums.marked
        if place.what is KeyKind.CLAIMS:
            for value, owner in zip(pairs[0::2], map(text, pairs[1::2]), strict=True):
                if marked(name, owner):
                    yield Suspect(place, owner, text(value))
        else:
            view = place.entity.views[place.name]
            for member in map(text, pairs[0::2]):
                key = view.key_in(member)
                if marked(name, key):
                    yield Suspect(place, key, member if view.by_text else "")

    def _marked_deadline(self, place: ParsedKey, member: str) -> Iterator[Suspect]:
        assert place.partition is not None
        name, _, key = member.partition(":")
        entity = self.locator.entity(place.partition, name)
        if entity is None:
            if not self.locator.limited and self.sums.marked("", member):
                yield Suspect(place, member)
        elif self.locator.wanted(entity) and self.sums.marked(name, key):
            yield Suspect(place, key, name)

    def _inspect_once(self, suspects: list[Suspect]) -> Flow[None]:
        found = yield from self.inspect(suspects)
        rows = sum(each.place.what is KeyKind.DOCUMENT for each in suspects)
        self.progress.documents += rows
        self.progress.entries += len(suspects) - rows
        if found and not self._pending:
            self._since = self.context.monotonic()
        self._pending += found
        if len(self._pending) >= _PENDING:
            yield from self._confirm()

    def _confirm(self) -> Flow[None]:
        """Inspect pending drifts again, and call the handler with those that are confirmed."""
        if not self._pending:
            return
        rest = self._since + self.context.policy.moment - self.context.monotonic()
        if rest > 0:
            yield Sleep(rest)
        pending, self._pending = self._pending, []
        first = {drift.identity for drift in pending}
        suspects = {drift.suspect.identity: drift.suspect for drift in pending}
        again = yield from self.inspect(list(suspects.values()))
        confirmed = [drift for drift in again if drift.identity in first and self._new(drift)]
        if confirmed:
            yield from self.handle(confirmed)

    def _new(self, drift: Drift) -> bool:
        """Return whether the drift was not reported before: a walk may return a key twice."""
        digest = hash(drift.identity)
        if digest in self._handled:
            return False
        if len(self._handled) < _REMEMBERED:
            self._handled.add(digest)
        return True

    def inspect(self, suspects: Sequence[Suspect]) -> Flow[list[Drift]]:
        """Return everything that is wrong with suspects of any kind."""
        rows = [each for each in suspects if each.place.what is KeyKind.DOCUMENT]
        entries = [each for each in suspects if each.place.what in INDEXES and each.member is not None]
        foreign = [each for each in entries if each.place.what is KeyKind.EXPIRY and not each.value]
        known = [each for each in entries if each.place.what is not KeyKind.EXPIRY or each.value]
        keys = [each for each in suspects if each.member is None]
        found: list[Drift] = []
        for batch in self.batches.of(rows, _ENTRIES):
            found += yield from inspect_rows(self.context, batch)
        for batch in self.batches.of(known, _ENTRIES):
            found += yield from trace_entries(self.context, batch, self.freed)
        if foreign:
            found += yield from _inspect_foreign(self.context, foreign)
        if keys:
            found += yield from _inspect_keys(self.context, keys)
        return found


def _inspect_foreign(context: Context, suspects: list[Suspect]) -> Flow[list[Drift]]:
    """Return drift for every expiry entry of an unknown entity that still exists."""
    scores = yield from ask(context, tuple(("ZSCORE", each.place.key, word(each.row)) for each in suspects))
    return [
        Drift(Kind.FOREIGN_ENTRY, each.place.label, each, each.place.key)
        for each, score in zip(suspects, scores, strict=True)
        if score is not None
    ]


def _inspect_keys(context: Context, suspects: list[Suspect]) -> Flow[list[Drift]]:
    """Return drift for unknown keys, keys of the wrong type or with a wrong native TTL, and ledgers with damaged slots."""
    commands: list[Command] = []
    for each in suspects:
        key = word(each.place.key)
        commands += [("TYPE", key), ("PEXPIRETIME", key)]
    replies = yield from ask(context, tuple(commands))
    found = []
    for at, each in enumerate(suspects):
        kind, ends = replies[2 * at : 2 * at + 2]
        drift = _judge_key(each.place.what, kind, ends)
        if drift is not None:
            found.append(Drift(drift, each.place.label, each, each.place.key))
    ledgers = [each for each in suspects if each.place.what is KeyKind.LEDGER]
    held = (yield from read_slots(context, [each.place.key for each in ledgers])) if ledgers else []
    for each, slots in zip(ledgers, held, strict=True):
        if not all(is_intact(slot, value) for slot, value in slots):
            found.append(Drift(Kind.BAD_SLOT, each.place.label, each, each.place.key))
    return found


def _judge_key(what: KeyKind, kind: bytes, ends: int) -> Kind | None:
    # Keys share marks, so a key can be marked that is not wrong.
    if kind == b"none" or what in (KeyKind.ASIDE, KeyKind.OTHER):
        return None
    if what is KeyKind.FOREIGN:
        return Kind.FOREIGN_KEY
    if kind != _TYPES[what]:
        return Kind.WRONG_TYPE
    if what in (KeyKind.MARK, KeyKind.LEDGER):
        return Kind.ENDLESS_MARK if ends == -1 else None
    return Kind.ENDING_KEY if ends >= 0 else None
