"""Records as plain values: secrets are hidden at every depth, and a line has no character that moves a cursor."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import pytest

from keyweave.look.shown import one_line, plain
from keyweave.model.record import Record, Value


class Colour(StrEnum):
    RED = "red"


class Card(Value):
    __secret_fields__: ClassVar[frozenset[str]] = frozenset({"pin"})

    pin: str
    label: str = "main"


class Person(Record):
    __secret_fields__: ClassVar[frozenset[str]] = frozenset({"token"})

    token: bytes | None = None
    card: Card | None = None
    cards: list[Card] = msgspec.field(default_factory=list)
    by_name: dict[str, Card] = msgspec.field(default_factory=dict)
    nested: list[dict[str, list[Card]]] = msgspec.field(default_factory=list)


def test_secrets_are_hidden_at_every_depth() -> None:
    card = Card(pin="planted")
    person = Person(
        token=b"planted", card=card, cards=[card], by_name={"a": card}, nested=[{"b": [card, card]}]
    )
    shown = {"pin": "<secret>", "label": "main"}
    assert plain(person) == {
        "token": "<secret>",
        "card": shown,
        "cards": [shown],
        "by_name": {"a": shown},
        "nested": [{"b": [shown, shown]}],
    }
    assert "planted" not in one_line(plain(person))


def test_a_secret_without_a_value_is_hidden_too() -> None:
    assert plain(Person())["token"] == "<secret>"


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        7,
        1.5,
        "text",
        b"\x00\xff",
        Decimal("2.50"),
        date(2026, 1, 31),
        datetime(2026, 1, 31, tzinfo=UTC),
        timedelta(days=1, seconds=2),
        UUID(int=7),
        Colour.RED,
        [1, "a"],
        {"a": 1},
    ],
)
def test_values_are_shown_as_json_has_them(value: Any) -> None:
    assert plain(value) == msgspec.json.decode(msgspec.json.encode(value))


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "-"),
        ("a\nb", "a\\nb"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\u202egnp", "\\u202egnp"),
        ("Größe", "Größe"),
        ({"a": ["é\r"]}, '{"a": ["é\\r"]}'),
        (False, "false"),
    ],
)
def test_a_line_is_printable(value: Any, line: str) -> None:
    assert one_line(value) == line
