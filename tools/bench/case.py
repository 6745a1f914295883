"""A case: one method of the contract, its arguments in each turn, and its effects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from tools.bench.data import Data

if TYPE_CHECKING:
    from tools.bench.sides import Side


@dataclass(frozen=True, slots=True)
class Turn:
    """Which rows a call is about: the same ones on every side."""

    number: int
    data: Data

    @property
    def scratch(self) -> int:
        """Number of the scratch execution of this turn; turns that run at the same time have different ones."""
        return self.number % self.data.size.scratch

    def pick(self, count: int) -> int:
        """A number below `count`, spread over all of them without order."""
        return (self.number * 7_919 + 13) % count


Prepare: TypeAlias = "Callable[[Side, Turn], Awaitable[tuple[Any, ...]]]"
Observe: TypeAlias = Callable[[Any, Turn], Awaitable[Any]]


async def _nothing(engine: Any, turn: Turn) -> Any:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One line of the comparison.

    Attributes:
        method: of the contract, such as `tasks.get_state`.
        prepare: brings the rows into the state that the call expects and returns the call's arguments, new ones for
            every side, because records learn what a store holds. Never timed.
        label: distinguishes cases of one method.
        writes: whether the call changes the store.
        grows: whether the result grows with the data.
        alone: whether calls cannot run at the same time, because they are about the same row.
        observe: reads what the call may have changed.
        through: the method that is called, when it is another one.
    """

    method: str
    prepare: Prepare
    label: str = ""
    writes: bool = False
    grows: bool = False
    alone: bool = False
    observe: Observe = field(default=_nothing)
    through: str = ""

    @property
    def name(self) -> str:
        """Method and label."""
        return f"{self.method} ({self.label})" if self.label else self.method

    def target(self, engine: Any) -> Callable[..., Awaitable[Any]]:
        """The bound method to call."""
        found: Any = engine
        for name in (self.through or self.method).split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]


def reads(
    method: str, pick: Callable[[Turn], tuple[Any, ...]], label: str = "", *, grows: bool = False
) -> Case:
    """A case that changes nothing: `pick` gives the arguments."""

    async def prepare(side: Side, turn: Turn) -> tuple[Any, ...]:
        return pick(turn)

    return Case(method=method, label=label, prepare=prepare, grows=grows)
