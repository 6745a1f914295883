"""Opens the blocking channel over a client of redis-py: one that the application gives, or one for the URL of Sentinels or a cluster."""

from __future__ import annotations

from typing import Any

from keyweave.connection.channel import Channel
from keyweave.connection.redis_py.channel_sync import RedisPyChannel
from keyweave.connection.redis_py.client import is_cluster, node_of, sentinel_of, settings_of
from keyweave.connection.redis_py.cluster.channel_sync import ClusterChannel, GivenNodes, OwnNodes
from keyweave.connection.redis_py.cluster.slots import Node, SlotMap
from keyweave.connection.settings import ConnectionSettings


def client_channel(client: Any) -> Channel:
    """Return the channel over a client that stays the application's.

    Raises:
        ConfigurationError: a store cannot use this client. Nothing was sent.
    """
    settings = settings_of(client, asynchronous=False)
    if not is_cluster(client):
        return RedisPyChannel(client, settings)

    def remap(node: Node) -> Node:
        return Node(*client.nodes_manager.remap_host_port(*node))

    slots = SlotMap((Node(*each) for each in settings.nodes), remap)
    return ClusterChannel(settings, slots, GivenNodes(client))


def cluster_channel(settings: ConnectionSettings) -> Channel:
    """Return the channel to the cluster of which settings name some nodes."""
    slots = SlotMap(Node(*each) for each in settings.nodes)
    nodes = OwnNodes(lambda node: node_of(settings, *node, asynchronous=False))
    return ClusterChannel(settings, slots, nodes, nodes.close)


def sentinel_channel(settings: ConnectionSettings) -> Channel:
    """Return the channel to the master that Sentinels name."""
    sentinel, master = sentinel_of(settings, asynchronous=False)

    def close() -> None:
        master.close()
        for each in sentinel.sentinels:
            each.close()

    return RedisPyChannel(master, settings, close)
