"""rom: a `Model` whose indexes are sets and sorted sets that its script writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Final

import redis

from tools.bench.peers.entries import entries
from tools.bench.peers.rows import Row
from tools.bench.peers.side import EXPIRES_IN, PAGE, Place, Side, Taken

_INDEXES: Final = (":idx", ":uidx")
"""How the names of indexes and of unique values end."""


class RomSide(Side):
    """Rows of rom. The library chooses the keys, so this side remembers them by number."""

    name: ClassVar[str] = "rom"
    needs: ClassVar[tuple[str, ...]] = ("rom",)
    notes: ClassVar[str] = (
        "a save is one script, which checks unique values and what was read, and changes row and indexes together. It has no expiry: its "
        "documentation says so. The figures are for `PEXPIRE` on the row by the caller and `clean_old_index` of rom"
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._client = redis.Redis(unix_socket_path=place.socket)
        self._model = _model(self._client, place.namespace)
        self._keys: dict[int, int] = {}

    def create(self, row: Row) -> Any:
        from rom import UniqueKeyViolation

        try:
            record = self._record(row)
            record.save()
        except UniqueKeyViolation as error:
            raise Taken from error
        self._keys[row.number] = record.id
        return record

    def get(self, number: int) -> Any:
        return self._model.get(self._keys[number])

    def by_slug(self, slug: str) -> Any:
        return self._model.get_by(slug=slug)

    def page(self, field: str, value: str) -> Sequence[Any]:
        return self._model.query.filter(**{field: value}).order_by("-number").limit(0, PAGE).all()  # type: ignore[no-any-return]

    def count(self, field: str, value: str) -> int:
        return int(self._model.query.filter(**{field: value}).count())

    def update(self, record: Any, state: str) -> Any:
        record.state = state
        record.save()
        return record

    def delete(self, number: int) -> Any:
        return self.get(number).delete()

    def visit(self, number: int) -> Any:
        from rom import DataRaceError, session

        while True:
            record = self.get(number)
            record.visits += 1
            try:
                record.save()
            except DataRaceError:
                session.rollback()
            else:
                return record

    def bulk(self, rows: Sequence[Row]) -> Any:
        from rom import session

        records = [self._record(row) for row in rows]
        session.commit()
        self._keys |= {record.number: record.id for record in records}
        return records

    def create_ending(self, row: Row) -> None:
        self.create(row)
        self._client.pexpire(f"{self._model._namespace}:{self._keys[row.number]}", round(EXPIRES_IN * 1000))

    def entries(self) -> int:
        """Without the keys of queries, which rom keeps for half a minute."""
        return entries(self._client, f"{self._model._namespace}:", lambda name: name.endswith(_INDEXES))

    def clean(self) -> None:
        from rom.util import clean_old_index

        for _ in clean_old_index(self._model):
            pass

    def plain(self, record: Any) -> Row:
        return Row(
            record.number,
            record.slug,
            record.owner,
            record.state,
            record.kind,
            record.visits,
            record.document,
        )

    def close(self) -> None:
        self._client.close()

    def forget(self) -> None:
        from rom import session

        session.rollback()

    def learn(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            found: Any = self._client.zrangebyscore(f"{self._model._namespace}:number:idx", number, number)
            self._keys[number] = int(found[0])

    def _record(self, row: Row) -> Any:
        return self._model(
            slug=row.slug,
            owner=row.owner,
            state=row.state,
            kind=row.kind,
            number=row.number,
            visits=row.visits,
            document=row.document,
        )


def _model(client: redis.Redis, namespace: str) -> Any:
    import rom

    def indexed() -> Any:
        return rom.Text(index=True, keygen=rom.IDENTITY)

    columns = {
        "_conn": client,
        "_namespace": namespace,
        "slug": rom.Text(unique=True, required=True),
        "owner": indexed(),
        "state": indexed(),
        "kind": indexed(),
        "number": rom.Integer(index=True),
        "visits": rom.Integer(default=0),
        "document": rom.Json(),
    }
    return type(rom.Model)(f"Row_{namespace}", (rom.Model,), columns)
