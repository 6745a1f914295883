"""The default of a column becomes the default of a field, where it is a constant that the schema can hold."""

from __future__ import annotations

import re
from collections.abc import Collection
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from keyweave.adopt.sql import Call, Const, Node, UnknownSqlError, parse
from keyweave.adopt.yaml import writable

_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d\Z")
_TIME: Final = re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?\Z")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_INT: Final = re.compile(r"-?\d{1,18}\Z")
_AUTO: Final = {
    "gen_random_uuid": "uuid4",
    "uuid_generate_v4": "uuid4",
    "uuidv7": "uuid7",
    "uuid_generate_v7": "uuid7",
}


def auto(text: str) -> str:
    """Return the way in which a key makes itself, for a default that makes uuids; empty for another."""
    match = re.match(r"\(?(?:\"?\w+\"?\.)?(\w+)\(\)\)?(?:::[\w ]+)?\Z", text)
    return _AUTO.get(match[1], "") if match else ""


def constant(text: str, attributes: dict[str, Any], values: Collection[str] = ()) -> Any:
    """Return the default of a field; None if it is no constant that the schema can hold.

    Args:
        text: the default in SQL.
        attributes: those of the field.
        values: those of the enum, for a field of one.
    """
    try:
        node = parse(text)
    except UnknownSqlError:
        return None
    kind = attributes["type"]
    if kind == "list":
        empty = isinstance(node, Call) and node.name == "ARRAY" and not node.arguments
        return [] if empty or node == Const("text", "{}") else None
    if not isinstance(node, Const) or node.kind == "null":
        return None
    return _value(node, kind, attributes, values)


def _value(node: Node, kind: str, attributes: dict[str, Any], values: Collection[str]) -> Any:
    assert isinstance(node, Const)
    text = node.value
    if kind == "bool":
        return text == "true" if node.kind == "bool" else None
    if node.kind == "bool":
        return None
    if values:
        return text if text in values else None
    if kind == "string":
        fits = writable(text) and len(text) <= attributes.get("max_length", len(text))
        return text if fits and node.kind == "text" else None
    if kind == "int":
        return int(text) if _INT.match(text) else None
    if kind == "float":
        return _float(text)
    if kind == "decimal":
        return _decimal(text, attributes)
    shape = {"date": _DATE, "time": _TIME, "uuid": _UUID}.get(kind)
    return text if shape is not None and shape.match(text) else None


def _float(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1e15 and number == number else None


def _decimal(text: str, attributes: dict[str, Any]) -> str | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or "e" in text.lower():
        return None
    digits, places = attributes.get("digits", 1000), attributes.get("places")
    _, _, fraction = text.partition(".")
    used = len(fraction.rstrip("0"))
    whole = len(str(abs(int(number))).lstrip("0"))
    fits = (places is None or used <= places) and whole + (used if places is None else places) <= digits
    return text if fits else None
