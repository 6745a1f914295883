"""redis-py by hand: what a careful developer writes without a library, with transactions of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import msgspec
import redis

from tools.bench.peers.entries import entries
from tools.bench.peers.rows import Row, key_of
from tools.bench.peers.side import EXPIRES_IN, PAGE, Place, Side, Taken

_FIELDS: Final = ("owner", "state", "kind")


class HandSide(Side):
    """Documents, sorted sets and unique values, written by redis-py's pipelines."""

    name: ClassVar[str] = "redis-py by hand"
    notes: ClassVar[str] = (
        "a write claims its unique value first and then changes row and indexes in one `MULTI`; a process that dies in between leaves a value "
        "taken. An update writes what it read, whatever the row holds by then. A page takes two trips of plain commands, which give the server less "
        "work than the one script of Keyweave: where a trip takes little time, as on this machine, that is faster"
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._client = redis.Redis(unix_socket_path=place.socket)
        self._decode = msgspec.json.Decoder(Row).decode
        self._encode = msgspec.json.Encoder().encode

    def create(self, row: Row) -> Any:
        if not self._client.set(self._slug(row.slug), row.key, nx=True):
            raise Taken
        with self._client.pipeline() as pipe:
            self._write(pipe, row)
            pipe.execute()
        return row

    def get(self, number: int) -> Any:
        found: Any = self._client.get(self._document(key_of(number)))
        return None if found is None else self._decode(found)

    def by_slug(self, slug: str) -> Any:
        key: Any = self._client.get(self._slug(slug))
        found: Any = None if key is None else self._client.get(self._document(key.decode()))
        return None if found is None else self._decode(found)

    def page(self, field: str, value: str) -> Sequence[Any]:
        keys: Any = self._client.zrange(self._index(field, value), 0, PAGE - 1, desc=True)
        documents: Any = self._client.mget([self._document(key.decode()) for key in keys]) if keys else []
        return [self._decode(document) for document in documents if document is not None]

    def count(self, field: str, value: str) -> int:
        return int(self._client.zcard(self._index(field, value)))

    def update(self, record: Any, state: str) -> Any:
        changed = msgspec.structs.replace(record, state=state)
        with self._client.pipeline() as pipe:
            pipe.set(self._document(record.key), self._encode(changed))
            pipe.zrem(self._index("state", record.state), record.key)
            pipe.zadd(self._index("state", state), {record.key: record.number})
            pipe.execute()
        return changed

    def delete(self, number: int) -> Any:
        record = self.get(number)
        with self._client.pipeline() as pipe:
            pipe.delete(self._document(record.key), self._slug(record.slug))
            for field in _FIELDS:
                pipe.zrem(self._index(field, getattr(record, field)), record.key)
            pipe.execute()

    def visit(self, number: int) -> Any:
        name = self._document(key_of(number))
        with self._client.pipeline() as pipe:
            while True:
                pipe.watch(name)  # type: ignore[no-untyped-call]
                found: Any = pipe.get(name)
                record = self._decode(found)
                changed = msgspec.structs.replace(record, visits=record.visits + 1)
                pipe.multi()  # type: ignore[no-untyped-call]
                pipe.set(name, self._encode(changed))
                try:
                    pipe.execute()
                except redis.WatchError:
                    continue
                return changed

    def bulk(self, rows: Sequence[Row]) -> Any:
        with self._client.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.set(self._slug(row.slug), row.key, nx=True)
            free = pipe.execute()
        with self._client.pipeline() as pipe:
            for row, claimed in zip(rows, free, strict=True):
                if claimed:
                    self._write(pipe, row)
            pipe.execute()
        return rows

    def create_ending(self, row: Row) -> None:
        self.create(row)
        self._client.pexpire(self._document(row.key), round(EXPIRES_IN * 1000))

    def entries(self) -> int:
        prefix = f"{self.place.namespace}:"
        return entries(self._client, prefix, lambda name: not name.startswith(f"{prefix}row:"))

    def clean(self) -> None:
        """A developer has to write it."""

    def plain(self, record: Any) -> Row:
        found: Row = record
        return found

    def close(self) -> None:
        self._client.close()

    def _write(self, pipe: Any, row: Row) -> None:
        pipe.set(self._document(row.key), self._encode(row))
        for field in _FIELDS:
            pipe.zadd(self._index(field, getattr(row, field)), {row.key: row.number})

    def _document(self, key: str) -> str:
        return f"{self.place.namespace}:row:{key}"

    def _slug(self, slug: str) -> str:
        return f"{self.place.namespace}:slug:{slug}"

    def _index(self, field: str, value: str) -> str:
        return f"{self.place.namespace}:{field}:{value}"
