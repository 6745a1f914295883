"""Random expressions over the fields of an entity; most have the right types."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

CONSTANTS: Final = {
    "decimal": "1.50",
    "date": "2024-02-29",
    "time": "08:30:00",
    "uuid": "00000000-0000-0000-0000-00000000000a",
}
"""A constant of each type that is written as text."""


def condition(
    draw: random.Random, fields: Mapping[str, Mapping[str, Any]], enums: Mapping[str, Any], depth: int = 2
) -> str:
    """An expression that is true or false."""
    if depth and draw.random() < 0.5:
        one, two = (condition(draw, fields, enums, depth - 1) for _ in range(2))
        return draw.choice([f"({one}) and ({two})", f"({one}) or {two}", f"not ({one})", f"{one} or {two}"])
    name = draw.choice(sorted(fields))
    field = fields[name]
    if field.get("optional") and draw.random() < 0.5:
        return f"{name} is {draw.choice(['', 'not '])}null"
    kind = field["type"]
    if kind in enums:
        values = enums[kind]["values"]
        given = list(values.values()) if isinstance(values, dict) else values
        chosen = draw.choice(given)
        named = draw.choice(list(values)) if isinstance(values, dict) else chosen
        sets = [f"{name} in {kind}.{each}" for each in enums[kind].get("sets", ())]
        return draw.choice(
            [f"{name} == {chosen!r}", f"{name} not in [{chosen!r}]", f"{name} != {kind}.{named}", *sets]
        )
    if kind in ("int", "float"):
        return f"{number(draw, fields, name)} {draw.choice(['<', '<=', '==', '!=', '>', '>='])} {number(draw, fields, name)}"
    if kind in ("string", "id"):
        return draw.choice(
            [
                f"{name} != {draw.choice(['a', 'é', 'b c'])!r}",
                f"len({name}) >= 0",
                f"{name} in ['a', \"b'c\"]",
            ]
        )
    if kind == "bool":
        return draw.choice([name, f"{name} == true", f"{name} != false", f"not {name}"])
    if kind in ("list", "set", "map", "bytes"):
        return f"len({name}) {draw.choice(['<', '>='])} {draw.randint(0, 3)}"
    if kind in CONSTANTS:
        return f"{name} {draw.choice(['==', '!='])} {CONSTANTS[kind]!r}"
    others = [
        each for each, other in fields.items() if other["type"] == kind and kind in ("datetime", "duration")
    ]
    return f"{name} <= {draw.choice(others)}" if others else f"{name} == {draw.choice(['1', 'null', name])}"


def number(draw: random.Random, fields: Mapping[str, Mapping[str, Any]], name: str, depth: int = 1) -> str:
    """An expression that is a number, over a field that is one."""
    if depth and draw.random() < 0.3:
        one, two = (number(draw, fields, name, 0) for _ in range(2))
        return f"({one} {draw.choice('+-*')} {two})"
    numbers = [each for each, field in fields.items() if field["type"] == fields[name]["type"]]
    literal = (
        str(draw.randint(-3, 10))
        if fields[name]["type"] == "int"
        else str(draw.choice([0.5, -1.25, 1e300, 2]))
    )
    return draw.choice([name, draw.choice(numbers), literal, f"-{name}"])
