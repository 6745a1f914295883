"""Matching: whether a record is a row of a query, by its fields, its moments and its entries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave.model.moment import from_micros
from keyweave.model.record import Record, memory_of
from keyweave.read.conditions import Conditions


def matches(entity: Entity[Any], conditions: Conditions, record: Record) -> bool:
    """Return whether a record passes every test, and is in the partial view that the query names, if it names one."""
    for name, each in conditions.tests.items():
        value = value_of(entity, record, name)
        for test in each:
            if not test(value):
                return False
    view = conditions.view
    return view is None or any(
        type(entry) is ViewEntry and entry.view == view.name for entry in entity.entries(record)
    )


def value_of(entity: Entity[Any], record: Record, name: str) -> Any:
    """Return the value of a field or moment (see `condition_name`) of a record. A moment that the server has not set yet is now."""
    if name.startswith("@") or name in entity.managed:
        stored = memory_of(record)
        assert stored is not None
        micros = stored.created if name in ("@created", entity.created) else stored.revision
        return from_micros(micros) if micros > 0 else datetime.now(UTC)
    return getattr(record, name)
