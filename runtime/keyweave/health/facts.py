"""The facts that a server reports, read from INFO and, where it is permitted, CONFIG GET. Sends and judges nothing.

Managed services and access rules may refuse either command. A fact that a server does not report is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from keyweave.effects import Reply

RESTRICTIONS: Final = {
    "no-config": "no CONFIG",
    "no-script": "no SCRIPT",
    "keys-required": "scripts need keys",
    "no-scan": "no SCAN",
    "declared-keys": "declared keys only",
    "one-database": "one database",
    "short-commands": "fewer than 4,000 words a command",
}
"""What a managed service or an access rule may refuse: names, and texts for people."""


class ReplicaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One replica, as its primary sees it.

    Attributes:
        state: `online` while it follows the primary.
        behind: bytes of the primary's writes that it has not confirmed.
        silent: seconds since its last confirmation; negative before the first one.
    """

    state: str
    behind: int
    silent: int


class ServerFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it describes itself; None for every fact that it does not report.

    Attributes:
        product: `redis` or `valkey`.
        version: such as `8.0.2`.
        role: `primary` or `replica`.
        loading: whether it is still loading its data from disk.
        scripts: whether it runs scripts that begin with a `#!lua` line, as Keyweave's do.
        declared_keys: whether its scripts may access declared keys only.
        refusal: the error code with which it refuses writes now, such as `OOM`; None when it accepts them.
        aof: whether it appends every write to a file.
        appendfsync: `always`, `everysec` or `no`; None where CONFIG GET is refused.
        snapshots: whether it saves snapshots by itself; None where CONFIG GET is refused.
        persistence_failing: whether the last snapshot, or the last write or rewrite of the append-only file, failed.
        eviction_policy: such as `noeviction`.
        used_memory: bytes in use.
        max_memory: limit in bytes; 0 for none.
        replicas: the replicas of a primary.
        restrictions: what the service, or the access rule of this user, was found to refuse: names in `RESTRICTIONS`.
        primary_link: of a replica: whether it is connected to its primary.
        primary_silent: of a replica: seconds since it last received anything from its primary.
    """

    product: str | None = None
    version: str | None = None
    role: str | None = None
    loading: bool = False
    scripts: bool | None = None
    declared_keys: bool = False
    refusal: str | None = None
    aof: bool | None = None
    appendfsync: str | None = None
    snapshots: bool | None = None
    persistence_failing: bool | None = None
    eviction_policy: str | None = None
    used_memory: int | None = None
    max_memory: int | None = None
    replicas: tuple[ReplicaFacts, ...] = ()
    restrictions: tuple[str, ...] = ()
    primary_link: bool | None = None
    primary_silent: int | None = None

    @property
    def restricted(self) -> str:
        """The restrictions for people, separated by commas; empty without any."""
        return ", ".join(RESTRICTIONS[each] for each in self.restrictions)

    @property
    def persistence(self) -> str:
        """A summary in a word or two: `aof everysec`, `snapshots`, `none` or `unknown`."""
        if self.aof:
            return f"aof {self.appendfsync}" if self.appendfsync else "aof"
        if self.aof is None:
            return "unknown"
        return {True: "snapshots", False: "none", None: "no aof"}[self.snapshots]


def read_facts(
    info: Reply, settings: Reply, *, scripts: bool | None, refusal: str | None, declared_keys: bool = False
) -> ServerFacts:
    """Return the facts in the replies to INFO and to CONFIG GET appendfsync save. Either may be an error reply.

    Args:
        scripts: whether a script ran, or would have run if the server accepted writes.
        refusal: the error code with which the server refused the script as a write.
        declared_keys: whether the server refused a script access to a key that was not declared.
    """
    fields = _parse_info(info)
    product, version = _product(fields)
    role = {"master": "primary", "slave": "replica"}.get(fields.get("role", ""))
    configured = _configured(settings)
    points = configured.get("save")
    return ServerFacts(
        product=product,
        version=version,
        role=role,
        loading=fields.get("loading") == "1",
        scripts=scripts,
        declared_keys=declared_keys,
        refusal=refusal,
        aof=_flag(fields.get("aof_enabled")),
        appendfsync=configured.get("appendfsync"),
        snapshots=None if points is None else bool(points),
        persistence_failing=_failing(fields),
        eviction_policy=fields.get("maxmemory_policy"),
        used_memory=_number(fields.get("used_memory")),
        max_memory=_number(fields.get("maxmemory")),
        replicas=_replicas(fields) if role == "primary" else (),
        primary_link=fields.get("master_link_status") == "up" if role == "replica" else None,
        primary_silent=_number(fields.get("master_last_io_seconds_ago")) if role == "replica" else None,
    )


def _parse_info(info: Reply) -> dict[str, str]:
    if not isinstance(info, bytes):
        return {}
    lines = info.decode("utf-8", "replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def server_id(info: Reply) -> str | None:
    """Return the id that the process of a server gave itself, in the reply to INFO; None if it does not report it."""
    return _parse_info(info).get("run_id")


def _product(fields: Mapping[str, str]) -> tuple[str | None, str | None]:
    # Valkey also reports a `redis_version`: the version of Redis that it is compatible with.
    if "valkey_version" in fields:
        return "valkey", fields["valkey_version"]
    version = fields.get("redis_version")
    return ("redis" if version else None), version


def _configured(reply: Reply) -> dict[str, str]:
    if not isinstance(reply, list) or not all(isinstance(word, bytes) for word in reply):
        return {}
    words = [word.decode("utf-8", "replace") for word in reply]
    return dict(zip(words[0::2], words[1::2], strict=False))


def _flag(text: str | None) -> bool | None:
    return None if text is None else text == "1"


def _number(text: str | None) -> int | None:
    try:
        return None if text is None else int(text)
    except ValueError:
        return None


def _failing(fields: Mapping[str, str]) -> bool | None:
    states = [fields.get("rdb_last_bgsave_status")]
    if fields.get("aof_enabled") == "1":
        states += [fields.get("aof_last_write_status"), fields.get("aof_last_bgrewrite_status")]
    reported = [state for state in states if state is not None]
    return any(state != "ok" for state in reported) if reported else None


def _replicas(fields: Mapping[str, str]) -> tuple[ReplicaFacts, ...]:
    written = _number(fields.get("master_repl_offset")) or 0
    found = []
    for number in range(_number(fields.get("connected_slaves")) or 0):
        pairs = (pair.partition("=") for pair in fields.get(f"slave{number}", "").split(","))
        replica = {name: value for name, _, value in pairs}
        confirmed, silent = _number(replica.get("offset")), _number(replica.get("lag"))
        found.append(
            ReplicaFacts(
                state=replica.get("state", ""),
                behind=max(0, written - (confirmed or 0)),
                silent=-1 if silent is None else silent,
            )
        )
    return tuple(found)
