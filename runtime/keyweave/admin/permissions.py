"""The minimal access rule (ACL) for an application and for the admin tool: the commands they send, on this namespace.

A test compares these lists with the source of flows and scripts, in both directions, and runs the engine's whole
contract under the rule.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from keyweave.connection.settings import SENTINEL, ConnectionSettings
from keyweave.errors import ConfigurationError
from keyweave.homes.home import may_have_homes
from keyweave.keyspace.keys import Keyspace
from keyweave.store.context import Context
from keyweave.store.durability import Durability

FLOWS: Final = frozenset(
    {
        "dbsize",
        "del",
        "eval",
        "evalsha",
        "exists",
        "get",
        "getrange",
        "hget",
        "hgetall",
        "hlen",
        "hset",
        "hsetnx",
        "info",
        "mget",
        "pexpire",
        "ping",
        "set",
        "time",
        "zcard",
        "zcount",
        "zinter",
        "zlexcount",
        "zmscore",
        "zrange",
        "zrangebylex",
        "zrangebyscore",
        "zrevrangebylex",
        "zrevrangebyscore",
    }
)
"""The commands that an application's flows send."""

SCRIPTS: Final = frozenset(
    {
        "pexpire",
        "del",
        "exists",
        "get",
        "getrange",
        "hdel",
        "hget",
        "hincrby",
        "hlen",
        "hset",
        "hsetnx",
        "mget",
        "set",
        "time",
        "zadd",
        "zcard",
        "zcount",
        "zinter",
        "zintercard",
        "zlexcount",
        "zmscore",
        "zrange",
        "zrangebylex",
        "zrangebyscore",
        "zrank",
        "zrem",
        "zrevrange",
        "zrevrank",
        "zscore",
    }
)
"""The commands that the scripts call: the server checks them as if the user had sent them."""

SEARCH: Final = frozenset({"hscan", "scan"})
"""The commands that find the entries of rows whose document the server freed before a sweep. An application whose entities have
retention sends them when it creates a row in place of such a row. SCAN shows the names of all keys of the server."""

HOMES: Final = frozenset({"hscan"})
"""The command that finds homes without a row, which a sweep removes in a group with several partitions. It shows one hash only."""

CONFIRMING: Final = frozenset({"wait", "waitaof"})
"""The commands that confirm writes: a store with the option `durable` sends the one of its level. Servers before Redis 7.2 do not
know WAITAOF, and refuse a rule that names it."""

ADMIN_FLOWS: Final = frozenset(
    {
        "config|get",
        "exec",
        "expire",
        "hdel",
        "hscan",
        "multi",
        "persist",
        "pexpiretime",
        "scan",
        "type",
        "unlink",
        "zscan",
        "zscore",
    }
)
"""The commands that the admin tool also needs. SCAN and CONFIG are not limited to the namespace's keys: they show the names of
all keys and the server's settings. An application also sends CONFIG GET when it opens a store, and works without the reply."""


CLUSTER: Final = frozenset({"asking", "cluster|slots"})
"""The commands by which a channel finds its way in a cluster."""

ADMIN_SCRIPTS: Final = frozenset({"persist", "pexpireat", "renamenx", "type"})
"""The commands that scripts call only for repairs."""


class Role(enum.Enum):
    """The user that a rule is for."""

    APPLICATION = "application"
    ADMIN = "admin"


def commands(
    role: Role, settings: ConnectionSettings, *, search: bool, durability: Durability | None = None
) -> list[str]:
    """Return the commands that a role sends over such connections, sorted, as ACL SETUSER names them.

    Args:
        search: whether an application may search for the entries of freed rows.
        durability: what confirms writes.
    """
    needed = FLOWS | SCRIPTS | (ADMIN_FLOWS | ADMIN_SCRIPTS if role is Role.ADMIN else frozenset())
    if search:
        needed |= SEARCH
    if durability is not None:
        needed |= {durability.verb.lower()}
    if settings.db:
        needed |= {"select"}
    if settings.clustered:
        needed |= CLUSTER
    if settings.client_name:
        needed |= {"client|setname"}
    if settings.scheme in SENTINEL:
        needed |= {"client|setinfo"}  # redis-py does without, and the server logs each refusal
    return sorted(needed)


def key_pattern(keyspace: Keyspace, *, all_tenants: bool = False) -> str:
    """Return the pattern of a namespace's keys, or of those of all tenants.

    A rule cannot contain a space or NUL, so `?` replaces each of them.
    """
    pattern = keyspace.pattern_of_tenants() if all_tenants else keyspace.pattern()
    return "~" + re.sub(r"[\s\x00]", "?", pattern, flags=re.ASCII)


def rule(
    context: Context,
    settings: ConnectionSettings,
    role: Role,
    user: str,
    *,
    search: bool = True,
    all_tenants: bool = False,
) -> list[str]:
    """Return the words after ACL SETUSER. They set no password, and the user keeps the passwords that it has.

    Args:
        search: whether an application whose entities have retention may search for the entries of freed rows.
        all_tenants: whether the keys of every tenant of the application and environment are permitted.

    Raises:
        ConfigurationError: the user's name has a character that access rules cannot contain.
    """
    if not user or any(character.isspace() or character == "\x00" for character in user):
        raise ConfigurationError("user: must be a name without spaces")
    searches = search and bool(context.expiring_groups)
    needed = {*commands(role, settings, search=searches, durability=context.durability)}
    if may_have_homes(context.package):
        needed |= HOMES
    granted = [f"+{command}" for command in sorted(needed)]
    keys = key_pattern(context.keyspace, all_tenants=all_tenants)
    return [user, "on", "resetkeys", "resetchannels", "clearselectors", keys, "-@all", *granted]
