"""The steps that a channel to a cluster carries out, and how it learns which node serves which slot. No IO."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.effects import Command, ConnectionFailure, Reply
from keyweave.errors import ConfigurationError

T = TypeVar("T")

AT_ONCE: Final = 32
"""Most nodes that are asked at the same time."""

_READ_SLOTS: Final[Command] = ("CLUSTER", "SLOTS")
_DENIED: Final = frozenset({"NOPERM", "NOAUTH", "WRONGPASS"})


class Exchange(NamedTuple):
    """A pipeline for one node. The result is the replies, or the ConnectionFailure is thrown.

    Attributes:
        brief: whether it may take only as long as connecting may, because another node can be asked instead.
    """

    node: Node
    commands: Sequence[Command]
    brief: bool = False


Step: TypeAlias = Exchange | list[Exchange]
"""One exchange, or several that are under way at the same time: the result is then a list, with the replies of each or its failure."""

Steps: TypeAlias = Generator[Step, Any, T]


def read_slots(slots: SlotMap, first: Node | None = None) -> Steps[None]:
    """Ask one node after the other for the slots until one answers. One caller at a time does so, others go on meanwhile.

    Raises:
        ConnectionFailure: none answers, and the slots were never read.
        ConfigurationError: a node is no node of a cluster.
    """
    if slots.reading and slots.known:
        return
    slots.reading = True
    error: ConnectionFailure | None = None
    try:
        for node in slots.candidates(first):
            try:
                (reply,) = yield Exchange(node, (_READ_SLOTS,), brief=True)
            except ConnectionFailure as failure:
                if failure.reason == "deadline":
                    raise
                error = error or failure
                continue
            if type(reply) is list:
                slots.learn(reply, node)
                return
            if "cluster support disabled" in reply.message:
                raise ConfigurationError(
                    f"{node.host}:{node.port} is no node of a Redis Cluster: open the store with a redis:// URL"
                )
            reason = "authentication" if reply.code in _DENIED else "connect"
            text = f"{node.host}:{node.port} does not name the masters of the cluster: {reply.message}"
            error = ConnectionFailure(reason, text, sent=False)
    finally:
        slots.reading = False
    if not slots.known:
        assert error is not None
        raise ConnectionFailure(error.reason, str(error), sent=False) from error


def ask_all(exchanges: list[Exchange]) -> Steps[list[list[Reply]]]:
    """Carry out exchanges at the same time.

    Raises:
        ConnectionFailure: one of the nodes cannot be used.
    """
    found = (yield exchanges) if len(exchanges) > 1 else [(yield exchanges[0])]
    for each in found:
        if isinstance(each, ConnectionFailure):
            raise ConnectionFailure(each.reason, str(each), sent=True) from each
    return found
