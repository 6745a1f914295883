"""Which clients of redis-py a store can use, and how they are made for the URLs of Sentinels and clusters."""

from __future__ import annotations

from typing import Any, Final

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.backoff
import redis.retry
import redis.sentinel

from keyweave.connection.redis_py.sentinels import AsyncSentinels, Sentinels
from keyweave.connection.settings import ConnectionSettings
from keyweave.errors import ConfigurationError

_DEFAULTS: Final = ConnectionSettings(scheme="redis")


def is_cluster(client: object) -> bool:
    """Return whether a client is one of a cluster."""
    return isinstance(client, redis.RedisCluster | redis.asyncio.RedisCluster)


def settings_of(client: Any, *, asynchronous: bool) -> ConnectionSettings:
    """Return where a client leads, and its limits. Credentials stay in the client.

    Raises:
        ConfigurationError: a store cannot use this client.
    """
    _require_usable(client, asynchronous=asynchronous)
    if is_cluster(client):
        return _cluster_settings(client, asynchronous=asynchronous)
    pool: Any = client.connection_pool
    options = pool.connection_kwargs
    where: dict[str, Any] = {"host": str(options.get("host", "localhost")), "port": options.get("port", 6379)}
    scheme = "redis"
    if issubclass(pool.connection_class, _tls_class(asynchronous)):
        scheme = "rediss"
    elif options.get("path"):
        scheme, where = "unix", {"path": str(options["path"])}
    if isinstance(pool, _sentinel_pool(asynchronous)):
        nodes = tuple(
            (
                str(each.connection_pool.connection_kwargs["host"]),
                each.connection_pool.connection_kwargs["port"],
            )
            for each in pool.sentinel_manager.sentinels
        )
        scheme, where = f"{scheme}+sentinel", {"nodes": nodes, "service": str(pool.service_name)}
        where |= {"host": nodes[0][0], "port": nodes[0][1]}
    timeout = options.get("socket_timeout") or _DEFAULTS.timeout
    wait = getattr(pool, "timeout", _DEFAULTS.pool_timeout)
    return ConnectionSettings(
        scheme=scheme,
        **where,
        db=options.get("db") or 0,
        timeout=timeout,
        connect_timeout=options.get("socket_connect_timeout") or timeout,
        pool_size=pool.max_connections,
        pool_timeout=_DEFAULTS.pool_timeout if wait is None else wait,
        health_check_interval=options.get("health_check_interval") or 0.0,
    )


def _cluster_settings(client: Any, *, asynchronous: bool) -> ConnectionSettings:
    manager: Any = client.nodes_manager
    options = manager.connection_kwargs
    nodes = tuple((str(node.host), int(node.port)) for node in tuple(manager.startup_nodes.values()))
    encrypted = options.get("ssl") or issubclass(
        options.get("connection_class", redis.Connection), _tls_class(asynchronous)
    )
    timeout = options.get("socket_timeout") or _DEFAULTS.timeout
    return ConnectionSettings(
        scheme="rediss+cluster" if encrypted else "redis+cluster",
        host=nodes[0][0],
        port=nodes[0][1],
        nodes=nodes,
        timeout=timeout,
        connect_timeout=options.get("socket_connect_timeout") or timeout,
        pool_size=options.get("max_connections") or 2**31,
        health_check_interval=options.get("health_check_interval") or 0.0,
    )


def _require_usable(client: Any, *, asynchronous: bool) -> None:
    expected: Any = (redis.Redis, redis.RedisCluster)
    other: Any = (redis.asyncio.Redis, redis.asyncio.RedisCluster)
    if asynchronous:
        expected, other = other, expected
    if isinstance(client, other):
        flavour, module = ("an asyncio", "redis.asyncio") if asynchronous else ("a blocking", "redis")
        raise ConfigurationError(f"client: {flavour} store needs a client of {module}, not {_name(client)}")
    if not isinstance(client, expected):
        raise ConfigurationError(
            f"client: must be a client of redis-py such as redis.Redis, not {_name(client)}"
        )
    pool = client.nodes_manager if is_cluster(client) else client.connection_pool
    if pool.connection_kwargs.get("decode_responses"):
        raise ConfigurationError(
            "client: it has decode_responses=True, and a store needs replies as bytes; give it another client"
        )
    if getattr(pool, "cache", None) is not None or getattr(pool, "_cache", None) is not None:
        raise ConfigurationError(
            "client: it caches replies, which a store cannot use; give it another client"
        )


def _name(client: object) -> str:
    return f"{type(client).__module__}.{type(client).__qualname__}"


def _tls_class(asynchronous: bool) -> Any:
    return redis.asyncio.SSLConnection if asynchronous else redis.SSLConnection


def _sentinel_pool(asynchronous: bool) -> Any:
    blocking, waiting = redis.sentinel.SentinelConnectionPool, redis.asyncio.sentinel.SentinelConnectionPool
    return waiting if asynchronous else blocking


def no_retries(asynchronous: bool) -> Any:
    """Return the policy of redis-py that tries once."""
    module = redis.asyncio.retry if asynchronous else redis.retry
    return module.Retry(redis.backoff.NoBackoff(), 0)


def tls_options(settings: ConnectionSettings) -> dict[str, Any]:
    """Return the TLS of settings as redis-py's options; empty without TLS."""
    if not settings.encrypted:
        return {}
    return {
        "ssl": True,
        "ssl_ca_certs": settings.tls_ca_file,
        "ssl_certfile": settings.tls_cert_file,
        "ssl_keyfile": settings.tls_key_file or settings.tls_cert_file,
        "ssl_cert_reqs": "required" if settings.tls_verify else "none",
        "ssl_check_hostname": settings.tls_verify and settings.tls_check_hostname,
    }


def sentinel_of(settings: ConnectionSettings, *, asynchronous: bool) -> tuple[Any, Any]:
    """Return redis-py's Sentinel for settings with a service, and its client of the master.

    All Sentinels together may take as long as connecting may.
    """
    once = no_retries(asynchronous)
    tls = tls_options(settings)
    share = settings.connect_timeout / len(settings.nodes)
    kind: Any = AsyncSentinels if asynchronous else Sentinels
    sentinel = kind(
        settings.nodes,
        sentinel_kwargs={
            "socket_timeout": share,
            "socket_connect_timeout": share,
            "retry": once,
            "protocol": 2,
            **tls,
        },
    )
    master = sentinel.master_for(
        settings.service,
        db=settings.db,
        username=settings.username,
        password=settings.password,
        client_name=settings.client_name,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.connect_timeout,
        max_connections=settings.pool_size,
        health_check_interval=settings.health_check_interval,
        retry=once,
        protocol=2,
        **tls,
    )
    return sentinel, master


def node_of(settings: ConnectionSettings, host: str, port: int, *, asynchronous: bool) -> Any:
    """Return redis-py's client of one node of the cluster that settings describe."""
    module = redis.asyncio if asynchronous else redis
    return module.Redis(
        host=host,
        port=port,
        username=settings.username,
        password=settings.password,
        client_name=settings.client_name,
        socket_timeout=settings.timeout,
        socket_connect_timeout=settings.connect_timeout,
        max_connections=settings.pool_size,
        health_check_interval=settings.health_check_interval,
        retry=no_retries(asynchronous),
        protocol=2,
        **tls_options(settings),
    )
