"""Levels of durability: what has to have a write before the caller gets its answer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from keyweave.effects import Command, Reply
from keyweave.errors import ConfigurationError

_LEVEL: Final = re.compile(r"disk|replicas:([1-9][0-9]{0,2})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Durability:
    """A level of durability.

    Attributes:
        level: `disk`, or `replicas:N`.
        replicas: N; 0 for `disk`.
    """

    level: str
    replicas: int

    @property
    def verb(self) -> str:
        """The command that confirms writes: WAITAOF, or WAIT."""
        return "WAIT" if self.replicas else "WAITAOF"

    def command(self, milliseconds: int) -> Command:
        """Return the command that waits until every write before it on the same connection is confirmed.

        Args:
            milliseconds: how long, at least 1: the server would wait without end for 0.
        """
        numbers = (self.replicas,) if self.replicas else (1, 0)
        return (self.verb, *numbers, max(1, milliseconds))

    def confirmed(self, reply: Reply) -> bool:
        """Return whether the reply to `command` says that the writes have the level."""
        if self.replicas:
            return type(reply) is int and reply >= self.replicas
        return (
            type(reply) is list
            and len(reply) == 2
            and all(type(number) is int for number in reply)
            and reply[0] >= 1
        )

    def missing(self, reply: Reply) -> str:
        """Return in words what a reply that does not confirm says is missing."""
        if self.replicas:
            found = reply if type(reply) is int else "an unknown number"
            return f"{found} of {self.replicas} replicas had confirmed it"
        return "the server had not confirmed that it is on its disk"


def parse_durability(level: object) -> Durability | None:
    """Return the level that the option `durable` names; None for None.

    Raises:
        ConfigurationError: there is no such level.
    """
    if level is None:
        return None
    found = _LEVEL.fullmatch(level) if isinstance(level, str) else None
    if found is None:
        raise ConfigurationError("option durable must be 'disk', or 'replicas:N' with N from 1 to 999")
    return Durability(found[0], int(found[1] or 0))
