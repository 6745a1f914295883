"""Managed services as data: what each refuses, and with which words.

A profile says what a service does that a server of one's own does not. `filtering` refuses the same on the wire before a real
server; `Profile.acl` is the rule for an ACL that refuses as much of it as an ACL can.

Where the service's documentation shows the text of an error, the profile has that text; `SOURCES` has the pages. The text for a command
with too many words is not documented and is ours.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_MOST_SHOWN: Final = 128
"""Characters of the words of an unknown command that a server shows."""

_CONTAINERS: Final = {
    "ACL",
    "CLIENT",
    "CLUSTER",
    "COMMAND",
    "CONFIG",
    "FUNCTION",
    "LATENCY",
    "MODULE",
    "SCRIPT",
    "SLOWLOG",
}
"""Commands that have subcommands, as an ACL names them."""

_EVALS: Final = {"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO", "FCALL", "FCALL_RO"}


class Answer(enum.Enum):
    """How a service answers a command that it does not offer."""

    UNKNOWN = "as a server that does not know the command"
    NOPERM = "as an ACL that does not permit it"


@dataclass(frozen=True, slots=True)
class Profile:
    """What a service refuses.

    Attributes:
        name: of the profile.
        refused: commands such as `CONFIG`, or only subcommands such as `CONFIG|SET`.
        answer: how it refuses them.
        needs_keys: whether a script without keys is refused.
        declared_keys: whether a script may access only keys that the caller declares.
        words: the most words that a command may have, its name included; None for any number.
        one_database: whether there is database 0 only.
        cuts: whether it closes the connection at a command with too many words, without an answer.
    """

    name: str
    refused: frozenset[str] = frozenset()
    answer: Answer = Answer.UNKNOWN
    needs_keys: bool = False
    declared_keys: bool = False
    words: int | None = None
    one_database: bool = False
    cuts: bool = False

    def refusal(self, command: Sequence[bytes]) -> str | None:
        """Return the error with which the service refuses a command; None if it carries it out."""
        name = _text(command[0]).upper()
        if self.words is not None and len(command) > self.words:
            return f"ERR too many arguments: at most {self.words - 1:,} for a command"
        if name in self.refused:
            return self._refused(command)
        if len(command) > 1 and f"{name}|{_text(command[1]).upper()}" in self.refused:
            return self._refused_part(command)
        if self.one_database and name == "SELECT" and command[1:] != [b"0"]:
            return "ERR SELECT is not allowed in cluster mode"
        if self.needs_keys and name in _EVALS and command[2:3] == [b"0"]:
            return "ERR Lua scripts without any input keys are not supported."
        return None

    def _refused(self, command: Sequence[bytes]) -> str:
        if self.answer is Answer.NOPERM:
            names = command[: 2 if _text(command[0]).upper() in _CONTAINERS else 1]
            return f"NOPERM User default has no permissions to run the '{_text(b'|'.join(names)).lower()}' command"
        name, *words = map(_text, command)
        beginning = ""
        for word in words:
            if len(beginning) < _MOST_SHOWN:
                beginning += f"'{word[: _MOST_SHOWN - len(beginning)]}' "
        return f"ERR unknown command '{name[:_MOST_SHOWN]}', with args beginning with: {beginning}"

    def _refused_part(self, command: Sequence[bytes]) -> str:
        name, part = map(_text, command[:2])
        if self.answer is Answer.NOPERM:
            return (
                f"NOPERM User default has no permissions to run the '{name.lower()}|{part.lower()}' command"
            )
        return f"ERR unknown subcommand '{part}'. Try {name.upper()} HELP."

    def acl(self) -> list[str]:
        """Return rules for ACL SETUSER that refuse what this profile refuses, where an ACL can: commands and databases."""
        rules = ["~*", "&*", "+@all", *(f"-{name.lower()}" for name in sorted(self.refused))]
        return [*rules, "-select"] if self.one_database else rules


def _text(word: bytes) -> str:
    return word.decode(errors="replace")


_ADMINISTRATION: Final = frozenset(
    "BGREWRITEAOF BGSAVE CONFIG DEBUG MIGRATE PSYNC REPLICAOF SAVE SHUTDOWN SLAVEOF SYNC".split()
)

ELASTICACHE: Final = Profile("elasticache", _ADMINISTRATION)
"""Amazon ElastiCache on nodes: commands of the administrator do not exist."""

ELASTICACHE_SERVERLESS: Final = Profile(
    "elasticache-serverless",
    _ADMINISTRATION | {"KEYS"},
    needs_keys=True,
    declared_keys=True,
    words=3_999,
    one_database=True,
)
"""Amazon ElastiCache Serverless: an endpoint that hides its nodes."""

MEMORYSTORE: Final = Profile(
    "memorystore",
    frozenset(
        _ADMINISTRATION - {"CONFIG"} | {"CONFIG|GET", "CONFIG|SET", "CONFIG|RESETSTAT", "CONFIG|REWRITE"}
    ),
    Answer.NOPERM,
)
"""Google Memorystore for Valkey: an ACL."""

REDIS_CLOUD: Final = Profile(
    "redis-cloud",
    _ADMINISTRATION - {"CONFIG"}
    | {"CONFIG|RESETSTAT", "CONFIG|REWRITE", "MOVE", "SWAPDB"}
    | {"ACL|DELUSER", "ACL|LOAD", "ACL|LOG", "ACL|SAVE", "ACL|SETUSER"},
    one_database=True,
)
"""Redis Cloud and Redis Software: another place has the settings and the users, and there is one database."""

NO_SCRIPT_COMMANDS: Final = Profile(
    "no-script-commands", _ADMINISTRATION | {"SCRIPT"}, Answer.NOPERM, needs_keys=True, declared_keys=True
)
"""A service on which scripts arrive by EVAL alone. Several proxies of services are like this."""

NO_SCAN: Final = Profile("no-scan", _ADMINISTRATION | {"SCAN", "KEYS", "DBSIZE", "RANDOMKEY"}, Answer.NOPERM)
"""An application's user of a shared server: it may not look at the keys of others."""

STRICTEST: Final = Profile(
    "strictest",
    ELASTICACHE_SERVERLESS.refused | NO_SCAN.refused | NO_SCRIPT_COMMANDS.refused,
    Answer.NOPERM,
    needs_keys=True,
    declared_keys=True,
    words=3_999,
    one_database=True,
)
"""Everything that any profile refuses."""

PROFILES: Final = {
    profile.name: profile
    for profile in (
        ELASTICACHE,
        ELASTICACHE_SERVERLESS,
        MEMORYSTORE,
        REDIS_CLOUD,
        NO_SCRIPT_COMMANDS,
        NO_SCAN,
        STRICTEST,
    )
}

SOURCES: Final = {
    "elasticache": "https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/ClientConfig.RestrictedCommands.html",
    "elasticache-serverless": "https://docs.aws.amazon.com/AmazonElastiCache/latest/dg/RedisConfiguration.html",
    "memorystore": "https://docs.cloud.google.com/memorystore/docs/valkey/supported-commands",
    "redis-cloud": "https://redis.io/docs/latest/operate/rs/references/compatibility/commands/server/",
}
"""Where the services say what they refuse. The page on Lua scripts beside the second one has the error of a script without keys."""
