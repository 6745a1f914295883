"""The asyncio channel to a cluster."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol

from keyweave.connection.direct import wire
from keyweave.connection.pool_state import PoolState, PoolWatch
from keyweave.connection.redis_py.channel_aio import RedisPyChannel
from keyweave.connection.redis_py.cluster.deliver import deliver
from keyweave.connection.redis_py.cluster.node_settings import at_node, total
from keyweave.connection.redis_py.cluster.route import only_slot
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.redis_py.cluster.steps import Exchange, Steps
from keyweave.connection.redis_py.failure import connecting_failed, original
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import Command, ConnectionFailure, Reply, ServerError
from keyweave.errors import StoreUnavailableError


class Nodes(Protocol):
    """Clients of single nodes."""

    async def begin(self, until: float | None, /) -> None:
        """Do what the first exchange needs, by the monotonic time `until`. Raises ConnectionFailure."""

    def client(self, node: Node, /) -> Any:
        """Return what has the pool of the connections to a node, as `connection_pool`."""


class ClusterChannel:
    """Exchanges with the masters of a cluster, each on connections of its own pool, on the event loop of the first exchange.

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
        on_close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self.settings: Final = settings
        self._slots: Final = slots
        self._nodes: Final = nodes
        self._on_close = on_close
        self._channels: dict[Node, RedisPyChannel] = {}
        self._begun = self._closed = False
        self._watch: PoolWatch | None = None

    async def exchange(  # noqa: D102 - AsyncChannel
        self, commands: Sequence[Command], until: float | None = None, within: float | None = None, /
    ) -> list[Reply]:
        if self._closed:
            raise StoreUnavailableError(f"this store is closed ({self.settings.address})")
        if not self._begun:
            await self._nodes.begin(until)
            self._begun = True
        slots = self._slots
        slot = None if slots.stale else only_slot(commands)
        node = None if slot is None else slots.owner(slot)
        if node is None:
            return await self._run(deliver(slots, commands), until, within) if commands else []
        try:
            replies = await self._channel(node).exchange(commands, until, within)
        except ConnectionFailure as failure:
            self._lost(node, failure)
            raise
        for reply in replies:
            if type(reply) is ServerError:
                return await self._run(deliver(slots, commands, replies), until, within)
        return replies

    async def _run(self, steps: Steps[list[Reply]], until: float | None, within: float | None) -> list[Reply]:
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
                    answer = await self._at_once(step, until, within)
                    continue
                limit, seconds = until, within
                if step.brief:
                    seconds = self.settings.connect_timeout
                    limit = wire.earlier(until, seconds)
                answer = await self._channel(step.node).exchange(step.commands, limit, seconds)
            except ConnectionFailure as error:
                if isinstance(step, Exchange):
                    self._lost(step.node, error)
                failure = error

    async def _at_once(
        self, steps: Sequence[Exchange], until: float | None, within: float | None
    ) -> list[list[Reply] | ConnectionFailure]:
        """Send to every node, then read what each answers. A node that cannot be used does not keep the others from being asked."""
        found: list[list[Reply] | ConnectionFailure | None] = [None] * len(steps)
        await self._run_from(0, steps, found, until, within)
        return [each for each in found if each is not None]

    async def _run_from(
        self,
        number: int,
        steps: Sequence[Exchange],
        found: list[list[Reply] | ConnectionFailure | None],
        until: float | None,
        within: float | None,
    ) -> None:
        """Carry out the steps from one on that have not been. A function inside `_at_once` would refer to itself, and to all replies."""
        node, commands, _ = steps[number]
        # The next ones are sent while this node works. A task for each would take more time than the sending.
        following = partial(self._run_from, number + 1, steps, found, until, within)
        last = number + 1 == len(steps)
        try:
            replies = await self._channel(node).exchange(commands, until, within, None if last else following)
        except ConnectionFailure as failure:
            self._lost(node, failure)
            found[number] = failure
        else:
            found[number] = replies
        if not last and found[number + 1] is None:  # this node failed before anything was sent to it
            await following()

    def _channel(self, node: Node) -> RedisPyChannel:
        """Return the channel to one node."""
        channel = self._channels.get(node)
        if channel is None:
            channel = RedisPyChannel(self._nodes.client(node), at_node(self.settings, node))
            if self._watch is not None:
                channel.watch(self._watch)
            self._channels[node] = channel
            for gone in self._channels.keys() - self._slots.nodes - {node}:
                del self._channels[gone]
        return channel

    def _lost(self, node: Node, failure: ConnectionFailure) -> None:
        """Note that a node could not be used, unless that says nothing about it."""
        if failure.reason not in ("pool", "deadline"):
            self._slots.suspect(node)

    def state(self) -> PoolState | None:  # noqa: D102 - AsyncChannel
        if self._closed:
            return None
        return total(self.settings, [channel.state() for channel in self._channels.values()])

    def watch(self, watch: PoolWatch) -> None:  # noqa: D102 - AsyncChannel
        self._watch = watch
        for channel in self._channels.values():
            channel.watch(watch)

    async def close(self) -> None:  # noqa: D102 - AsyncChannel
        self._closed = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            await on_close()


class OwnNodes:
    """Clients that belong to the channel, one for each node.

    Args:
        make: makes the client of a node; it does not connect.
    """

    def __init__(self, make: Callable[[Node], Any]) -> None:
        self._make: Final = make
        self._clients: dict[Node, Any] = {}

    async def begin(self, until: float | None) -> None:
        """Nothing has to be done."""

    def client(self, node: Node) -> Any:  # noqa: D102 - Nodes
        found = self._clients.get(node)
        if found is None:
            found = self._clients[node] = self._make(node)
        return found

    async def close(self) -> None:
        """Close all clients."""
        for client in self._clients.values():
            await client.aclose()


class GivenNodes:
    """The nodes of a client that stays the application's.

    Args:
        client: a `redis.asyncio.RedisCluster`.
        settings: what `settings_of` returned.
    """

    def __init__(self, client: Any, settings: ConnectionSettings) -> None:
        self._client: Final = client
        self._manager: Final = client.nodes_manager
        self._settings: Final = settings

    async def begin(self, until: float | None) -> None:
        """Let the client find its nodes: one that has not would leave connections open when the application closes it."""
        seconds = wire.seconds_left(self._settings.connect_timeout, until)
        try:
            async with asyncio.timeout(seconds):
                await self._client.initialize()
        except Exception as raised:
            raise connecting_failed(self._settings, original(raised), seconds) from raised

    def client(self, node: Node) -> Any:  # noqa: D102 - Nodes
        manager = self._manager
        found = manager.get_node(node.host, node.port)
        if found is None:
            kind = type(next(iter(manager.startup_nodes.values())))
            found = kind(node.host, node.port, "primary", **manager.connection_kwargs)
            manager.nodes_cache[found.name] = found
        return _Pooled(found)


class _Pooled:
    """A node of redis-py's asyncio cluster client with its connections as a pool, as single clients have it."""

    def __init__(self, node: Any) -> None:
        self._node: Final = node
        self._available_connections: Final = node._free
        self._in_use_connections: Final[set[Any]] = set()
        self.connection_pool: Final = self
        self.max_connections: Final = node.max_connections

    def can_get_connection(self) -> bool:
        """Return whether a connection is free or may be made."""
        return bool(self._available_connections) or len(self._node._connections) < self.max_connections

    def get_available_connection(self) -> Any:
        """Take a connection, which may not be connected."""
        connection = self._node.acquire_connection()
        self._in_use_connections.add(connection)
        return connection

    async def disconnect(self, *, inuse_connections: bool) -> None:
        """Disconnect the free connections."""
        assert not inuse_connections
        await self._node.disconnect_free_connections()
