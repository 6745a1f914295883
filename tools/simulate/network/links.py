"""Connections and exchanges. A pipeline is sent once, on one connection, and runs in its order.

A request that is slow arrives all the same, even after its client has closed the connection and sent a retry on another.
What a client learns of a connection that was cut is that it was cut, never whether its request arrived.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from keyweave.effects import Command, ConnectionFailure, ServerError
from tools.simulate.scenario import Place


class Link:
    """One connection.

    Attributes:
        cut: the server's end is gone.
    """

    __slots__ = ("cut",)

    def __init__(self) -> None:
        self.cut = False


class Client(Protocol):
    """A task of a process, as the network sees it.

    Attributes:
        link: its connection, if it has one.
    """

    link: Link | None

    def answered(self, replies: list[Any]) -> None:
        """Go on with the replies of the exchange under way."""

    def failed(self, failure: BaseException) -> None:
        """Go on with what went wrong in the exchange under way."""

    def crash(self) -> None:
        """End the process at once."""


class Exchange:
    """One pipeline under way.

    Attributes:
        place: in the scenario.
        over: the client no longer waits for it.
        replies: to the commands that ran so far.
        refusal: what the server answers to the commands from the number `refused_from` on, or None.
        patience: microseconds for which the client waits.
    """

    __slots__ = (
        "client",
        "commands",
        "link",
        "lost_reply",
        "over",
        "patience",
        "place",
        "refusal",
        "refused_from",
        "replies",
        "way_back",
    )

    def __init__(self, client: Client, commands: Sequence[Command], place: Place, link: Link) -> None:
        self.client = client
        self.commands = commands
        self.place = place
        self.link = link
        self.over = False
        self.replies: list[Any] = []
        self.way_back = 0
        self.lost_reply = False
        self.refusal: ServerError | None = None
        self.refused_from = 0
        self.patience = 0


def closed(text: str) -> ConnectionFailure:
    """The connection broke, and the server may have the request."""
    return ConnectionFailure("closed", f"the connection broke: {text}", sent=True)


def timed_out(seconds: float) -> ConnectionFailure:
    """No reply came in time."""
    return ConnectionFailure("timeout", f"no answer within {seconds:g} s", sent=True)


def deadline_passed() -> ConnectionFailure:
    """The budget of the operation is spent, so its process sends nothing and begins no pause."""
    return ConnectionFailure("deadline", "the operation's deadline has passed", sent=False)


def not_connected() -> ConnectionFailure:
    """There was no connection to be had."""
    return ConnectionFailure("connect", "connection refused", sent=False)
