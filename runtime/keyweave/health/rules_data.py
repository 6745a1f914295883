"""Rules about what keeps the data: persistence, eviction, memory, sweeping, and the schema that it belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave.health.limits import MEMORY_STEPS, Limits
from keyweave.health.report import Finding, Health, Severity
from keyweave.health.sizes import size_text

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL


def failing(health: Health, _: Limits) -> Iterator[Finding]:
    """What is acknowledged must reach the disk."""
    if health.server.persistence_failing:
        yield Finding(
            id="persistence-failing",
            severity=CRITICAL,
            what="The last snapshot, or the last write of the append-only file, failed.",
            why="What is acknowledged is not on disk, and the server may refuse every write (MISCONF) until it is.",
            action="Look for a full disk or missing permissions in the server's log, mend it, then save once.",
            command="redis-cli BGSAVE && redis-cli INFO persistence | grep status",
        )


def eviction(health: Health, _: Limits) -> Iterator[Finding]:
    """Primary data is never thrown away to make room."""
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


def persistence(health: Health, _: Limits) -> Iterator[Finding]:
    """Primary data survives a restart."""
    server = health.server
    action = "Turn the append-only file on, now and in the configuration."
    command = "redis-cli CONFIG SET appendonly yes"
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


def memory(health: Health, _: Limits) -> Iterator[Finding]:
    """At its limit the server refuses writes; without one, the kernel ends it."""
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


def sweeping(health: Health, limits: Limits) -> Iterator[Finding]:
    """Rows past their deadline are swept soon."""
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


def schema(health: Health, _: Limits) -> Iterator[Finding]:
    """Data and code agree on the schema."""
    if health.data_schema is not None and health.data_schema != health.schema:
        yield Finding(
            id="schema-differs",
            severity=WARNING,
            what=f"The data belongs to schema {health.data_schema[:12]}, this code has {health.schema[:12]}.",
            why="Views and unique constraints of one may be unknown to the other, so they may miss rows.",
            action="Deploy the code that belongs to the data, or carry the change out.",
            command="keyweave diff",
        )


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
