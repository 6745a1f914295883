"""Stores over a client of redis-py in place of a store's own connections, where `tests.channels` chooses that."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import redis
import redis.asyncio

from keyweave.connection.redis_py.client import no_retries, tls_options
from keyweave.connection.settings import ConnectionSettings, parse_url
from keyweave.embedded import server
from keyweave.store.policy import Policy
from tests.channels import chosen_channel
from tests.servers.cluster import shared_cluster

_POLICY: Final = {field.name for field in dataclasses.fields(Policy)}
_OVER: Final = _POLICY | {
    "namespace",
    "retention",
    "partitions",
    "durable",
    "environment",
    "tracer_provider",
    "meter_provider",
}


def opened_store(module: Any, flavour: str, url: str, **options: Any) -> Any:
    """Open a store of a flavour's module; the result may have to be awaited."""
    if chosen_channel() == "direct" or "connection_factory" in options:
        return module.Store.open(url, **options)
    return _over(module, flavour, url, options)


def _over(module: Any, flavour: str, url: str, options: dict[str, Any]) -> Any:
    over: dict[str, Any] = {"command_words": parse_url(url).command_words}
    over |= {name: options[name] for name in options if name in _OVER}
    rest = {name: value for name, value in options.items() if name not in _OVER}
    client, release = client_at(url, asynchronous=flavour == "aio", **rest)
    store = module.Store.over(client, **over)
    # The client closes with its store, as the connections of a store that a URL opened do.
    store.session.shell.channel._on_close = release
    if flavour == "aio":
        return _ready(store)
    try:
        store.ready()
    except BaseException:
        store.close()
        raise
    return store


async def _ready(store: Any) -> Any:
    try:
        await store.ready()
    except BaseException:
        await store.close()
        raise
    return store


def client_at(
    url: str, *, asynchronous: bool, more: Mapping[str, Any] = MappingProxyType({}), **options: Any
) -> tuple[Any, Any]:
    """A client of redis-py at a URL of Keyweave, with the same options, and the function that closes it.

    Args:
        url: where the server is.
        asynchronous: the flavour.
        more: arguments of the client.
        options: as in a URL of Keyweave.
    """
    if url.startswith("redis+cluster:"):
        return _cluster_client(asynchronous, more, options)
    settings = parse_url(url, **options)
    lease = None
    if settings.scheme == "embedded":
        lease = server.acquire(settings.path or None)
        settings = lease.settings(settings)
    client = _client(settings, asynchronous, more)

    def close() -> None:
        client.close()
        if lease is not None:
            lease.release()

    async def aclose() -> None:
        await client.aclose()
        if lease is not None:
            await asyncio.to_thread(lease.release)

    return client, aclose if asynchronous else close


def _cluster_client(
    asynchronous: bool, more: Mapping[str, Any], options: Mapping[str, Any]
) -> tuple[Any, Any]:
    cluster = shared_cluster()
    settings = parse_url(cluster.url, **options)
    own: dict[str, Any] = {
        "socket_timeout": settings.timeout,
        "socket_connect_timeout": settings.connect_timeout,
        "client_name": settings.client_name,
        "max_connections": settings.pool_size,
        "health_check_interval": settings.health_check_interval,
        **more,
    }
    if not asynchronous:
        client = cluster.client(**own)
        return client, client.close
    startup = [redis.asyncio.cluster.ClusterNode(*each) for each in cluster.addresses]
    waiting = redis.asyncio.RedisCluster(startup_nodes=startup, **own)
    return waiting, waiting.aclose


def _client(settings: ConnectionSettings, asynchronous: bool, more: Mapping[str, Any]) -> Any:
    where: dict[str, Any] = {"host": settings.host, "port": settings.port}
    if settings.scheme == "unix":
        where = {"unix_socket_path": settings.path}
    module = redis.asyncio if asynchronous else redis
    return module.Redis(
        **where,
        db=settings.db,
        username=settings.username,
        password=settings.password,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.connect_timeout,
        client_name=settings.client_name,
        max_connections=settings.pool_size,
        health_check_interval=settings.health_check_interval,
        retry=no_retries(asynchronous),
        **tls_options(settings),
        **more,
    )
