"""Rows from elsewhere that keep the moments at which they were created and last changed: a file with a line for each row.

    {"entity":"User","row":{"id":"ada",…,"created_at":"2020-05-01T12:00:00Z","updated_at":"2021-01-01T00:00:00Z"}}
    {"entity":"Note","created":"2020-05-01T12:00:00Z","row":{"id":"n"}}

`row` is the JSON of a record. Its moments are those of its managed fields; `created` and `updated` beside it take their place.
A row without one of the two has the other for both. Nothing here opens a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

import msgspec

from keyweave.errors import ExportFileError, KeyweaveError
from keyweave.model.entity import Entity
from keyweave.model.message import without_value
from keyweave.model.moment import to_micros
from keyweave.store.context import Context

_FIRST: Final = 10**15
"""The first moment that the head of a document can hold: September 2001."""


class _Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row."""

    entity: str
    row: msgspec.Raw
    created: datetime | None = None
    updated: datetime | None = None


_read: Final = msgspec.json.Decoder(_Line).decode


def history(context: Context, lines: Iterable[bytes], now: int) -> Iterator[tuple[str, bytes]]:
    """Yield the entity and the document of each row, as `transfer.load` takes them. Each row is checked as for an insert.

    Args:
        lines: of the file.
        now: the server's time in microseconds since 1970.

    Raises:
        ExportFileError: a line is no row of this schema, or its moments are missing, in the future, or in the wrong order. The
            error names the line.
    """
    for number, line in enumerate(lines, 1):
        try:
            yield _document(context, line, now)
        except msgspec.MsgspecError as error:
            raise ExportFileError(f"line {number}: {without_value(str(error))}") from None
        except (UnicodeDecodeError, RecursionError):
            raise ExportFileError(f"line {number}: it is not JSON that can be read") from None
        except KeyweaveError as error:
            raise ExportFileError(f"line {number}: {error}") from error


def _document(context: Context, text: bytes, now: int) -> tuple[str, bytes]:
    line = _read(text)
    entity = context.package.entities.get(line.entity)
    if entity is None:
        raise ExportFileError(f"this schema has no entity {line.entity!r}")
    record: Any = msgspec.json.decode(line.row, type=entity.record)
    created, updated = _moments(entity, line, record)
    _, document = dated(context, entity, record, created, updated, now)
    return entity.name, document


def dated(
    context: Context, entity: Entity[Any], record: Any, created: int, updated: int, now: int
) -> tuple[str, bytes]:
    """Return the key and the document of a row that was created and last changed at given moments.

    Args:
        record: checked as for an insert.
        created: in microseconds since 1970, as the other moments.
        updated: becomes the revision.
        now: the server's time.

    Raises:
        ExportFileError: a moment is in the future or too early, or they are in the wrong order.
        ValidationError: a value breaks its field's type or limits.
        CheckViolationError: a check of the entity does not hold.
    """
    prepared = context.codec(entity).prepare(record, None)
    if updated > now:
        raise ExportFileError(f"{entity.row(prepared.key)}: its moments are in the future")
    if created > updated:
        raise ExportFileError(f"{entity.row(prepared.key)}: it was changed before it was created")
    if created < _FIRST:
        raise ExportFileError(
            f"{entity.row(prepared.key)}: moments before 2001-09-09T01:46:40Z cannot be kept"
        )
    retain = prepared.retain
    expires = int(retain[1:]) if isinstance(retain, str) else updated + abs(retain) if retain else 0
    head = f'{{"revision":{updated},"created":{created},"expires":{expires},"op":""'
    return prepared.key, head.encode() + prepared.body


def _moments(entity: Entity[Any], line: _Line, record: Any) -> tuple[int, int]:
    """Return when a row was created and last changed, in microseconds since 1970."""
    created = line.created or (getattr(record, entity.created) if entity.created is not None else None)
    updated = line.updated or (getattr(record, entity.updated) if entity.updated is not None else None)
    created, updated = created or updated, updated or created
    if created is None or updated is None:
        raise ExportFileError(f"{entity.name}: a row has no moment; give it `created` or `updated`")
    if created.tzinfo is None or updated.tzinfo is None:
        raise ExportFileError(f"{entity.name}: a moment has no time zone")
    return to_micros(created), to_micros(updated)
