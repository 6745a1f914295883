"""Types, values and lists of names as messages show them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from keyweave_generator.constant import Constant
from keyweave_generator.model import OrderBy, TypeRef, View
from keyweave_generator.problems import listing, quote


def type_text(type_: TypeRef) -> str:
    """A type in words: `list of string`."""
    return type_.name if type_.of is None else f"{type_.name} of {type_text(type_.of)}"


def value_text(value: object) -> str:
    """A default or limit as the schema shows it."""
    if value is None:
        return "none"
    if isinstance(value, list | dict):
        return "[]" if isinstance(value, list) else "{}"
    if isinstance(value, Constant):
        return quote(str(value)) if not isinstance(value, Decimal) else f"{value:f}"
    return quote(value)


def names_text(names: Iterable[str]) -> str:
    """Names as `a, b and c`."""
    return listing(names)


def fields_text(names: Iterable[str]) -> str:
    """The fields of a view; a view without fields has all rows."""
    return listing(names) or "all rows"


def selecting_text(fields: Iterable[str], each: str | None) -> str:
    """What selects the rows of a view: its fields, and the elements of a list or set."""
    return fields_text([*fields, *([f"each of {each}"] if each is not None else [])])


def condition_text(where: str | None) -> str:
    """The condition of an index, in a sentence."""
    return f"rows where {where}" if where is not None else "all rows"


def order_text(view: View) -> str:
    """The order of a view, without its direction."""
    return view.order_field or "" if view.order is OrderBy.FIELD else view.order.value


def direction_text(view: View) -> str:
    """The direction of a view: `descending`, the highest value first, or `ascending`."""
    return "ascending" if view.ascending else "descending"


def duration_text(value: timedelta) -> str:
    """A duration in the largest unit that gives a whole number: `14d`, `90m`."""
    millis = value // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if millis % size == 0:
            return f"{millis // size}{unit}"
    return f"{millis}ms"


def used_by(users: list[str]) -> str:
    """` (used by A.x and B.y)`, or nothing."""
    return f" (used by {listing(users)})" if users else ""
