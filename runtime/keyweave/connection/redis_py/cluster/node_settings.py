"""The settings and the pools of single nodes, and of all of them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from keyweave.connection.pool_state import PoolState
from keyweave.connection.redis_py.cluster.slots import Node
from keyweave.connection.settings import ConnectionSettings


def at_node(settings: ConnectionSettings, node: Node) -> ConnectionSettings:
    """Return the settings of one node of a cluster."""
    scheme = "rediss" if settings.encrypted else "redis"
    return replace(settings, scheme=scheme, host=node.host, port=node.port, nodes=())


def total(settings: ConnectionSettings, states: Sequence[PoolState | None]) -> PoolState:
    """Return the state of all pools together. Each pool has the same limit."""
    pools = [state for state in states if state is not None]
    return PoolState(
        sum(pool.open for pool in pools),
        sum(pool.idle for pool in pools),
        sum(pool.waiting for pool in pools),
        settings.pool_size * max(len(pools), 1),
    )
