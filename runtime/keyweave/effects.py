"""Effects: what a flow may request. A flow yields an effect and is resumed with its result.

Flows make every decision. A shell (`keyweave.sync.shell`, `keyweave.aio.shell`) carries out effects and
knows nothing about entities, plans or keys.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Final, TypeAlias, TypeVar, overload

import msgspec

T = TypeVar("T")

Word: TypeAlias = str | bytes | int | float


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A command as the bytes of the wire. It reads like a tuple of its words, which are taken out of the bytes when needed.

    Only the direct channel is given such commands.

    Attributes:
        data: the bytes.
    """

    data: bytes

    def words(self) -> tuple[str, ...]:
        """Return the words of the command."""
        data, words = self.data, []
        at = data.index(b"\n") + 1
        while at < len(data):
            start = data.index(b"\n", at) + 1
            end = start + int(data[at + 1 : start - 2])
            words.append(data[start:end].decode())
            at = end + 2
        return tuple(words)

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[str, ...]: ...

    def __getitem__(self, index: int | slice) -> str | tuple[str, ...]:
        return self.words()[index]

    def __iter__(self) -> Iterator[str]:
        return iter(self.words())

    def __len__(self) -> int:
        return len(self.words())


Command: TypeAlias = tuple[Word, ...] | Packed
Reply: TypeAlias = Any
"""bytes, int, None, a list of replies, or a `ServerError` value (the shell does not raise an error reply)."""


class Receipt:
    """What became of the confirmation of writes, for the flow that sends them.

    Attributes:
        unconfirmed: why a store with the option `durable` did not have one of them confirmed, in words; None if nothing was missing.
        share: of the time that is left, how much the confirmation may take: less than 1 where more has to be sent.
    """

    __slots__ = ("share", "unconfirmed")

    def __init__(self, share: float = 1.0) -> None:
        self.share: Final = share
        self.unconfirmed: str | None = None


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send commands as one pipeline on one connection. The result is a list of replies, one per command.

    When the connection breaks or times out, the shell throws `ConnectionFailure` into the flow. The shell never
    repeats a command.

    Attributes:
        within: seconds after which the shell stops waiting, first for a connection and then for the replies; None: the
            timeouts of the connection apply.
        confirm: how many of the commands, counted from the first one, write rows. A store with the option `durable` has
            them confirmed directly behind the last of these; see `keyweave.exchange.confirm`.
        meanwhile: what the flow can do while the server works. A shell calls it when the commands are sent, also if they have to
            wait for a connection, or not at all: the flow does later what was not done.
        receipt: notes whether they were confirmed, instead of the operation that sends them.
        unconfirmed: why something that they need was not confirmed, in words; None if nothing was missing. They are not confirmed
            either then. Without commands this alone is noted.
        parts: what the flows of a durable store send that run at the same time, if `commands` are those of several: each has its
            own `confirm`, `receipt` and `unconfirmed`.
    """

    commands: Sequence[Command]
    within: float | None = None
    confirm: int = 0
    meanwhile: Callable[[], None] | None = None
    receipt: Receipt | None = None
    unconfirmed: str | None = None
    parts: Sequence[Send] = ()


class Sleep:
    """Pause for `seconds`. The result is None."""

    __slots__ = ("seconds",)

    def __init__(self, seconds: float) -> None:
        self.seconds: Final = seconds


class Call:
    """Call a function of the caller. The result is its return value, which the async shell awaits if it is awaitable.

    The shell throws an exception of the function into the flow unchanged.
    """

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function: Final = function
        self.arguments: Final = arguments


class Signal:
    """Announced once by one flow, for another flow of the same store, which may run on another thread.

    Each of the two methods writes before it reads, so one of them sees what the other wrote: no announcement is missed.

    Attributes:
        is_set: whether it was announced.
    """

    __slots__ = ("_wake", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        self._wake: Callable[[], object] | None = None

    def set(self) -> None:
        """Announce it. A shell that waits for it is woken."""
        self.is_set = True
        wake = self._wake
        if wake is not None:
            wake()

    def attach(self, wake: Callable[[], object]) -> None:
        """Let `wake` be called when it is announced, or now if it was; maybe twice, and on another thread."""
        self._wake = wake
        if self.is_set:
            wake()


class Wait:
    """Pause until `signal` is set, or `seconds` have passed. The result is whether it is set.

    If the operation's deadline comes first, the shell throws a `ConnectionFailure` with the reason `deadline` into the flow.
    """

    __slots__ = ("seconds", "signal")

    def __init__(self, signal: Signal, seconds: float) -> None:
        self.signal: Final = signal
        self.seconds: Final = seconds


Effect: TypeAlias = Send | Sleep | Call | Wait
Flow: TypeAlias = Generator[Effect, Any, T]


class ServerError(Exception):
    """An error reply, as a value: the text of the server, or its code and the text.

    The parser makes it in the middle of a reply. It has no constructor of its own, so that no Python code runs there, which
    a signal handler could interrupt.
    """

    @property
    def code(self) -> str:
        """The first word of the text: `NOSCRIPT`, `OOM`, `WRONGTYPE`, ..."""
        first: str = self.args[0]
        return first if len(self.args) > 1 else first.partition(" ")[0]

    @property
    def message(self) -> str:
        """The whole text."""
        text: str = self.args[-1]
        return text

    def __str__(self) -> str:
        return self.message


class ConnectionFailure(Exception):
    """The connection could not be used.

    The message names host and port, never a credential.

    Attributes:
        reason: `connect`, `timeout`, `closed`, `pool`, `authentication`, `deadline`: the operation's deadline has
            passed, so the shell did not carry out the effect and carries out no further one; or `moved`: the same, because partitions
            were doubled.
        sent: whether the server may have received the commands.
        answers: replies of the servers that did answer, by the place of the command; empty if the commands go to one server.
    """

    def __init__(
        self, reason: str, message: str, *, sent: bool, answers: Mapping[int, Reply] | None = None
    ) -> None:
        super().__init__(message)
        self.reason: Final = reason
        self.sent: Final = sent
        self.answers: Final[Mapping[int, Reply]] = answers or {}

    def copy(self, places: range | None = None) -> ConnectionFailure:
        """Return the same failure for another caller; raising an exception modifies its traceback.

        Args:
            places: of the caller's commands among all; it gets the answers to these.
        """
        own = {
            number: self.answers[place] for number, place in enumerate(places or ()) if place in self.answers
        }
        failure = ConnectionFailure(self.reason, str(self), sent=self.sent, answers=own)
        failure.__cause__ = self.__cause__
        return failure
