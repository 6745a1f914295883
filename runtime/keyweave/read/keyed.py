"""Queries by key: filters on every field of the key leave a known number of rows, which no view is needed for."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from keyweave.model.entity import Entity
from keyweave.read.conditions import MOST_VALUES, Conditions


def keys_asked(entity: Entity[Any], conditions: Conditions) -> tuple[str, ...] | None:
    """Return the ids of the rows that the filters on the key leave; None if a part of the key has no value, or there are too many."""
    choices = [_values(conditions, name) for name in entity.key_fields]
    if not all(choices) or prod(map(len, choices)) > MOST_VALUES:
        return None
    keys = product(*choices) if entity.parts else choices[0]
    return tuple([entity.stored_key(key) for key in keys])


def _values(conditions: Conditions, name: str) -> tuple[Any, ...]:
    """Return the values that a field may have; nothing if any."""
    return (conditions.equal[name],) if name in conditions.equal else conditions.any_of.get(name, ())
