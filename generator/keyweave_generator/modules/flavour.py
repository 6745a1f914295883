"""The two flavours of repositories and stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Flavour:
    """The words in which the two flavours of a module differ.

    Attributes:
        module: name of the subpackage.
        title: how documentation calls it.
        define: how a method that does IO begins.
        wait: what stands before a call that does IO.
        iterator: the type of what `iterate` returns.
        callback: the type of what the function of a transaction returns.
    """

    module: str
    title: str
    define: str
    wait: str
    iterator: str
    callback: str


FLAVOURS: Final = (
    Flavour("sync", "blocking", "def", "", "Iterator", "T"),
    Flavour("aio", "asyncio", "async def", "await ", "AsyncIterator", "Awaitable[T]"),
)
