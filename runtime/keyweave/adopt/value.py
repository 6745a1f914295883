"""The values of columns: how PostgreSQL's become those of a record, and one text of a value on both sides.

Kinds of values: `string` `enum` `int` `float` `decimal` `bool` `datetime` `local` (a timestamp without time zone, as UTC) `date`
`time` `duration` `uuid` `bytes` `json`; `text` (the text of a value of another type), `composite` and `composite_list` (as JSON),
and `list:` before another kind.

Texts of values are compared as the source has them: a value that a record cannot hold exactly has another text on the way back.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from uuid import UUID

import msgspec
from psycopg import sql
from psycopg.adapt import Loader
from psycopg.errors import DataError
from psycopg.types.datetime import DateLoader, TimeLoader, TimestampLoader, TimestamptzLoader

from keyweave.adopt.source import Connection

KINDS: Final = frozenset(
    "string enum int float decimal bool datetime local date time duration uuid bytes json text composite composite_list".split()
)

_INTERVAL: Final = re.compile(
    r"P(?:(?P<years>-?\d+)Y)?(?:(?P<months>-?\d+)M)?(?:(?P<days>-?\d+)D)?"
    r"(?:T(?:(?P<hours>-?\d+)H)?(?:(?P<minutes>-?\d+)M)?(?:(?P<seconds>-?\d+(?:\.\d+)?)S)?)?\Z"
)


_ELEMENTS: Final = {
    "int": "numeric",
    "decimal": "numeric",
    "bool": "bool",
    "datetime": "timestamptz",
    "local": "timestamp",
    "date": "date",
    "time": "time",
    "duration": "interval",
    "uuid": "uuid",
    "bytes": "bytea",
    "json": "json",
}
"""The type to which the elements of an array are cast. Others, and floats of any size, come as text."""


class UnfitValueError(ValueError):
    """A value that a record cannot hold; the text says which kind of value, and does not contain it."""


class _Unfit:
    """A value that no Python object stands for; using it raises `UnfitValueError`."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class _Json:
    """The text of a JSON value, which keeps every digit."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _lenient(loader: type[Loader], what: str) -> type[Loader]:
    class Lenient(loader):  # type: ignore[valid-type, misc]
        def load(self, data: Any) -> Any:
            try:
                return super().load(data)
            except (DataError, ValueError, OverflowError):
                return _Unfit(f"a {what} that no calendar has, such as infinity")

    return Lenient


class _IntervalLoader(Loader):
    """Intervals as durations; one with months is none."""

    def load(self, data: Any) -> Any:
        match = _INTERVAL.match(bytes(data).decode())
        if match is None:
            return _Unfit("an interval that cannot be read")
        parts = {name: Decimal(text or 0) for name, text in match.groupdict().items()}
        if parts["years"] or parts["months"]:
            return _Unfit("an interval with months, which have no length")
        seconds = parts["hours"] * 3600 + parts["minutes"] * 60 + parts["seconds"]
        try:
            return timedelta(days=int(parts["days"]), microseconds=int(seconds * 1_000_000))
        except OverflowError:
            return _Unfit("an interval that is too long")


class _JsonLoader(Loader):
    def load(self, data: Any) -> Any:
        return _Json(bytes(data).decode())


def prepare(connection: Connection) -> None:
    """Let a connection return values that nothing was lost from, and not fail where Python has no such value."""
    adapters = connection.adapters
    for name, loader, what in (
        ("date", DateLoader, "date"),
        ("time", TimeLoader, "time"),
        ("timestamp", TimestampLoader, "moment"),
        ("timestamptz", TimestamptzLoader, "moment"),
    ):
        adapters.register_loader(name, _lenient(loader, what))
    adapters.register_loader("interval", _IntervalLoader)
    adapters.register_loader("json", _JsonLoader)
    adapters.register_loader("jsonb", _JsonLoader)


def selected(column: str, kind: str) -> sql.Composable:
    """Return what a query selects for a column, so that its values come as the kind has them."""
    name = sql.Identifier(column)
    if kind in ("text", "string", "enum"):
        return sql.SQL("{}::text").format(name)
    if kind.startswith("list:"):
        # An array of a domain would come as one text.
        return sql.SQL("{}::{}[]").format(name, sql.SQL(_ELEMENTS.get(kind[5:], "text")))
    if kind in ("composite", "composite_list"):
        return sql.SQL("to_jsonb({})").format(name)
    if kind == "int":
        return sql.SQL("{}::numeric").format(name)
    return name


def to_record(value: Any, kind: str) -> Any:
    """Return the value of a field for the value of a column.

    Raises:
        UnfitValueError: a record cannot hold it.
    """
    if value is None:
        return None
    if isinstance(value, _Unfit):
        raise UnfitValueError(value.reason)
    if kind.startswith("list:"):
        inner = kind[5:]
        if any(each is None or isinstance(each, list) for each in value):
            raise UnfitValueError("an array with a null, or of several dimensions")
        return [to_record(each, inner) for each in value]
    if kind == "composite_list":
        return to_record(value, "json")
    convert = _TO_RECORD.get(kind)
    return convert(value) if convert is not None else value


def _json_value(value: Any) -> Any:
    try:
        return msgspec.json.decode(value.text)
    except (msgspec.MsgspecError, RecursionError):
        raise UnfitValueError("JSON that cannot be read") from None


def _whole(value: Any) -> int:
    if value != value.to_integral_value():
        raise UnfitValueError("a number that is not whole")
    return int(value)


_TO_RECORD: Final[dict[str, Callable[[Any], Any]]] = {
    "int": _whole,
    "local": lambda value: value.replace(tzinfo=UTC),
    "datetime": lambda value: value.astimezone(UTC),
    "float": float,
    "bytes": bytes,
    "json": _json_value,
    "composite": _json_value,
}


def source_text(value: Any, kind: str) -> Any:
    """Return a value of PostgreSQL as JSON can hold it; equal values are equal."""
    if isinstance(value, _Unfit):
        return ["unfit", value.reason]
    if isinstance(value, _Json):
        return _json_text(value.text)
    if isinstance(value, list):
        return [source_text(each, kind.removeprefix("list:")) for each in value]
    return _text(float(value) if kind == "float" and value is not None else value)


def record_text(value: Any, kind: str) -> Any:
    """Return a value of a record, converted back to what PostgreSQL has, as `source_text` returns that."""
    if kind in ("json", "composite", "composite_list"):
        return None if value is None else _json_text(msgspec.json.encode(value).decode())
    if isinstance(value, list):
        inner = kind.removeprefix("list:")
        return [record_text(each, inner) for each in value]
    if kind == "int" and value is not None:
        return _text(Decimal(value))
    return _text(value.replace(tzinfo=None) if kind == "local" and value is not None else value)


def _text(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return value
    if isinstance(value, int | Decimal):
        return _number(Decimal(value))
    if isinstance(value, float):
        return ["float", repr(value)]
    if isinstance(value, datetime):
        moment = value.astimezone(UTC) if value.tzinfo is not None else value
        return moment.isoformat(timespec="microseconds")
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return ["us", str(value // timedelta(microseconds=1))]
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).hex()
    raise TypeError(f"no text of {type(value).__name__}")


def _number(value: Decimal) -> list[str]:
    if not value.is_finite():
        return ["number", str(value)]
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)
    text = "".join(map(str, digits)).lstrip("0")
    short = text.rstrip("0")
    if not short:
        return ["number", "0"]
    return ["number", f"{'-' * sign}{short}e{exponent + len(text) - len(short)}"]


def _json_text(text: str) -> Any:
    """The value of a JSON text, with numbers as what they are worth; None for JSON's null."""
    try:
        found = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    except (ValueError, RecursionError, InvalidOperation):
        return ["json", text]
    return None if found is None else ["json", _exact(found)]


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, dict):
        return {"members": {key: _exact(each) for key, each in sorted(value.items())}}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    return value
