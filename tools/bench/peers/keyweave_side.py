"""Keyweave: repositories that are generated for the comparison, blocking flavour."""

from __future__ import annotations

import importlib
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, Final

import redis

from keyweave.errors import UniqueViolationError
from keyweave_generator import render
from keyweave_generator.load import load
from tools.bench.peers.entries import entries
from tools.bench.peers.rows import ENDED, Row, key_of
from tools.bench.peers.side import EXPIRES_IN, PAGE, Place, Side, Taken

SCHEMA: Final = Path(__file__).parent / "schema"

_INDEXES: Final = ("Row.", "@expiry")
"""How the names of views, unique values and deadlines begin."""


@cache
def package() -> ModuleType:
    """The package that the generator makes of the schema, written into a temporary folder and imported."""
    folder = tempfile.mkdtemp(prefix="peers-")
    for path, text in render.render(load(SCHEMA)).items():
        target = Path(folder) / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    sys.path.insert(0, folder)
    try:
        importlib.import_module("peers_store.sync")
        return importlib.import_module("peers_store")
    finally:
        sys.path.remove(folder)


class KeyweaveSide(Side):
    """Rows in a store of Keyweave."""

    name: ClassVar[str] = "Keyweave"
    notes: ClassVar[str] = (
        "a write is one script, which checks the unique value and the revision of the row and changes row and indexes together"
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._package: Any = package()
        self._store: Any = self._package.sync.Store.open(
            f"unix://{place.socket}",
            namespace=place.namespace,
            retention={"Row": timedelta(seconds=EXPIRES_IN)},
        )
        self._rows = self._store.rows
        self._states = {state.value: state for state in self._package.State}

    @classmethod
    def prepare(cls) -> None:
        package()

    def create(self, row: Row) -> Any:
        try:
            return self._rows.create(self._record(row))
        except UniqueViolationError as error:
            raise Taken from error

    def get(self, number: int) -> Any:
        return self._rows.find(key_of(number))

    def by_slug(self, slug: str) -> Any:
        return self._rows.find_by_slug(slug)

    def page(self, field: str, value: str) -> Sequence[Any]:
        return self._view(field, value).page(limit=PAGE).rows

    def count(self, field: str, value: str) -> int:
        return self._view(field, value).count()

    def update(self, record: Any, state: str) -> Any:
        record.state = self._states[state]
        return self._rows.save(record)

    def delete(self, number: int) -> Any:
        return self._rows.discard(key_of(number))

    def visit(self, number: int) -> Any:
        return self._rows.increment(key_of(number), "visits")

    def bulk(self, rows: Sequence[Row]) -> Any:
        return self._rows.create_many([self._record(row) for row in rows])

    def create_ending(self, row: Row) -> None:
        record = self._record(row)
        record.state = self._states[ENDED]
        self._rows.create(record)

    def entries(self) -> int:
        prefix = f"{{peers:v1:dev:{self.place.namespace}:rows:0}}:"
        with redis.Redis(unix_socket_path=self.place.socket) as client:
            return entries(client, prefix, lambda name: name.removeprefix(prefix).startswith(_INDEXES))

    def clean(self) -> None:
        self._store.sweep()

    def plain(self, record: Any) -> Row:
        return Row(
            record.number,
            record.slug,
            record.owner,
            record.state.value,
            record.kind,
            record.visits,
            record.document,
        )

    def close(self) -> None:
        self._store.close()

    def _record(self, row: Row) -> Any:
        return self._package.Row(
            key=row.key,
            slug=row.slug,
            owner=row.owner,
            state=self._states[row.state],
            kind=row.kind,
            number=row.number,
            visits=row.visits,
            document=row.document,
        )

    def _view(self, field: str, value: str) -> Any:
        if field == "owner":
            return self._rows.by_owner(value)
        if field == "kind":
            return self._rows.by_kind(value)
        return self._rows.by_state(self._states[value])
