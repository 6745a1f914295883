"""What must hold: at every moment on the servers, and between the answers to callers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from keyweave.errors import AlreadyExistsError
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.store.context import Context
from tools.simulate.history import ABSENT, PRESENT
from tools.simulate.homes.client import Act
from tools.simulate.homes.scenario import CODES, KEYS
from tools.simulate.homes.site import Site
from tools.simulate.judge.linearize import FOREVER, Event, linearizable


class Violation(NamedTuple):
    """A promise that was broken.

    Attributes:
        promise: which one.
        text: what was found instead.
    """

    promise: str
    text: str


def look(site: Site, context: Context, item: Entity[Any]) -> Iterator[Violation]:
    """What is wrong on the servers at this moment: every step is atomic, so nothing may be wrong at any."""
    for key in KEYS:
        rows = [
            partition.index
            for partition in site.partitions
            if partition.document(item.name, key).encode() in site.node_of(partition).database.values
        ]
        if len(rows) > 1:
            yield Violation("two rows", f"{key} is in the partitions {rows}")
        home = _home(site, context, item, "", key)
        if rows and home not in rows:
            yield Violation("row without its home", f"{key} is in {rows}, its home is {home}")
    for code in CODES:
        owners = {
            partition.index: owner.decode()
            for partition in site.partitions
            if (owner := _field(site, partition, partition.claims(item.name, "code"), code)) is not None
        }
        if len(owners) > 1:
            yield Violation("two owners", f"{code} is claimed in the partitions {owners}")
        home = _home(site, context, item, "code", code)
        if owners and home not in owners:
            yield Violation("value without its home", f"{code} is claimed in {owners}, its home is {home}")
    yield from _drift(site, context, item)


def _drift(site: Site, context: Context, item: Entity[Any]) -> Iterator[Violation]:
    """Claims and rows of one partition that do not agree."""
    for partition in site.partitions:
        values = site.node_of(partition).database.values
        implied: dict[bytes, bytes] = {}
        for key in KEYS:
            document = values.get(partition.document(item.name, key).encode())
            if isinstance(document, bytes):
                codec = context.codec(item)
                entries = codec.entries_of(codec.read_memory(document))
                implied |= {
                    each.value.encode(): each.owner.encode() for each in entries if type(each) is ClaimEntry
                }
        held = values.get(partition.claims(item.name, "code").encode(), {})
        if held != implied:
            yield Violation("drift", f"partition {partition.index} claims {held!r}, its rows imply {implied}")


def _home(site: Site, context: Context, item: Entity[Any], unique: str, value: str) -> int | None:
    at = context.keyspace.partition(item.group, value)
    home = _field(site, at, at.homes(item.name, unique), value)
    return int(home.split()[0]) if home is not None else None


def _field(site: Site, partition: Any, key: str, field: str) -> bytes | None:
    held = site.node_of(partition).database.values.get(key.encode(), {})
    return held.get(field.encode()) if isinstance(held, dict) else None


def check_answers(acts: list[Act]) -> Iterator[Violation]:
    """Whether, for each key, some order of the operations explains the answers to their callers. The last gets are among them."""
    for key in KEYS:
        events = [event for act in acts if act.operation.key == key and (event := _event(act)) is not None]
        if linearizable(events, ABSENT) is False:
            answers = "; ".join(f"{event.label} {event.read}->{event.write}" for event in events)
            yield Violation("lost or found", f"no order of these explains {key}: {answers}")


def _event(act: Act) -> Event | None:
    """What an operation says of the register of its key; None for nothing."""
    name, kind = f"{act.token} {act.operation.kind}", act.operation.kind
    effects = {"create": (ABSENT, act.token), "recode": (PRESENT, act.token), "delete": (PRESENT, ABSENT)}
    if act.outcome == "unknown":
        if kind not in effects:
            return None
        return Event(act.began, FOREVER, *effects[kind], certain=False, label=name)
    ended = act.ended or FOREVER
    if act.outcome == "refused":
        present = kind == "create" and isinstance(act.error, AlreadyExistsError)
        return Event(act.began, ended, PRESENT, None, certain=True, label=name) if present else None
    if kind == "get":
        return Event(act.began, ended, act.result or ABSENT, None, certain=True, label=name)
    if kind == "create" or (act.result is True and kind in effects):
        return Event(act.began, ended, *effects[kind], certain=True, label=name)
    if (kind, act.result) in (("recode", None), ("delete", False)):
        return Event(act.began, ended, ABSENT, None, certain=True, label=name)
    return None
