"""The words of a query: what identifies its rows and their order, the same for equal queries in every process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import msgspec

from keyweave.model.exact import decimal_text
from keyweave.model.moment import to_micros
from keyweave.query import Predicate, Range
from keyweave.read.ends import score_of_value
from keyweave.read.query import Part, Query
from keyweave.read.stream import Stream

_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_encode: Final = msgspec.json.Encoder().encode


def words_of(query: Query, stream: Stream | None) -> bytes:
    """Return what identifies the rows and the order of a query in every process; `stream` is the only list that it asks for."""
    if stream is None:
        return _encode(_words(query))
    return _encode((query.entity.name, query.descending, stream.view.name, stream.values, stream.ends))


def _words(query: Query) -> list[Any]:
    return [query.entity.name, query.order, query.descending, [_part_words(part) for part in query.parts]]


def _part_words(part: Part) -> list[Any]:
    filters, stretches = part.filters, part.stretches
    return [
        part.view,
        [_canonical(each) for each in part.values],
        [[name, _canonical(filters[name])] for name in sorted(filters)],
        _canonical(stretches) if stretches else (),
        [[each.via, _words(each.rows)] for each in part.having],
    ]


def _canonical(value: Any) -> Any:
    """Return a filter's value or predicate as plain values, the same for equal filters in every process."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is datetime:
        return to_micros(value)
    if kind is Range:
        return ["Range", _canonical(value.low), _canonical(value.high)]
    if kind is tuple or kind is list:
        return [_canonical(each) for each in value]
    if isinstance(value, Predicate):
        parts = [_canonical(getattr(value, each.name)) for each in fields(value)]
        return [kind.__name__, *parts]
    if isinstance(value, tuple | list):
        return [_canonical(each) for each in value]
    if isinstance(value, Mapping):
        return [[name, _canonical(value[name])] for name in sorted(value)]
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Decimal):
        return decimal_text(value)
    if isinstance(value, UUID):
        return str(value)
    return value if isinstance(value, bool | int | float) or value is None else score_of_value(value)
