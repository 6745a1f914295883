"""Rules about keeping the data: persistence, eviction, memory, sweeping, and the schema that the data belongs to."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave.health.limits import MEMORY_STEPS, Limits
from keyweave.health.report import Finding, Health, Severity
from keyweave.health.sizes import size_text

NOTICE, WARNING, CRITICAL = Severity.NOTICE, Severity.WARNING, Severity.CRITICAL


def failing(health: Health, _: Limits) -> Iterator[Finding]:
    """Acknowledged writes must reach the disk."""
    if health.server.persistence_failing:
        yield Finding(
            id="persistence-failing",
            severity=CRITICAL,
            what="The last snapshot, or the last write or rewrite of the append-only file, failed.",
            why="Acknowledged writes may not be on disk, so a restart can lose them. The server may also refuse every "
            "write (MISCONF) until it can save again.",
            action="Check the server's log for a full disk or missing permissions, fix the cause, then save once.",
            command="redis-cli BGSAVE && redis-cli INFO persistence | grep status",
        )


def eviction(health: Health, _: Limits) -> Iterator[Finding]:
    """Primary data must not be evicted."""
    policy = health.server.eviction_policy
    if policy is None or policy == "noeviction":
        return
    victims = "rows that have a deadline" if policy.startswith("volatile") else "any row or index"
    yield Finding(
        id="eviction-policy",
        severity=CRITICAL,
        what=f"The eviction policy is {policy}.",
        why=f"At the memory limit the server silently deletes {victims}: primary data is lost, and indexes no longer "
        "match their documents. With noeviction the server refuses the write with an error instead.",
        action="Set the policy to noeviction, now and in the server's configuration file.",
        command="redis-cli CONFIG SET maxmemory-policy noeviction",
    )


def persistence(health: Health, _: Limits) -> Iterator[Finding]:
    """Primary data must survive a restart."""
    server = health.server
    action = "Turn on the append-only file, now and in the server's configuration file."
    command = "redis-cli CONFIG SET appendonly yes"
    if server.aof is False and server.snapshots is False:
        yield Finding(
            id="aof-off",
            severity=CRITICAL,
            what="The server keeps neither an append-only file nor snapshots.",
            why="Nothing is written to disk: a restart loses all data.",
            action=action,
            command=command,
        )
    elif server.aof is False:
        yield Finding(
            id="aof-off",
            severity=WARNING,
            what="The append-only file is off.",
            why="A crash loses every write since the last snapshot, which can be an hour old.",
            action=action,
            command=command,
        )
    elif server.aof and server.appendfsync == "no":
        yield Finding(
            id="fsync-off",
            severity=WARNING,
            what="appendfsync is set to no.",
            why="The operating system decides when writes reach the disk: a crash of the machine can lose about 30 "
            "seconds of writes.",
            action="Set appendfsync to everysec (a crash loses at most a second or two), or to always (a crash loses "
            "nothing, but writes are slower).",
            command="redis-cli CONFIG SET appendfsync everysec",
        )


def memory(health: Health, _: Limits) -> Iterator[Finding]:
    """At its memory limit the server refuses writes; without a limit, the kernel kills it."""
    share = health.memory_share
    if health.server.max_memory == 0:
        yield Finding(
            id="memory-unlimited",
            severity=WARNING,
            what="The server has no memory limit.",
            why="It can grow until the kernel kills it. With a limit it refuses writes instead, and keeps its data.",
            action="Set maxmemory to about two thirds of the memory of the machine or container.",
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
                why="At its limit the server refuses every write (StoreOutOfMemoryError). Rewriting the append-only "
                "file needs additional memory.",
                action="Sweep expired rows, shorten retention, drop unused views, or raise the limit.",
                command="keyweave sweep",
            )
            return


def sweeping(health: Health, limits: Limits) -> Iterator[Finding]:
    """Rows past their deadline must be swept soon."""
    if health.sweep_lag > limits.sweep_lag:
        late = health.sweep_lag > limits.grace
        more = (
            " Its grace period has also ended: the server has freed the document and left its index entries."
            if late
            else ""
        )
        yield Finding(
            id="sweep-lag",
            severity=CRITICAL if late else WARNING,
            what=f"A row past its deadline has waited {_span(health.sweep_lag)} to be swept.",
            why=f"Reads do not return it, but it uses memory, and counts have to skip it.{more}",
            action="Run a sweeper in the application, or run keyweave sweep regularly.",
            command="keyweave sweep",
        )


def uneven(health: Health, limits: Limits) -> Iterator[Finding]:
    """The rows of a group should be spread over its partitions."""
    for group in dict.fromkeys(each.group for each in health.partitions):
        rows = {each.number: each.rows or 0 for each in health.partitions if each.group == group}
        number, most = max(rows.items(), key=lambda each: each[1])
        mean = sum(rows.values()) / len(rows)
        if most >= limits.uneven_rows and most >= limits.uneven * mean:
            yield Finding(
                id="partitions-uneven",
                severity=NOTICE,
                what=f"Partition {number} of {group} has {most:,} rows, {most / mean:.1f} times as many as an average one of its "
                f"{len(rows)} partitions.",
                why="Every partition is on one server, which runs its commands one after another: the fullest one limits how "
                "much the group can take, and more partitions do not change that. The partition_by field has too few values, "
                "or one value has very many rows.",
                action="Look which values of the partition_by field have the most rows; sweep or delete what is not needed, "
                "or choose another field in a new generation of the schema.",
                command="keyweave health --format json | jq .partitions",
            )


def schema(health: Health, _: Limits) -> Iterator[Finding]:
    """Data and code must have the same schema."""
    if health.data_schema is not None and health.data_schema != health.schema:
        yield Finding(
            id="schema-differs",
            severity=WARNING,
            what=f"The data has schema {health.data_schema[:12]}, this code has schema {health.schema[:12]}.",
            why="A view or unique constraint that only one of them knows may miss rows.",
            action="Deploy the code that matches the data, or complete the schema change; keyweave diff explains it.",
            command="keyweave diff",
        )


def _span(seconds: float) -> str:
    for length, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
