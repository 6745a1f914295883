"""The two flavours of repositories and stores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Flavour:
    """The words in which the two flavours of a module differ.

    Attributes:
        module: name of the subpackage.
        title: its name in documentation.
        define: the keywords of a method that does IO.
        wait: the prefix of a call that does IO.
        callback: the return type of the function of a transaction.
    """

    module: str
    title: str
    define: str
    wait: str
    callback: str


FLAVOURS: Final = (
    Flavour("sync", "blocking", "def", "", "T"),
    Flavour("aio", "asyncio", "async def", "await ", "Awaitable[T]"),
)
