"""An engine that adds a mark to every text that it receives, and removes it from every text that it returns.

A story that runs on it works as on any engine, and every id, email, value and secret that the engine handles is marked,
so what the engine emits can be searched for the mark.
"""

from __future__ import annotations

import base64
import inspect
from collections.abc import Callable
from copy import deepcopy
from enum import Enum
from functools import cache
from typing import Any, Final, get_args, get_type_hints

import msgspec

from compozy_store import Status

MARK: Final = "plantedq7zx1"
"""Twelve characters, so that base64 writes a text that begins with it in one way. Emails are lower-cased: so is it."""

TRACES: Final = (MARK, MARK.encode().hex(), base64.b64encode(MARK.encode()).decode())
"""The forms in which the mark can appear."""


def traces_in(text: str) -> list[str]:
    """The positions of a mark in a text."""
    return [text[max(0, at - 60) : at + 40] for trace in TRACES if (at := _found(text, trace)) >= 0]


def _found(text: str, trace: str) -> int:
    at = text.find(trace)
    return at if at >= 0 else text.lower().find(MARK)


class Planted:
    """Stands for an engine, one of its repositories, or a store: everything that is called on it is marked."""

    def __init__(self, target: Any) -> None:
        self._target = target

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return Planted(value)

        async def call(*arguments: Any, **options: Any) -> Any:
            # A record is changed in place, because the engine writes on it; another call may use a list as well.
            given = [
                _mapped(deepcopy(argument) if isinstance(argument, list) else argument, _plant)
                for argument in arguments
            ]
            try:
                return _mapped(await value(*given, **options), _unplant)
            finally:
                for argument in given:
                    if isinstance(argument, msgspec.Struct):
                        _mapped(argument, _unplant)

        return call


def _plant(text: Any) -> Any:
    mark = MARK if isinstance(text, str) else MARK.encode()
    bare = text.lstrip() if isinstance(text, str) else text
    if not bare or mark in text or text in Status.__members__:
        return text
    return text[: len(text) - len(bare)] + mark + bare


def _unplant(text: Any) -> Any:
    return text.replace(MARK, "") if isinstance(text, str) else text.replace(MARK.encode(), b"")


def _mapped(value: Any, turn: Callable[[Any], Any]) -> Any:
    """A value with every text in it replaced; records are changed in place, because callers keep them."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str | bytes):
        return turn(value)
    if isinstance(value, msgspec.Struct):
        return _mapped_record(value, turn)
    if isinstance(value, dict):
        turned = {}
        for key, item in value.items():
            turned[turn(key) if isinstance(key, str) and turn is _unplant else key] = _mapped(item, turn)
        return turned
    if isinstance(value, list):
        for index, item in enumerate(value):
            value[index] = _mapped(item, turn)
        return value
    if turn is _plant and callable(value):
        return _turned_function(value)
    return value


def _mapped_record(record: msgspec.Struct, turn: Callable[[Any], Any]) -> msgspec.Struct:
    names = _enums(type(record))
    fields = {
        name: value if name in names else _mapped(value, turn)
        for name in record.__struct_fields__
        for value in [getattr(record, name)]
    }
    if record.__struct_config__.frozen:
        return msgspec.structs.replace(record, **fields)
    for name, item in fields.items():
        setattr(record, name, item)
    return record


@cache
def _enums(kind: type[msgspec.Struct]) -> frozenset[str]:
    """The fields of a record type that hold a member of an enum, which stories may give as text: no secret."""
    return frozenset(
        name
        for name, hint in get_type_hints(kind).items()
        if any(isinstance(each, type) and issubclass(each, Enum) for each in (hint, *get_args(hint)))
    )


def _turned_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the story's: it is given bare values, and what it returns is marked."""

    async def turned(argument: Any) -> Any:
        given = _mapped(argument, _unplant) if isinstance(argument, msgspec.Struct) else Planted(argument)
        outcome = function(given)
        return _mapped(await outcome if inspect.isawaitable(outcome) else outcome, _plant)

    return turned
