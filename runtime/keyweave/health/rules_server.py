"""Rules about the server and the connection: its version, role, replicas and clock, scripts, TLS, unreported facts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from keyweave.health.limits import OLDEST, PROVEN, Limits
from keyweave.health.report import Finding, Health, Severity
from keyweave.health.sizes import size_text

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL

_REFUSALS: Final = {
    "OOM": (
        "it is at its memory limit",
        "Reads still work; every write raises StoreOutOfMemoryError.",
        "Sweep expired rows, which frees memory and works on a full server, or raise the limit.",
        "redis-cli CONFIG SET maxmemory 4gb",
    ),
    "MISCONF": (
        "its last save to disk failed",
        "The server refuses writes that it could lose; every write raises StoreReadOnlyError.",
        "Free disk space or fix the permissions of the data folder, then save once.",
        "redis-cli BGSAVE",
    ),
    "MOVED": (
        "it is one node of a Redis Cluster, and another node has this namespace",
        "The store reaches only the keys of this node: every read and write of this namespace fails.",
        "Open the store with a redis+cluster:// URL that names some nodes of the cluster.",
        "keyweave health --url redis+cluster://HOST:6379",
    ),
    "CLUSTERDOWN": (
        "the cluster does not serve the slot of this namespace",
        "A slot has no master, or too many masters are down (cluster_state:fail). Every read and write fails until then.",
        "Bring the failed masters or their replicas back. If a slot has no master, give it one.",
        "redis-cli --cluster fix HOST:6379",
    ),
    "NOREPLICAS": (
        "it has fewer replicas than min-replicas-to-write requires",
        "The server refuses writes that too few replicas would receive; every write raises StoreReadOnlyError.",
        "Restore the missing replicas.",
        "redis-cli INFO replication",
    ),
}
"""By error code: the reason, why it matters, what to do, and a command."""


def loading(health: Health, _: Limits) -> Iterator[Finding]:
    """A server that is loading refuses everything."""
    if health.server.loading:
        yield Finding(
            id="loading",
            severity=CRITICAL,
            what="The server is still loading its data from disk.",
            why="It refuses every read and write until loading is complete.",
            action="Wait. If this finding keeps coming back, the server restarts repeatedly: read its log.",
            command="redis-cli INFO persistence | grep loading_",
        )


def version(health: Health, _: Limits) -> Iterator[Finding]:
    """The version must be able to run the scripts, and should be one that is tested."""
    product, version = health.server.product, health.server.version
    if product not in OLDEST or version is None:
        return
    numbers = version_numbers(version)
    if numbers < OLDEST[product]:
        oldest = ".".join(map(str, OLDEST[product]))
        yield Finding(
            id="version-too-old",
            severity=CRITICAL,
            what=f"The server is {product} {version}; Keyweave needs {oldest} or later.",
            why="Keyweave's scripts begin with a #!lua line, which older servers do not support: every write fails.",
            action="Upgrade the server. Redis 8 is recommended for production.",
            command="docker compose up -d --pull always",
        )
    elif numbers < PROVEN[product]:
        proven = ".".join(map(str, PROVEN[product]))
        yield Finding(
            id="version-unproven",
            severity=NOTICE,
            what=f"The server is {product} {version}; Keyweave is tested on {product} {proven}.",
            why="It has every command that Keyweave needs, but the whole test suite does not run on it.",
            action=f"Plan an upgrade to {product} {proven} or later.",
        )


def scripts(health: Health, _: Limits) -> Iterator[Finding]:
    """Every write needs the permission to run scripts."""
    if health.server.scripts is False and not health.server.loading:
        yield Finding(
            id="scripts-refused",
            severity=CRITICAL,
            what="The server does not run scripts for this user.",
            why="Every write is one script, which makes it atomic. Without scripts, every write fails.",
            action="Grant EVAL and EVALSHA to the application's user; keyweave acl prints the complete rule.",
            command="keyweave acl",
        )


def refusal(health: Health, _: Limits) -> Iterator[Finding]:
    """A store that refuses writes does not serve. `replica` reports a replica."""
    code = health.server.refusal
    if code in _REFUSALS:
        reason, why, action, command = _REFUSALS[code]
        yield Finding(
            id="writes-refused",
            severity=CRITICAL,
            what=f"The server refuses writes: {reason} ({code}).",
            why=why,
            action=action,
            command=command,
        )


def replica(health: Health, limits: Limits) -> Iterator[Finding]:
    """A store must be on the primary."""
    server = health.server
    if server.role != "replica":
        return
    yield Finding(
        id="role-replica",
        severity=CRITICAL,
        what="The server is a replica.",
        why="It refuses every write, and its reads may return old data.",
        action="Point the store at the primary. If there is none after a failover, promote this server.",
        command="redis-cli REPLICAOF NO ONE    # only when there is no other primary",
    )
    silent = server.primary_silent or 0
    if server.primary_link is False:
        yield _behind("The link from this replica to its primary is down.")
    elif silent > limits.replica_silence:
        yield _behind(f"This replica has received nothing from its primary for {silent} s.")


def replicas(health: Health, limits: Limits) -> Iterator[Finding]:
    """A failover to a replica that is behind loses writes."""
    late = [
        replica
        for replica in health.server.replicas
        if replica.state != "online"
        or replica.behind > limits.replica_bytes
        or replica.silent > limits.replica_silence
    ]
    if late:
        worst, silent = max(replica.behind for replica in late), max(replica.silent for replica in late)
        count = len(health.server.replicas)
        yield _behind(
            f"{len(late)} of {count} replicas {'is' if len(late) == 1 else 'are'} behind: "
            f"up to {size_text(worst)}, silent for {silent} s."
        )


def tls(health: Health, _: Limits) -> Iterator[Finding]:
    """Credentials and rows must not cross a network in plain text."""
    if not health.encrypted and not health.local:
        yield Finding(
            id="tls-off",
            severity=WARNING,
            what="The connection crosses a network without TLS.",
            why="An attacker on the network can read the password and every row, and can change both in transit.",
            action="Give the server a certificate (tls-port) and use a rediss:// URL.",
            command="keyweave doctor --url 'rediss://HOST:6379?tls_ca_file=ca.pem'",
        )


def clock(health: Health, limits: Limits) -> Iterator[Finding]:
    """The server's clock sets the times of rows."""
    skew = health.clock_skew
    if abs(skew) > limits.clock_skew:
        yield Finding(
            id="clock-skew",
            severity=WARNING,
            what=f"The server's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's.",
            why="The times and deadlines of rows come from the server's clock: rows seem to come from the future or "
            "to expire early, and the times in logs do not match. If the server's clock is set back, rows live longer.",
            action="Synchronize the clocks of both machines with a time service (NTP).",
            command="chronyc tracking",
        )


def hidden(health: Health, _: Limits) -> Iterator[Finding]:
    """A fact that is not reported cannot be checked."""
    server = health.server
    missing = [
        word
        for word, value in (
            ("version", server.version),
            ("role", server.role),
            ("persistence", server.aof),
            ("eviction policy", server.eviction_policy),
            ("memory", server.used_memory),
        )
        if value is None
    ]
    if missing:
        yield Finding(
            id="facts-hidden",
            severity=NOTICE,
            what=f"The server does not report its {', '.join(missing)}.",
            why="A fact that is not reported cannot be checked: the findings may be incomplete.",
            action="Grant INFO to this user; keyweave acl --for admin prints a rule that does.",
            command="keyweave acl --for admin",
        )


def _behind(what: str) -> Finding:
    return Finding(
        id="replica-behind",
        severity=WARNING,
        what=what,
        why="A failover now would lose every acknowledged write that the replica has not received.",
        action="Check the network and the replica's load. A replica that always lags needs a larger repl-backlog-size.",
        command="redis-cli INFO replication",
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """Return a version such as `8.0.2` as numbers; text after them is ignored."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
