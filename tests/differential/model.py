"""What a store of a random schema should hold: plain dictionaries that know nothing of views, claims or documents.

A row that has ended is gone at once. The rows that refer to it stay until something removes the ended row, at the latest
the next sweep: until then they are in limbo, where a comparison ignores them and no step touches them.
"""

from __future__ import annotations

from typing import Any

from tests.differential.schemas import Kind

Id = tuple[str, str]
Row = dict[str, Any]


class Refused(Exception):
    """A write that the store must refuse; the text is the name of the error."""


class Model:
    """The rows by entity and key, each with the numbers of the writes that created it and wrote it last."""

    def __init__(self, kinds: list[Kind]) -> None:
        self.kinds = {kind.name: kind for kind in kinds}
        self.rows: dict[Id, Row] = {}
        self.written: dict[Id, tuple[int, int]] = {}
        self.limbo: dict[Id, set[Id]] = {}
        """Rows below an ended row, by this row."""
        self.writes = 0

    def copy(self) -> Model:
        other = Model(list(self.kinds.values()))
        other.rows, other.written = dict(self.rows), dict(self.written)
        other.limbo, other.writes = {row: set(below) for row, below in self.limbo.items()}, self.writes
        return other

    @property
    def in_limbo(self) -> set[Id]:
        return {row for below in self.limbo.values() for row in below}

    def put(self, name: str, row: Row, *, insert: bool) -> None:
        """Insert or replace a row.

        Raises:
            Refused: the store must refuse it, too.
        """
        kind, key = self.kinds[name], (name, row["id"])
        before = self.rows.get(key)
        if kind.rule is not None and not kind.rule.holds(row):
            raise Refused("CheckViolationError")
        if before is not None and insert:
            raise Refused("AlreadyExistsError")
        claim = kind.claim(row)
        if claim is not None:
            for other, held in self.rows.items():
                if other[0] == name and other != key and kind.claim(held) == claim:
                    raise Refused("UniqueViolationError")
        for reference, target in kind.references.items():
            value = row[reference]
            unchanged = before is not None and before[reference] == value
            if value is not None and not unchanged and (target, value) not in self.rows | {key: row}:
                raise Refused("ReferenceViolationError")
        if before is None:
            # The new row replaces the ended one, whose family ends with it.
            for each in self.limbo.pop(key, set()):
                self._remove(each)
        self.writes += 1
        created = self.written[key][0] if before is not None else self.writes
        self.rows[key], self.written[key] = dict(row), (created, self.writes)
        if kind.ends is not None and kind.ends.holds(row):
            self._remove(key)
            below = self.family(key)
            if below:
                self.limbo.setdefault(key, set()).update(below)

    def delete(self, key: Id) -> None:
        """Delete a row and the rows that refer to it.

        Raises:
            Refused: there is no such row.
        """
        if key not in self.rows:
            raise Refused("NotFoundError")
        below = self.family(key)
        self._remove(key)
        for each in below:
            self._remove(each)

    def require(self, key: Id) -> None:
        """Look whether there is a row.

        Raises:
            Refused: there is none.
        """
        if key not in self.rows:
            raise Refused("NotFoundError")

    def sweep(self) -> None:
        """Remove what is in limbo."""
        for each in self.in_limbo:
            self._remove(each)
        self.limbo.clear()

    def family(self, key: Id) -> set[Id]:
        """The rows that refer to a row, at every depth."""
        found: set[Id] = set()
        waiting = [key]
        while waiting:
            target = waiting.pop()
            for other, row in self.rows.items():
                references = self.kinds[other[0]].references
                if other not in found and other != key:
                    if any((to, row[name]) == target for name, to in references.items()):
                        found.add(other)
                        waiting.append(other)
        return found

    def _remove(self, key: Id) -> None:
        self.rows.pop(key, None)
        self.written.pop(key, None)
        for below in self.limbo.values():
            below.discard(key)

    def listed(self, name: str, fields: tuple[str, ...], order: str, values: tuple[Any, ...]) -> list[str]:
        """The keys of a view's rows, highest first, without those in limbo."""
        hidden = self.in_limbo
        found = []
        for key, row in self.rows.items():
            if key[0] == name and key not in hidden and tuple(row[each] for each in fields) == values:
                created, revision = self.written[key]
                score = {"created": created, "revision": revision}.get(order, row.get(order))
                identity = self.kinds[name].identity(key[1])
                rank = tuple(part.encode() if isinstance(part, str) else part for part in identity)
                found.append((score, rank, key[1]))
        return [key for _, _, key in sorted(found, reverse=True)]
