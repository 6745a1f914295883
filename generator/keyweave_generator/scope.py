"""Looking names up, with one message for each name that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from .node import Node
from .problems import Problems, listing, quote, suggestion

T = TypeVar("T")


@dataclass(slots=True)
class Scope(Generic[T]):
    """Names of one kind. A name that was declared with a mistake is known, and has no value.

    `complete` is False when a declaration could not be read at all; a missing name is then no mistake of its own.
    """

    what: str
    owner: str
    problems: Problems
    known: dict[str, T | None] = field(default_factory=dict)
    complete: bool = True

    def find(self, node: Node, name: str | None = None) -> T | None:
        """The value of the name written at `node` (or `name`). None when there is none, which has been reported."""
        wanted = node.text if name is None else name
        if wanted in self.known:
            return self.known[wanted]
        if self.complete:
            self.problems.add(node.position if name is None else node.key_position, self.absence(wanted))
        return None

    def absence(self, name: str) -> str:
        """The message for a name that is not there."""
        near = suggestion(name, self.known)
        choices = f"; there is {listing(self.known)}" if self.known else ""
        return f"{self.owner} has no {self.what} {quote(name)}{near or choices}"

    def values(self) -> Mapping[str, T]:
        """The usable values by name."""
        return {name: value for name, value in self.known.items() if value is not None}
