"""What is wrong with a store, why it matters and what to do: one small rule per finding, from facts alone.

A rule stays silent about what the server did not say; one finding tells that something was not said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from keyweave.health import Finding, Health, Severity
from keyweave.sizes import size_text

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL

OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
"""The first versions that can run the scripts: their `#!lua` line, by which a full or read-only server refuses before
the first write, came with Redis 7.0. Valkey began as Redis 7.2.4."""

PROVEN: Final = {"redis": (8,), "valkey": (9,)}
"""The versions on which the whole suite runs, from which on nothing is said."""

MEMORY_STEPS: Final = ((0.9, CRITICAL), (0.8, WARNING), (0.6, NOTICE))
"""Parts of the memory budget, and how bad it is to have used as much."""

_ORDER: Final = {CRITICAL: 0, WARNING: 1, NOTICE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """From where on something is a finding.

    Attributes:
        clock_skew: seconds between the server's clock and this machine's.
        sweep_lag: seconds for which a row past its deadline may wait to be swept.
        grace: seconds after which the server frees such a document by itself, leaving its index entries behind.
        replica_bytes: bytes that a replica may be behind.
        replica_silence: seconds for which a replica may confirm nothing, or a primary may say nothing.
    """

    clock_skew: float = 1.0
    sweep_lag: float = 900.0
    grace: float = 86_400.0
    replica_bytes: int = 64 * 1024 * 1024
    replica_silence: int = 10


Rule = Callable[[Health, Limits], Iterator[Finding]]


def diagnose(health: Health, limits: Limits) -> tuple[Finding, ...]:
    """Everything that is not as primary data needs it, worst first."""
    found = [finding for rule in _RULES for finding in rule(health, limits)]
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def version_numbers(version: str) -> tuple[int, ...]:
    """`8.0.2` as numbers; what follows them is left out."""
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(map(int, match[0].split("."))) if match else ()


def _loading(health: Health, _: Limits) -> Iterator[Finding]:
    if health.server.loading:
        yield Finding(
            id="loading",
            severity=CRITICAL,
            what="The server is still reading its data from disk.",
            why="Until it is done, every read and write is refused.",
            action="Wait. If it comes back here again and again, it is being restarted: read its log.",
            command="redis-cli INFO persistence | grep loading_",
        )


def _version(health: Health, _: Limits) -> Iterator[Finding]:
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


def _scripts(health: Health, _: Limits) -> Iterator[Finding]:
    if health.server.scripts is False and not health.server.loading:
        yield Finding(
            id="scripts-refused",
            severity=CRITICAL,
            what="The server does not run scripts for this user.",
            why="Every write is one script, which is what makes it atomic. Without scripts there are no writes.",
            action="Permit EVAL and EVALSHA to the application's user; `keyweave acl` prints the whole rule.",
            command="keyweave acl",
        )


def _eviction(health: Health, _: Limits) -> Iterator[Finding]:
    policy = health.server.eviction_policy
    if policy is None or policy == "noeviction":
        return
    victims = "rows that have a deadline" if policy.startswith("volatile") else "any row or index"
    yield Finding(
        id="eviction-policy",
        severity=CRITICAL,
        what=f"The eviction policy is {policy}.",
        why=f"At the memory limit the server silently deletes {victims}: primary data is lost, and indexes stop "
        "agreeing with documents. With noeviction it refuses the write instead, and says so.",
        action="Set the policy to noeviction, now and in the server's configuration.",
        command="redis-cli CONFIG SET maxmemory-policy noeviction",
    )


def _persistence(health: Health, _: Limits) -> Iterator[Finding]:
    server = health.server
    action, command = "Turn the append-only file on, now and in the configuration.", (
        "redis-cli CONFIG SET appendonly yes"
    )
    if server.aof is False and server.snapshots is False:
        yield Finding(
            id="aof-off",
            severity=CRITICAL,
            what="Neither the append-only file nor snapshots are on.",
            why="Nothing is written to disk: a restart loses everything.",
            action=action,
            command=command,
        )
    elif server.aof is False:
        yield Finding(
            id="aof-off",
            severity=WARNING,
            what="The append-only file is off.",
            why="A crash loses every write since the last snapshot, which may be an hour ago.",
            action=action,
            command=command,
        )
    elif server.aof and server.appendfsync == "no":
        yield Finding(
            id="fsync-off",
            severity=WARNING,
            what="appendfsync is no.",
            why="The kernel decides when writes reach the disk: a crash of the machine loses about 30 seconds of them.",
            action="Use everysec (loses at most a second or two), or always (loses nothing, and is slower).",
            command="redis-cli CONFIG SET appendfsync everysec",
        )


def _failing(health: Health, _: Limits) -> Iterator[Finding]:
    if health.server.persistence_failing:
        yield Finding(
            id="persistence-failing",
            severity=CRITICAL,
            what="The last snapshot, or the last write of the append-only file, failed.",
            why="What is acknowledged is not on disk, and the server may refuse every write (MISCONF) until it is.",
            action="Look for a full disk or missing permissions in the server's log, mend it, then save once.",
            command="redis-cli BGSAVE && redis-cli INFO persistence | grep status",
        )


def _replica(health: Health, limits: Limits) -> Iterator[Finding]:
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


def _replicas(health: Health, limits: Limits) -> Iterator[Finding]:
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


def _behind(what: str) -> Finding:
    return Finding(
        id="replica-behind",
        severity=WARNING,
        what=what,
        why="A failover now would lose every acknowledged write that the replica has not seen.",
        action="Look at the network and the replica's load; a replica that always lags needs a bigger backlog.",
        command="redis-cli INFO replication",
    )


def _memory(health: Health, _: Limits) -> Iterator[Finding]:
    share = health.memory_share
    if health.server.max_memory == 0:
        yield Finding(
            id="memory-unlimited",
            severity=WARNING,
            what="The server has no memory limit.",
            why="It grows until the kernel kills it. With a limit it refuses writes and keeps what it has.",
            action="Set maxmemory to about two thirds of what the machine or container has.",
            command="redis-cli CONFIG SET maxmemory 2gb",
        )
    for step, severity in MEMORY_STEPS:
        if share is not None and share >= step:
            assert health.server.used_memory is not None and health.memory_budget is not None
            yield Finding(
                id="memory-high",
                severity=severity,
                what=f"{share:.0%} of the memory budget is used (over {step:.0%}): "
                f"{size_text(health.server.used_memory)} of {size_text(health.memory_budget)}.",
                why="At the limit every write is refused (StoreOutOfMemoryError). Rewriting the file needs room too.",
                action="Sweep, shorten retention, drop views that nobody reads, or raise the limit.",
                command="keyweave sweep",
            )
            return


def _tls(health: Health, _: Limits) -> Iterator[Finding]:
    if not health.encrypted and not health.local:
        yield Finding(
            id="tls-off",
            severity=WARNING,
            what="The connection crosses a network without TLS.",
            why="Whoever can listen reads the password and every row, and can change both on their way.",
            action="Give the server a certificate (tls-port) and use a rediss:// URL.",
            command="keyweave doctor --url 'rediss://HOST:6379?tls_ca_file=ca.pem'",
        )


def _clock(health: Health, limits: Limits) -> Iterator[Finding]:
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


def _sweeping(health: Health, limits: Limits) -> Iterator[Finding]:
    if health.sweep_lag > limits.sweep_lag:
        late = health.sweep_lag > limits.grace
        more = (
            " It is so late that the server has freed the document and left its index entries."
            if late
            else ""
        )
        yield Finding(
            id="sweep-lag",
            severity=CRITICAL if late else WARNING,
            what=f"A row that is past its deadline has waited {_span(health.sweep_lag)} to be swept.",
            why=f"Readers do not see it, but it takes memory, and counts have to step over it.{more}",
            action="Run a sweeper in the application, or sweep regularly.",
            command="keyweave sweep",
        )


def _schema(health: Health, _: Limits) -> Iterator[Finding]:
    if health.data_schema is not None and health.data_schema != health.schema:
        yield Finding(
            id="schema-differs",
            severity=WARNING,
            what=f"The data was last written with schema {health.data_schema[:12]}, this code has {health.schema[:12]}.",
            why="Views and unique constraints of one may be unknown to the other, so they may miss rows.",
            action="Deploy the code that belongs to the data, or carry the change out.",
            command="keyweave diff",
        )


def _hidden(health: Health, _: Limits) -> Iterator[Finding]:
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


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"


_RULES: Final[tuple[Rule, ...]] = (
    _loading,
    _version,
    _scripts,
    _replica,
    _failing,
    _eviction,
    _persistence,
    _memory,
    _replicas,
    _sweeping,
    _schema,
    _tls,
    _clock,
    _hidden,
)
