"""One row on both sides: as a record with its moments, and as one text whose hash is compared."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC
from typing import Any, Final

from keyweave.adopt.fit import Pair
from keyweave.adopt.value import UnfitValueError, record_text, source_text, to_record
from keyweave.model.moment import to_micros

MODULUS: Final = 2**256
"""Hashes of rows are added up modulo this, so that the sum does not depend on the order of the rows."""


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of PostgreSQL as a record.

    Attributes:
        record: of the entity; without its managed moments.
        created: when the row was created, in microseconds since 1970.
        updated: when it was last changed.
    """

    record: Any
    created: int
    updated: int


def row_of(pair: Pair, values: tuple[Any, ...], now: int) -> SourceRow:
    """Return the record of a row. A row without moments has `now` for both.

    Raises:
        UnfitValueError: a record cannot hold a value; the text names the column.
    """
    entity = pair.entity
    given: dict[str, Any] = {}
    for each, value in zip(pair.source.fields, values, strict=True):
        try:
            given[each.field] = to_record(value, each.kind)
        except UnfitValueError as error:
            raise UnfitValueError(f"{each.column}: {error}") from None
    created = _moment(given, entity.created)
    updated = _moment(given, entity.updated)
    # A record whose JSON field is required holds JSON's null; any other required field must have a value.
    record = entity.record(**{name: value for name, value in given.items() if name not in entity.managed})
    first = created if created is not None else updated if updated is not None else now
    return SourceRow(record, first, updated if updated is not None else first)


def _moment(given: dict[str, Any], field: str | None) -> int | None:
    if field is None or field not in given:
        return None
    value = given[field]
    if value is None:
        raise UnfitValueError(f"{field}: a moment that the store manages is null")
    return to_micros(value.astimezone(UTC))


def source_hash(pair: Pair, values: tuple[Any, ...]) -> int:
    """Return the hash of a row as PostgreSQL has it."""
    return _hash(
        [source_text(value, each.kind) for each, value in zip(pair.source.fields, values, strict=True)]
    )


def record_hash(pair: Pair, record: Any) -> int:
    """Return the hash of a row of the store, each value converted back to what PostgreSQL has."""
    return _hash([record_text(getattr(record, each.field), each.kind) for each in pair.source.fields])


def _hash(texts: list[Any]) -> int:
    text = json.dumps(texts, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest())


def key_of(pair: Pair, values: tuple[Any, ...]) -> str:
    """Return the key of a row, as reports show it."""
    places = {each.column: place for place, each in enumerate(pair.source.fields)}
    return ", ".join(str(values[places[column]]) for column in pair.source.key)
