"""The blocking channel to a cluster."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from keyweave.connection.direct import wire
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.redis_py.channel_sync import RedisPyChannel
from keyweave.connection.redis_py.cluster.deliver import deliver
from keyweave.connection.redis_py.cluster.node_settings import at_node, total
from keyweave.connection.redis_py.cluster.route import only_slot
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.redis_py.cluster.steps import Exchange, Steps
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError
from keyweave.errors import StoreUnavailableError


class Nodes(Protocol):
    """Clients of single nodes."""

    def client(self, node: Node, /) -> Any:
        """Return the client of redis-py whose pool has the connections to a node."""


class ClusterChannel:
    """Exchanges with the masters of a cluster, each on connections of its own pool.

    Args:
        settings: the addresses of some nodes, and the limits of an exchange.
        slots: the owners of the slots.
        nodes: clients of single nodes.
        on_close: closes what belongs to this channel; None where the application gave a client.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        slots: SlotMap,
        nodes: Nodes,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.settings: Final = settings
        self._slots: Final = slots
        self._nodes: Final = nodes
        self._on_close = on_close
        self._own: Final = on_close is not None
        self._channels: dict[Node, RedisPyChannel] = {}
        self._closed = False
        self._watch: PoolWatch | None = None

    def exchange(  # noqa: D102 - Channel
        self,
        commands: Sequence[Command],
        until: float | None = None,
        within: float | None = None,
        meanwhile: Callable[[], None] | None = None,
        /,
    ) -> list[Reply]:
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")
        slots = self._slots
        slot = None if slots.stale else only_slot(commands)
        node = None if slot is None else slots.owner(slot)
        if node is None:
            return self._run(deliver(slots, commands), until, within) if commands else []
        try:
            replies = self._channel(node).exchange(commands, until, within, meanwhile)
        except ConnectionFailure as failure:
            self._lost(node, failure)
            raise
        for reply in replies:
            if type(reply) is ServerError:
                return self._run(deliver(slots, commands, replies), until, within)
        return replies

    def _run(self, steps: Steps[list[Reply]], until: float | None, within: float | None) -> list[Reply]:
        """Carry out the steps of a delivery."""
        answer: Any = None
        failure: ConnectionFailure | None = None
        begun = False
        while True:
            try:
                step = steps.send(answer) if failure is None else steps.throw(failure)
            except StopIteration as stop:
                return stop.value  # type: ignore[no-any-return]
            answer = failure = None
            try:
                if begun and until is not None and time.monotonic() >= until:
                    raise wire.deadline_passed()
                begun = True
                if isinstance(step, list):
                    answer = self._at_once(step, until, within)
                    continue
                limit, seconds = until, within
                if step.brief:
                    seconds = self.settings.connect_timeout
                    limit = wire.earlier(until, seconds)
                answer = self._channel(step.node).exchange(step.commands, limit, seconds)
            except ConnectionFailure as error:
                if isinstance(step, Exchange):
                    self._lost(step.node, error)
                failure = error

    def _at_once(
        self, steps: Sequence[Exchange], until: float | None, within: float | None
    ) -> list[list[Reply] | ConnectionFailure]:
        """Send to every node, then read what each answers. A node that cannot be used does not keep the others from being asked."""
        found: list[list[Reply] | ConnectionFailure | None] = [None] * len(steps)
        self._run_from(0, steps, found, until, within)
        return [each for each in found if each is not None]

    def _run_from(
        self,
        number: int,
        steps: Sequence[Exchange],
        found: list[list[Reply] | ConnectionFailure | None],
        until: float | None,
        within: float | None,
    ) -> None:
        """Carry out the steps from one on that have not been. A function inside `_at_once` would refer to itself, and to all replies."""
        node, commands, _ = steps[number]
        # The next ones are sent while this node works.
        following = partial(self._run_from, number + 1, steps, found, until, within)
        last = number + 1 == len(steps)
        try:
            replies = self._channel(node).exchange(commands, until, within, None if last else following)
        except ConnectionFailure as failure:
            self._lost(node, failure)
            found[number] = failure
        else:
            found[number] = replies
        if not last and found[number + 1] is None:  # this node failed before anything was sent to it
            following()

    def _channel(self, node: Node) -> RedisPyChannel:
        """Return the channel to one node."""
        channel = self._channels.get(node)
        if channel is None:
            settings = at_node(self.settings, node)
            made = RedisPyChannel(self._nodes.client(node), settings, own=self._own)
            if self._watch is not None:
                made.watch(self._watch)
            channel = self._channels.setdefault(node, made)
            for gone in self._channels.keys() - self._slots.nodes - {node}:
                self._channels.pop(gone, None)
        return channel

    def _lost(self, node: Node, failure: ConnectionFailure) -> None:
        """Note that a node could not be used, unless that says nothing about it."""
        if failure.reason not in ("pool", "deadline"):
            self._slots.suspect(node)

    def state(self) -> PoolState | None:  # noqa: D102 - Channel
        if self._closed:
            return None
        return total(self.settings, [channel.state() for channel in tuple(self._channels.values())])

    def watch(self, watch: PoolWatch) -> None:  # noqa: D102 - Channel
        self._watch = watch
        for channel in tuple(self._channels.values()):
            channel.watch(watch)

    def close(self) -> None:  # noqa: D102 - Channel
        self._closed = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


class OwnNodes:
    """Clients that belong to the channel, one for each node.

    Args:
        make: makes the client of a node; it does not connect.
    """

    def __init__(self, make: Callable[[Node], Any]) -> None:
        self._make: Final = make
        self._clients: dict[Node, Any] = {}

    def client(self, node: Node) -> Any:  # noqa: D102 - Nodes
        found = self._clients.get(node)
        return found if found is not None else self._clients.setdefault(node, self._make(node))

    def close(self) -> None:
        """Close all clients."""
        for client in tuple(self._clients.values()):
            client.close()


class GivenNodes:
    """The nodes of a client that stays the application's.

    Args:
        client: a `redis.RedisCluster`.
    """

    def __init__(self, client: Any) -> None:
        self._manager: Final = client.nodes_manager

    def client(self, node: Node) -> Any:  # noqa: D102 - Nodes
        manager = self._manager
        with manager._lock:
            found = manager.get_node(node.host, node.port)
            if found is None:
                found = manager._get_or_create_cluster_node(
                    node.host, node.port, "primary", manager.nodes_cache
                )
            if found.redis_connection is None:
                manager.create_redis_connections([found])
            return found.redis_connection
