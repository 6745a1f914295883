"""Rules about the server and the way to it: its version, role, replicas and clock, scripts, TLS, what it hides."""

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
        "Reads go on; every write raises StoreOutOfMemoryError.",
        "Sweep, which frees memory and is not refused for long, or raise the limit.",
        "redis-cli CONFIG SET maxmemory 4gb",
    ),
    "MISCONF": (
        "it could not save to disk",
        "It refuses to take what it might lose; every write raises StoreReadOnlyError.",
        "Make room on the disk or mend the permissions of the folder, then save once.",
        "redis-cli BGSAVE",
    ),
    "NOREPLICAS": (
        "fewer replicas follow it than min-replicas-to-write asks for",
        "It refuses to take what no replica would have; every write raises StoreReadOnlyError.",
        "Bring the replicas back.",
        "redis-cli INFO replication",
    ),
}
"""By the code of the refusal: the reason, why it matters, what to do, and a command."""


def loading(health: Health, _: Limits) -> Iterator[Finding]:
    """A server that is loading refuses everything."""
    if health.server.loading:
        yield Finding(
            id="loading",
            severity=CRITICAL,
            what="The server is still reading its data from disk.",
            why="Until it is done, every read and write is refused.",
            action="Wait. If it comes back here again and again, it is being restarted: read its log.",
            command="redis-cli INFO persistence | grep loading_",
        )


def version(health: Health, _: Limits) -> Iterator[Finding]:
    """A version that cannot run the scripts, or that nobody has tried."""
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
            why="Its scripts begin with a #!lua line, which older servers do not understand: every write fails.",
            action="Upgrade the server. Production is meant to be Redis 8.",
            command="docker compose up -d --pull always",
        )
    elif numbers < PROVEN[product]:
        proven = ".".join(map(str, PROVEN[product]))
        yield Finding(
            id="version-unproven",
            severity=NOTICE,
            what=f"The server is {product} {version}; the tests run on {product} {proven}.",
            why="It has all commands that are needed, but nobody has run the whole suite on it.",
            action=f"Plan an upgrade to {product} {proven} or later.",
        )


def scripts(health: Health, _: Limits) -> Iterator[Finding]:
    """A user who may not run scripts cannot write."""
    if health.server.scripts is False and not health.server.loading:
        yield Finding(
            id="scripts-refused",
            severity=CRITICAL,
            what="The server does not run scripts for this user.",
            why="Every write is one script, which is what makes it atomic. Without scripts there are no writes.",
            action="Permit EVAL and EVALSHA to the application's user; `keyweave acl` prints the whole rule.",
            command="keyweave acl",
        )


def refusal(health: Health, _: Limits) -> Iterator[Finding]:
    """A store that takes no writes does not serve. A replica is told by a rule of its own."""
    code = health.server.refusal
    if code in _REFUSALS:
        reason, why, action, command = _REFUSALS[code]
        yield Finding(
            id="writes-refused",
            severity=CRITICAL,
            what=f"The server takes no writes now: {reason} ({code}).",
            why=why,
            action=action,
            command=command,
        )


def replica(health: Health, limits: Limits) -> Iterator[Finding]:
    """A store belongs on the primary."""
    server = health.server
    if server.role != "replica":
        return
    yield Finding(
        id="role-replica",
        severity=CRITICAL,
        what="The server is a replica.",
        why="It refuses every write, and what it reads may be old.",
        action="Point the store at the primary. After a failover, make this server the primary.",
        command="redis-cli REPLICAOF NO ONE    # only when there is no other primary",
    )
    silent = server.primary_silent or 0
    if server.primary_link is False or silent > limits.replica_silence:
        yield _behind(f"This replica has no word from its primary (link up: {server.primary_link}).")


def replicas(health: Health, limits: Limits) -> Iterator[Finding]:
    """A replica that is behind loses writes in a failover."""
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
    """Credentials and rows do not cross a network in the clear."""
    if not health.encrypted and not health.local:
        yield Finding(
            id="tls-off",
            severity=WARNING,
            what="The connection crosses a network without TLS.",
            why="Whoever can listen reads the password and every row, and can change both on their way.",
            action="Give the server a certificate (tls-port) and use a rediss:// URL.",
            command="keyweave doctor --url 'rediss://HOST:6379?tls_ca_file=ca.pem'",
        )


def clock(health: Health, limits: Limits) -> Iterator[Finding]:
    """Times of rows are the server's."""
    skew = health.clock_skew
    if abs(skew) > limits.clock_skew:
        yield Finding(
            id="clock-skew",
            severity=WARNING,
            what=f"The server's clock is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} this machine's.",
            why="Times of rows and their deadlines are the server's: rows seem to come from the future or end early, "
            "and logs do not line up. A server that goes back in time keeps rows longer.",
            action="Run a time service on both machines.",
            command="chronyc tracking",
        )


def hidden(health: Health, _: Limits) -> Iterator[Finding]:
    """What is not told cannot be judged."""
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
            what=f"The server does not tell its {', '.join(missing)}.",
            why="What cannot be seen cannot be judged: the findings above may be incomplete.",
            action="Permit INFO to this user; `keyweave acl --for admin` prints a rule that does.",
            command="keyweave acl --for admin",
        )


def _behind(what: str) -> Finding:
    return Finding(
        id="replica-behind",
        severity=WARNING,
        what=what,
        why="A failover now would lose every acknowledged write that the replica has not seen.",
        action="Look at the network and the replica's load; a replica that always lags needs a bigger backlog.",
        command="redis-cli INFO replication",
    )


def version_numbers(version: str) -> tuple[int, ...]:
    """`8.0.2` as numbers; what follows them is left out."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()
