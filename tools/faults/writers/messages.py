"""Messages between the campaign and a process of writers: MessagePack, each behind its length."""

from __future__ import annotations

from struct import Struct
from typing import IO, Any, Final, TypeVar

import msgspec

from tools.faults.history import Act

M = TypeVar("M")

_LENGTH: Final = Struct("<I")


class Begin(msgspec.Struct, tag=True):
    """Open a store and start writers.

    Attributes:
        url: of the proxy.
        package: the folder with the generated package.
        seed: of what the writers do.
        first: number of the first writer; their numbers are in their tokens.
        writers: how many.
        options: of the store.
        pause: mean seconds between two calls of one writer.
    """

    url: str
    package: str
    seed: int
    first: int
    writers: int
    options: dict[str, Any]
    pause: float


class Interrupt(msgspec.Struct, tag=True):
    """Interrupt calls: throw exceptions into threads, or cancel tasks.

    Attributes:
        number: how many.
        pause: mean seconds between two of them.
        seed: of their moments.
    """

    number: int
    pause: float
    seed: int


class Finish(msgspec.Struct, tag=True):
    """Let the writers end their calls, wait up to `patience` seconds, and report."""

    patience: float


Order = Begin | Interrupt | Finish


class Ready(msgspec.Struct, tag=True):
    """The writers run."""


class Finished(msgspec.Struct, tag=True):
    """What the writers of one process did.

    Attributes:
        acts: their calls, those that have not returned included.
        pool: connections that are open, idle and waited for; None when a call has not returned.
        interrupted: how many calls were interrupted.
        recovery: the error of a last read through the same store; empty when it was answered.
    """

    acts: list[Act]
    pool: tuple[int, int, int] | None
    interrupted: int
    recovery: str = ""


class Failed(msgspec.Struct, tag=True):
    """The process cannot do what it was asked for; `text` is the traceback."""

    text: str


Answer = Ready | Finished | Failed


def send(stream: IO[bytes], message: Order | Answer) -> None:
    """Write a message."""
    data = msgspec.msgpack.encode(message)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes], kind: Any) -> Any:
    """Read a message of a kind; None at the end of the stream."""
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    return msgspec.msgpack.decode(stream.read(length), type=kind)
