"""Logs that a store was opened, in one line: facts and addresses, never a credential."""

from __future__ import annotations

import logging
from typing import Final

from keyweave.connection.settings import ConnectionSettings
from keyweave.health.facts import ServerFacts
from keyweave.store.context import Context

STORE_DRIVER: Final = "redis"
"""The kind of store in telemetry and logs, whichever product the server is."""

_LOGGER: Final = logging.getLogger("keyweave")


def announce(settings: ConnectionSettings, context: Context, server: ServerFacts) -> None:
    """Log that a store was opened: one line, and the same facts as fields of the log record.

    The line names host and port, never a credential, and not the tenant, which may be the id of a person.
    """
    if not _LOGGER.isEnabledFor(logging.INFO):
        return
    app, version, _, _ = context.package.namespace
    network = settings.scheme in ("redis", "rediss")
    facts = {
        "store_driver": STORE_DRIVER,
        "server_address": settings.host if network else settings.address,
        "server_port": settings.port if network else None,
        "server_product": server.product,
        "server_version": server.version,
        "server_role": server.role,
        "persistence": server.persistence,
        "eviction_policy": server.eviction_policy,
        "used_memory": server.used_memory,
        "max_memory": server.max_memory,
        "scripts": server.scripts,
        "tls": settings.encrypted,
        "keyspace": f"{app}:{version}",
        "schema": context.package.fingerprint[:12],
    }
    line = " ".join(f"{name}={_word(value)}" for name, value in facts.items() if value is not None)
    _LOGGER.info("store opened: %s", line, extra=facts)


def _word(value: object) -> str:
    """Return a value as one word: a text with spaces is quoted, so that the line can be split at its spaces."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f'"{text}"' if " " in text else text
