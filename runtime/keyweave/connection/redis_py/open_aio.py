"""Opens the asyncio channel over a client of redis-py: one that the application gives, or one for the URL of Sentinels or a cluster."""

from __future__ import annotations

from typing import Any

from keyweave.connection.channel import AsyncChannel
from keyweave.connection.redis_py.channel_aio import RedisPyChannel
from keyweave.connection.redis_py.client import is_cluster, node_of, sentinel_of, settings_of
from keyweave.connection.redis_py.cluster.channel_aio import ClusterChannel, GivenNodes, OwnNodes
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.settings import ConnectionSettings


def client_channel(client: Any) -> AsyncChannel:
    """Return the channel over a client that stays the application's.

    Raises:
        ConfigurationError: a store cannot use this client. Nothing was sent.
    """
    settings = settings_of(client, asynchronous=True)
    if not is_cluster(client):
        return RedisPyChannel(client, settings)

    def remap(node: Node) -> Node:
        return Node(*client.nodes_manager.remap_host_port(*node))

    slots = SlotMap((Node(*each) for each in settings.nodes), remap)
    return ClusterChannel(settings, slots, GivenNodes(client, settings))


def cluster_channel(settings: ConnectionSettings) -> AsyncChannel:
    """Return the channel to the cluster of which settings name some nodes."""
    slots = SlotMap(Node(*each) for each in settings.nodes)
    nodes = OwnNodes(lambda node: node_of(settings, *node, asynchronous=True))
    return ClusterChannel(settings, slots, nodes, nodes.close)


def sentinel_channel(settings: ConnectionSettings) -> AsyncChannel:
    """Return the channel to the master that Sentinels name."""
    sentinel, master = sentinel_of(settings, asynchronous=True)

    async def close() -> None:
        await master.aclose()
        for each in sentinel.sentinels:
            await each.aclose()

    return RedisPyChannel(master, settings, close)
