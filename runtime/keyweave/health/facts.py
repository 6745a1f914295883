"""What a server says about itself, read from INFO and, where it is permitted, CONFIG GET. Nothing here asks or judges.

Managed services and access rules may refuse either command. What a server does not say is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from keyweave.effects import Reply


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaFacts:
    """One replica, as its primary sees it.

    Attributes:
        state: `online` once it follows the primary.
        behind: bytes of the primary's writes that it has not confirmed.
        silent: seconds since it last confirmed anything; negative before it first did.
    """

    state: str
    behind: int
    silent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFacts:
    """A server as it describes itself; None wherever it does not say.

    Attributes:
        product: `redis` or `valkey`.
        version: such as `8.0.2`.
        role: `primary` or `replica`.
        loading: whether it still reads its data from disk.
        scripts: whether it runs scripts with the `#!lua` line, as Keyweave's have.
        declared_keys: whether its scripts may only touch keys that the caller declares.
        refusal: the code with which it refuses writes now, such as `OOM`; None when it takes them.
        aof: whether it appends every write to a file.
        appendfsync: `always`, `everysec` or `no`; None where CONFIG GET is refused.
        snapshots: whether it saves snapshots by itself; None where CONFIG GET is refused.
        persistence_failing: whether the last write of the file or the last snapshot failed.
        eviction_policy: such as `noeviction`.
        used_memory: bytes in use.
        max_memory: limit in bytes; 0 for none.
        replicas: the replicas of a primary.
        primary_link: of a replica: whether it is connected to its primary.
        primary_silent: of a replica: seconds since the primary last spoke.
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
    primary_link: bool | None = None
    primary_silent: int | None = None

    @property
    def persistence(self) -> str:
        """In a word or two: `aof everysec`, `snapshots`, `none`, or `unknown`."""
        if self.aof:
            return f"aof {self.appendfsync}" if self.appendfsync else "aof"
        if self.aof is None:
            return "unknown"
        return {True: "snapshots", False: "none", None: "no aof"}[self.snapshots]


def read_facts(
    info: Reply, settings: Reply, *, scripts: bool | None, refusal: str | None, declared_keys: bool = False
) -> ServerFacts:
    """The facts in the replies to INFO and to CONFIG GET appendfsync save; one that was refused says nothing.

    Args:
        scripts: whether a script ran, or would have run if the server took writes.
        refusal: the code with which the server refused it as a write.
        declared_keys: whether it was refused a key that was not declared.
    """
    said = _parsed(info)
    product, version = _product(said)
    role = {"master": "primary", "slave": "replica"}.get(said.get("role", ""))
    configured = _configured(settings)
    points = configured.get("save")
    return ServerFacts(
        product=product,
        version=version,
        role=role,
        loading=said.get("loading") == "1",
        scripts=scripts,
        declared_keys=declared_keys,
        refusal=refusal,
        aof=_flag(said.get("aof_enabled")),
        appendfsync=configured.get("appendfsync"),
        snapshots=None if points is None else bool(points),
        persistence_failing=_failing(said),
        eviction_policy=said.get("maxmemory_policy"),
        used_memory=_number(said.get("used_memory")),
        max_memory=_number(said.get("maxmemory")),
        replicas=_replicas(said) if role == "primary" else (),
        primary_link=said.get("master_link_status") == "up" if role == "replica" else None,
        primary_silent=_number(said.get("master_last_io_seconds_ago")) if role == "replica" else None,
    )


def _parsed(info: Reply) -> dict[str, str]:
    if not isinstance(info, bytes):
        return {}
    lines = info.decode("utf-8", "replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


def _product(said: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Valkey goes on telling the version of Redis that it is compatible with, so its own counts first."""
    if "valkey_version" in said:
        return "valkey", said["valkey_version"]
    version = said.get("redis_version")
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


def _failing(said: Mapping[str, str]) -> bool | None:
    states = [said.get("rdb_last_bgsave_status")]
    if said.get("aof_enabled") == "1":
        states += [said.get("aof_last_write_status"), said.get("aof_last_bgrewrite_status")]
    told = [state for state in states if state is not None]
    return any(state != "ok" for state in told) if told else None


def _replicas(said: Mapping[str, str]) -> tuple[ReplicaFacts, ...]:
    written = _number(said.get("master_repl_offset")) or 0
    found = []
    for number in range(_number(said.get("connected_slaves")) or 0):
        pairs = (pair.partition("=") for pair in said.get(f"slave{number}", "").split(","))
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
