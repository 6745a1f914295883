"""Queries by key: filters on every field of the key leave a known number of rows, which no view is needed for."""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

from keyweave.model.entity import Entity
from keyweave.read.conditions import MOST_VALUES, Conditions


def keys_asked(entity: Entity[Any], conditions: Conditions) -> tuple[str, ...] | None:
    """Return the ids of the rows that the filters on the key leave; None if a part of the key has no value, or there are too many."""
    choices: list[tuple[Any, ...]] = []
    for name in entity.key_fields:
        if name in conditions.equal:
            choices.append((conditions.equal[name],))
        elif name in conditions.any_of:
            choices.append(conditions.any_of[name])
        else:
            return None
    if prod(map(len, choices)) > MOST_VALUES:
        return None
    composite = bool(entity.parts)
    return tuple([entity.stored_key(values if composite else values[0]) for values in product(*choices)])
