"""What the comparison asks of a library: the calls, and what it holds afterwards."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar, Final

from tools.bench.peers.rows import Row

PAGE: Final = 50
EXPIRES_IN: Final = 0.3
"""Seconds after which a row expires that `create_ending` has made."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a side keeps its rows.

    Attributes:
        socket: of the server.
        namespace: what its keys begin with; no other side has it.
    """

    socket: str
    namespace: str


class Taken(Exception):
    """A side has refused a row because its unique value is taken."""


class Side(ABC):
    """A library with rows of its own. Records are what the library returns; `plain` makes them comparable.

    Attributes:
        name: how reports call it.
        needs: modules of Python without which it is left out.
        search: whether it needs the server's search.
        lacks: calls that the library does not have, with the reason.
        notes: what the page says about it.
    """

    name: ClassVar[str]
    needs: ClassVar[tuple[str, ...]] = ()
    search: ClassVar[bool] = False
    lacks: ClassVar[Mapping[str, str]] = {}
    notes: ClassVar[str]

    def __init__(self, place: Place) -> None:
        self.place = place

    @classmethod
    def prepare(cls) -> None:
        """Import what the library needs, so that processes that are forked later need not."""
        for name in cls.needs:
            import_module(name)

    @abstractmethod
    def create(self, row: Row) -> Any:
        """Insert a row.

        Raises:
            Taken: the library refuses a second row with a unique value.
        """

    def create_if_free(self, row: Row) -> bool:
        """Insert a row unless its unique value is taken, as a careful caller of this library does; return whether it was inserted."""
        try:
            self.create(row)
        except Taken:
            return False
        return True

    @abstractmethod
    def get(self, number: int) -> Any:
        """The row with a number, or None."""

    @abstractmethod
    def by_slug(self, slug: str) -> Any:
        """The row with a unique value, or None."""

    @abstractmethod
    def page(self, field: str, value: str) -> Sequence[Any]:
        """At most `PAGE` rows with a value of an index, highest number first."""

    @abstractmethod
    def count(self, field: str, value: str) -> int:
        """The number of rows with a value of an index."""

    @abstractmethod
    def update(self, record: Any, state: str) -> Any:
        """Change the state of a record that was loaded."""

    @abstractmethod
    def delete(self, number: int) -> Any:
        """Delete a row that this side has written or read before."""

    @abstractmethod
    def visit(self, number: int) -> Any:
        """Add one to the visits of a row, so that concurrent calls do not lose one another, where the library can."""

    @abstractmethod
    def bulk(self, rows: Sequence[Row]) -> Any:
        """Insert many rows by the call that the library has for it."""

    @abstractmethod
    def create_ending(self, row: Row) -> None:
        """Insert a row that expires after `EXPIRES_IN` seconds or a little later."""

    @abstractmethod
    def entries(self) -> int:
        """The number of index entries and unique values that the server holds."""

    @abstractmethod
    def clean(self) -> None:
        """Remove what expired rows have left, by the call that the library has for it, if it has one."""

    @abstractmethod
    def plain(self, record: Any) -> Row:
        """A record of the library as a row."""

    @abstractmethod
    def close(self) -> None:
        """Close the connections of this side."""

    def forget(self) -> None:  # noqa: B027 - most libraries keep no records
        """Forget records that the library keeps in this process, so that the next read asks the server."""

    def learn(self, numbers: Iterable[int]) -> None:  # noqa: B027 - most callers choose the keys
        """Learn the keys of rows that another process has written."""
