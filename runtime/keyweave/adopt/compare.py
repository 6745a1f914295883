"""Compares both sides by hash: every row of the source with the store's, and every row of the store with the sum of the source.

A row's hash is that of its values as PostgreSQL has them; the store's values are converted back for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from keyweave.adopt.bring import Stored, shifted, stored_row, stored_rows
from keyweave.adopt.fit import Pair
from keyweave.adopt.outcome import Outcome
from keyweave.adopt.read_rows import read_rows, which_exist
from keyweave.adopt.row import key_of, record_hash, row_of, source_hash
from keyweave.adopt.source import Connection
from keyweave.adopt.value import UnfitValueError
from keyweave.effects import Flow
from keyweave.errors import ExportFileError, ValidationError
from keyweave.exchange.ask import ask
from keyweave.integrity.check import locator_for
from keyweave.integrity.scan import KeyScan, Walk
from keyweave.keyspace.parse import KeyKind, ParsedKey
from keyweave.store.context import Context
from keyweave.sync.session import Session
from keyweave.transfer.history import dated

_LOOKUPS: Final = 500


class Comparer:
    """Compares the rows of tables with those of the store.

    Args:
        session: on the store.
        connection: in the snapshot of the source.
        op: identifies the adoption.
        now: as for the bringer.
        observe: called with the number of rows of each batch.
    """

    def __init__(
        self, session: Session, connection: Connection, op: str, now: int, observe: Callable[[int], object]
    ) -> None:
        self._session = session
        self._connection = connection
        self._op = op
        self._now = now
        self._observe = observe

    def from_source(self, pair: Pair, outcome: Outcome) -> None:
        """Compare every row of a table with the store's."""
        context, entity = self._session.context, pair.entity
        for batch in read_rows(self._connection, pair):
            keys: list[str | None] = []
            updates: list[int] = []
            for values in batch:
                key, updated = self._key(pair, values)
                keys.append(key)
                updates.append(updated)
            found = iter(
                self._session.shell.run(
                    stored_rows(context, entity, [key for key in keys if key is not None])
                )
            )
            for values, key, updated in zip(batch, keys, updates, strict=True):
                stored = next(found) if key is not None else None
                self._compare(pair, values, stored, updated, outcome)
            self._observe(len(batch))

    def _key(self, pair: Pair, values: tuple[Any, ...]) -> tuple[str | None, int]:
        """The key under which the store has a row, and its moment; no key of a row that no record can hold."""
        try:
            row = row_of(pair, values, self._now)
            return pair.entity.key_of(row.record), row.updated
        except (UnfitValueError, ValidationError, TypeError):
            return None, 0

    def _compare(
        self, pair: Pair, values: tuple[Any, ...], stored: Stored | None, updated: int, outcome: Outcome
    ) -> None:
        expected = source_hash(pair, values)
        if stored is None:
            if self._has_ended(pair, values):
                return
            outcome.missing += 1
            outcome.example("missing", key_of(pair, values))
            outcome.add_source(expected)
            return
        actual = record_hash(pair, stored.record)
        if actual != expected and stored.head.op == self._op and shifted(pair, stored, updated, expected):
            outcome.shifted += 1
            expected = actual
        elif actual != expected:
            outcome.differing += 1
            outcome.example("differing", key_of(pair, values))
        outcome.add_source(expected)

    def _has_ended(self, pair: Pair, values: tuple[Any, ...]) -> bool:
        """Whether a row is past the deadline of a retention of the schema."""
        context, entity = self._session.context, pair.entity
        if entity.retention is None:
            return False
        try:
            row = row_of(pair, values, self._now)
            _, document = dated(context, entity, row.record, row.created, row.updated, self._now)
        except (UnfitValueError, ValidationError, ExportFileError):
            return False
        head = stored_row(context, entity, document).head
        return 0 < head.expires <= self._now

    def from_store(self, pairs: Mapping[str, Pair], outcomes: Mapping[str, Outcome]) -> None:
        """Add up the rows of the store, and name those that the source does not have."""
        self._walk(pairs, lambda pair, rows: self._sum(pair, rows, outcomes[pair.entity.name]))
        more = {name: pair for name, pair in pairs.items() if not outcomes[name].equal}
        if more:
            self._walk(more, lambda pair, rows: self._look_up(pair, rows, outcomes[pair.entity.name]))

    def _walk(self, pairs: Mapping[str, Pair], handle: Callable[[Pair, list[Stored]], None]) -> None:
        context = self._session.context
        run = self._session.shell.run
        walk = Walk(KeyScan(context), run(locator_for(context, set(pairs))))
        seen: set[int] = set()  # a scan may return a key twice
        while not walk.done:
            places: list[ParsedKey] = []
            for place in run(walk.keys()):
                if place.what is KeyKind.DOCUMENT and hash(place.key) not in seen:
                    seen.add(hash(place.key))
                    places.append(place)
            for start in range(0, len(places), _LOOKUPS):
                part = places[start : start + _LOOKUPS]
                by_entity: dict[str, list[Stored]] = {}
                for place, stored in zip(part, run(_read(context, part)), strict=True):
                    if stored is not None and place.entity is not None:
                        by_entity.setdefault(place.entity.name, []).append(stored)
                for name, rows in by_entity.items():
                    handle(pairs[name], rows)

    def _sum(self, pair: Pair, rows: list[Stored], outcome: Outcome) -> None:
        for row in rows:
            outcome.add_store(record_hash(pair, row.record))

    def _look_up(self, pair: Pair, rows: list[Stored], outcome: Outcome) -> None:
        keys = [tuple(_key_text(getattr(row.record, each.field)) for each in pair.key) for row in rows]
        known = which_exist(self._connection, pair, keys)
        for key, row in zip(keys, rows, strict=True):
            if key in known:
                continue
            result = "gone" if row.head.op == self._op else "own"
            setattr(outcome, result, getattr(outcome, result) + 1)
            outcome.example(result, ", ".join(key))
            if result == "own":
                outcome.take_store(record_hash(pair, row.record))


def _read(context: Context, places: list[ParsedKey]) -> Flow[list[Stored | None]]:
    (documents,) = yield from ask(context, (("MGET", *[place.key for place in places]),))
    found: list[Stored | None] = []
    for place, document in zip(places, documents, strict=True):
        assert place.entity is not None
        found.append(None if document is None else stored_row(context, place.entity, document))
    return found


def _key_text(value: Any) -> str:
    """A part of a key as PostgreSQL reads it."""
    return str(getattr(value, "value", value))
