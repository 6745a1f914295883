"""redis-om: a `JsonModel`, whose indexes are those of the server's search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Final

import redis

from tools.bench.peers.rows import Row, key_of
from tools.bench.peers.side import EXPIRES_IN, PAGE, Place, Side


class RedisOmSide(Side):
    """Rows of redis-om."""

    name: ClassVar[str] = "redis-om"
    needs: ClassVar[tuple[str, ...]] = ("redis_om",)
    search: ClassVar[bool] = True
    lacks: ClassVar[dict[str, str]] = {"increment": "redis-om has no conditional or atomic change of a row"}
    notes: ClassVar[str] = (
        "a save replaces the whole document, whatever it holds by then; the server's search keeps the indexes with it. There are no unique "
        "values: the caller looks for one before it writes"
    )

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._client = redis.Redis(unix_socket_path=place.socket, decode_responses=True)
        self._model = _model(self._client, place.namespace)

    def create(self, row: Row) -> Any:
        return self._record(row).save()

    def create_if_free(self, row: Row) -> bool:
        if self.by_slug(row.slug) is not None:
            return False
        self.create(row)
        return True

    def get(self, number: int) -> Any:
        from redis_om import NotFoundError

        try:
            return self._model.get(key_of(number))
        except NotFoundError:
            return None

    def by_slug(self, slug: str) -> Any:
        found = self._model.find(self._model.slug == slug).page(0, 1)
        return found[0] if found else None

    def page(self, field: str, value: str) -> Sequence[Any]:
        return self._find(field, value).sort_by("-number").page(0, PAGE)  # type: ignore[no-any-return]

    def count(self, field: str, value: str) -> int:
        return int(self._find(field, value).count())

    def update(self, record: Any, state: str) -> Any:
        record.state = state
        return record.save()

    def delete(self, number: int) -> Any:
        return self._model.delete(key_of(number))

    def visit(self, number: int) -> Any:
        record = self._model.get(key_of(number))
        record.visits += 1
        return record.save()

    def bulk(self, rows: Sequence[Row]) -> Any:
        return self._model.add([self._record(row) for row in rows])

    def create_ending(self, row: Row) -> None:
        record = self._record(row)
        record.save()
        record.expire(max(1, round(EXPIRES_IN)))

    def entries(self) -> int:
        """Rows in the index of the search, each of which stands in all fields of it."""
        found: Any = self._client.ft(self._model.Meta.index_name).info()  # type: ignore[no-untyped-call]
        return int(found["num_docs"]) * len(_INDEXED)

    def clean(self) -> None:
        """The server's search removes expired rows itself."""

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

    def _find(self, field: str, value: str) -> Any:
        return self._model.find(getattr(self._model, field) == value)

    def _record(self, row: Row) -> Any:
        return self._model(
            name=row.key,
            slug=row.slug,
            owner=row.owner,
            state=row.state,
            kind=row.kind,
            number=row.number,
            visits=row.visits,
            document=row.document,
        )


_INDEXED: Final = ("slug", "owner", "state", "kind", "number")


def _model(client: redis.Redis, namespace: str) -> Any:
    from redis_om import Field, JsonModel, Migrator

    class Indexed(JsonModel, index=True):  # type: ignore[misc, call-arg]
        name: str = Field(primary_key=True)
        slug: str = Field(index=True)
        owner: str = Field(index=True)
        state: str = Field(index=True)
        kind: str = Field(index=True)
        number: int = Field(index=True, sortable=True)
        visits: int = Field(default=0, index=False)
        document: dict[str, Any] = Field(index=False)

        class Meta:
            database = client
            global_key_prefix = namespace
            model_key_prefix = "row"

    Migrator().run()
    return Indexed
