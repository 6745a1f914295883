"""The commands that `apply` calls for the rows of a plan, by what the rows do."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

_COMMANDS: Final[dict[str, tuple[str, ...]]] = {
    "put": ("set", "unlist"),
    "put with deadline": ("set", "list", "zadd"),
    "insert": ("set",),
    "delete": ("del", "list", "zrem"),
    "add": ("zadd",),
    "remove": ("zrem",),
    "claim": ("hset",),
    "release": ("hget", "hdel"),
    "deadline": ("time", "pexpireat", "list", "zadd", "persist", "zrem"),
    "advance": ("time", "set"),
    "ledger": ("hset",),
}
"""The commands that `apply` calls for a row or an entry. It does not check the first command of a plan, because the first
write fails by itself. So a row that may not call its first command at once begins with `time`, which has been called. `list`
and `unlist` are no commands: the row is put into the expiry set, or may have to leave it."""


@lru_cache(maxsize=256)
def commands_of(verbs: tuple[str, ...]) -> str:
    """Return the commands of rows and entries as the argument `commands` of `apply`."""
    return " ".join(dict.fromkeys(command for verb in verbs for command in _COMMANDS[verb]))
