"""A damage: the commands that cause it, the drift that a check must report, and the result of a repair."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import NamedTuple

from keyweave.integrity.drift import Kind
from tests.integrity.site import Site


class Outcome(enum.Enum):
    """The result of a repair of a damage."""

    RESTORED = "the keyspace is what it was"
    MENDED = "a document is gone or changed; every index agrees with those that are there"
    LEFT = "something is left for a person"


class Damage(NamedTuple):
    """One way of damaging a keyspace."""

    name: str
    do: Callable[[Site], object]
    kinds: set[Kind]
    outcome: Outcome = Outcome.RESTORED


class NotSoAnyMoreError(Exception):
    """An earlier damage removed what this one needs."""
