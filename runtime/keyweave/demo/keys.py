"""Everything that a namespace holds for its rows, and the difference of two moments, as lines.

The lines show values, so this is for data of a demonstration, which has no secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import msgspec

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.keyspace.parse import KeyKind, Locator, text
from keyweave.store.context import Context

Held: TypeAlias = Mapping[tuple[str, str], Any]
"""Key without its tag, and member -> a document without its head, a score, an owner or a deadline."""

_HEAD: Final = ("revision", "created", "expires", "op")

_READS: Final = {
    KeyKind.DOCUMENT: ("GET",),
    KeyKind.VIEW: ("ZRANGE", "0", "-1", "WITHSCORES"),
    KeyKind.EXPIRY: ("ZRANGE", "0", "-1", "WITHSCORES"),
    KeyKind.CLAIMS: ("HGETALL",),
}
"""How a key of each kind is read. Clocks, ledgers and registries are left out: they are there for every store."""


def held(context: Context) -> Flow[Held]:
    """Return everything that the namespace holds for its rows. Other processes must not write meanwhile."""
    locator = Locator(context.package, context.keyspace)
    names: set[str] = set()
    cursor: Any = 0
    while True:
        ((cursor, found),) = yield from ask(
            context, (("SCAN", cursor, "MATCH", context.keyspace.pattern(), "COUNT", 1000),)
        )
        names |= {text(name) for name in found}
        if int(cursor) == 0:
            break
    places = [place for place in map(locator.locate, sorted(names)) if place.what in _READS]
    if not places:
        return {}
    commands: list[Command] = []
    for place in places:
        verb, *rest = _READS[place.what]
        commands.append((verb, place.key, *rest))
    contents: dict[tuple[str, str], Any] = {}
    for place, reply in zip(places, (yield from ask(context, tuple(commands))), strict=True):
        name = place.key.partition("}:")[2]
        if place.what is KeyKind.DOCUMENT:
            document = msgspec.json.decode(reply)
            contents[name, ""] = {field: value for field, value in document.items() if field not in _HEAD}
        else:
            for member, value in zip(reply[0::2], reply[1::2], strict=True):
                contents[name, text(member)] = text(value)
    return contents


def difference(before: Held, after: Held) -> list[tuple[str, str]]:
    """Return what changed, each as a sign and a text: `+` for what is new, `~` for what changed, `-` for what is gone."""
    lines = []
    for place in sorted({*before, *after}, key=lambda place: (place[1] != "", place)):  # documents first
        if place not in before:
            lines.append(("+", _line(place, after[place])))
        elif place not in after:
            lines.append(("-", _line(place, None)))
        elif before[place] != after[place]:
            lines.append(("~", _changed(place, before[place], after[place])))
    return lines


def _line(place: tuple[str, str], value: Any) -> str:
    key, member = place
    if isinstance(value, dict):
        return f"{key}  {_json(value)}"
    owner = f" = {value}" if value is not None and not _is_score(value) else ""
    return f"{key}  {member}{owner}".rstrip()


def _changed(place: tuple[str, str], old: Any, new: Any) -> str:
    key, member = place
    if not isinstance(new, dict):
        return f"{key}  {member}: {old} -> {new}"
    names = [name for name in {**old, **new} if _member(old, name) != _member(new, name)]
    changes = [f"{name}: {_member(old, name)} -> {_member(new, name)}" for name in names]
    return f"{key}  {', '.join(changes) or 'a new revision'}"


def _is_score(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return False
    return True


def _member(document: Mapping[str, Any], name: str) -> str:
    """A member of a document; a field with its default value may have none."""
    return _json(document[name]) if name in document else "the default"


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
