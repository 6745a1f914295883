"""The least access rule (ACL) for an application and for the admin tool: what is sent, and no key of others.

A test compares these lists with the source of flows and scripts, in both directions, and runs the engine's whole
contract under the rule.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from keyweave.connection.settings import ConnectionSettings
from keyweave.errors import ConfigurationError
from keyweave.keyspace.keys import Keyspace
from keyweave.store.context import Context

FLOWS: Final = frozenset(
    {
        "dbsize",
        "eval",
        "evalsha",
        "exists",
        "get",
        "getrange",
        "hget",
        "hgetall",
        "hset",
        "hsetnx",
        "info",
        "mget",
        "ping",
        "set",
        "time",
        "zcard",
        "zcount",
        "zinter",
        "zmscore",
        "zrange",
        "zrangebyscore",
        "zrevrangebyscore",
    }
)
"""What an application's flows send."""

SCRIPTS: Final = frozenset(
    {
        "del",
        "exists",
        "get",
        "getrange",
        "hdel",
        "hget",
        "hincrby",
        "hlen",
        "hset",
        "mget",
        "set",
        "time",
        "zadd",
        "zcard",
        "zcount",
        "zinter",
        "zintercard",
        "zmscore",
        "zrange",
        "zrangebyscore",
        "zrank",
        "zrem",
        "zrevrange",
        "zrevrank",
        "zscore",
    }
)
"""What the scripts call: the server checks that as if the user had sent it."""

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
"""What only the admin tool needs besides. SCAN and CONFIG are not bound to the namespace's keys: an application with
them could read the names of everybody's keys and the server's settings. It asks for the settings too, when it opens a
store, and does without."""


ADMIN_SCRIPTS: Final = frozenset({"persist", "pexpireat", "renamenx", "type"})
"""What scripts call only for repairs."""


class Role(enum.Enum):
    """For whom a rule is."""

    APPLICATION = "application"
    ADMIN = "admin"


def commands(role: Role, settings: ConnectionSettings) -> list[str]:
    """The commands that a role sends over such connections, sorted, as ACL SETUSER names them."""
    needed = FLOWS | SCRIPTS | (ADMIN_FLOWS | ADMIN_SCRIPTS if role is Role.ADMIN else frozenset())
    if settings.db:
        needed |= {"select"}
    if settings.client_name:
        needed |= {"client|setname"}
    return sorted(needed)


def key_pattern(keyspace: Keyspace) -> str:
    """What matches the keys of a namespace. Rules hold no space and no NUL, so any one byte stands for such a one."""
    return "~" + re.sub(r"[\s\x00]", "?", keyspace.pattern(), flags=re.ASCII)


def rule(context: Context, settings: ConnectionSettings, role: Role, user: str) -> list[str]:
    """The words that follow ACL SETUSER. The user gets no password by it and keeps those that it has.

    Raises:
        ConfigurationError: the user's name has a character that access rules cannot hold.
    """
    if not user or any(character.isspace() or character == "\x00" for character in user):
        raise ConfigurationError("user: a name without spaces")
    granted = [f"+{command}" for command in commands(role, settings)]
    keys = key_pattern(context.keyspace)
    return [user, "on", "resetkeys", "resetchannels", "clearselectors", keys, "-@all", *granted]
