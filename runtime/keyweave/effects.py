"""What a flow may ask of the world. A flow yields one of these and is resumed with the answer.

Everything that thinks is a flow; a shell (`keyweave.sync.shell`, `keyweave.aio.shell`) carries out effects and
knows nothing about entities, plans or keys.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")

Word: TypeAlias = str | bytes | int | float
Command: TypeAlias = tuple[Word, ...]
Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a `ServerError` value (a refused command is not raised)."""


class Send:
    """Send commands as one pipeline on one connection; answered with a list of replies, one per command.

    When the connection breaks or a timeout strikes, the shell throws `ConnectionFailure` into the flow
    and never sends anything a second time on its own.
    """

    __slots__ = ("commands",)

    def __init__(self, commands: Sequence[Command]) -> None:
        self.commands: Final = commands


class Sleep:
    """Pause for `seconds`; answered with None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds


class Call:
    """Call a function of the user's; answered with its result, awaited in the async shell when it is awaitable.

    An exception that the function raises is thrown into the flow unchanged.
    """

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function: Final = function
        self.arguments: Final = arguments


Effect: TypeAlias = Send | Sleep | Call
Flow: TypeAlias = Generator[Effect, Any, T]


class ServerError(Exception):
    """An error reply, as a value. `code` is its first word (`NOSCRIPT`, `OOM`, `WRONGTYPE`, ...)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message


class ConnectionFailure(Exception):
    """The connection could not be used. `sent` tells whether the server may have received the commands.

    `reason` is one of `connect`, `timeout`, `closed`, `pool`, `authentication`; the text names host and port, never a
    credential.
    """

    def __init__(self, reason: str, message: str, *, sent: bool) -> None:
        super().__init__(message)
        self.reason: Final = reason
        self.sent: Final = sent

    def copy(self) -> ConnectionFailure:
        """The same failure for another caller: who raises an exception writes into it."""
        failure = ConnectionFailure(self.reason, str(self), sent=self.sent)
        failure.__cause__ = self.__cause__
        return failure
