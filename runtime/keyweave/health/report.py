"""The result of examining a store: a typed report, the same in both flavours and in JSON. Values, no behaviour."""

from __future__ import annotations

import enum

import msgspec

from keyweave.health.facts import ServerFacts


class Severity(enum.StrEnum):
    """The severity of a finding, mildest first."""

    NOTICE = "notice"
    """Worth knowing; nothing is wrong yet."""
    WARNING = "warning"
    """Makes another failure worse. Plan the change."""
    CRITICAL = "critical"
    """Data can be lost, or the store does not serve. Act now."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as primary data needs it.

    Attributes:
        id: stable name, such as `eviction-policy`.
        severity: how bad it is.
        what: what was found.
        why: why it matters.
        action: what to do.
        command: a command that does it, or shows more; empty if there is none.
    """

    id: str
    severity: Severity
    what: str
    why: str
    action: str
    command: str = ""


class SentinelAnswer(msgspec.Struct, frozen=True):
    """What a Sentinel says about replacing a master.

    Attributes:
        address: host and port of the Sentinel.
        service: the name of the master.
        problem: why no master could be elected, or why the Sentinel does not answer; empty if one could.
    """

    address: str
    service: str
    problem: str


class Master(msgspec.Struct, frozen=True, kw_only=True):
    """A master of a cluster that holds groups of the namespace.

    Attributes:
        groups: names of these groups.
        partitions: numbers of the partitions that it holds, by the name of the group.
        serving: whether it accepts reads and writes now.
        clock_skew: as in `Health`.
        server: the facts that it reports.
    """

    groups: tuple[str, ...]
    partitions: dict[str, tuple[int, ...]]
    serving: bool
    clock_skew: float
    server: ServerFacts


class PartitionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What a partition of a group with several partitions holds. A number that the user may not read is None.

    Attributes:
        group: name of the group.
        number: of the partition, from 0 on.
        rows: number of rows of the entities that have a view of all rows; None also if none of the group has one.
        due: number of rows past their deadline that are not swept yet.
        homes: number of homes of keys and unique values, whichever partitions have the rows.
    """

    group: str
    number: int
    rows: int | None
    due: int | None
    homes: int | None


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The health of one store at one moment.

    Attributes:
        address: host and port, or path of the socket.
        encrypted: whether the connection uses TLS.
        local: whether the server is on this machine.
        serving: whether the server, and on a cluster every one of `masters`, accepts reads and writes now.
        latency: seconds that the examination took: one round trip, and connecting if no connection was open.
        clock_skew: seconds by which the server's clock is ahead of this machine's, beyond what the round trip explains;
            on a cluster that of the master whose clock is furthest from it.
        sweep_lag: seconds since the earliest deadline of a row that is not swept yet; 0 without such a row.
        memory_budget: bytes that the data may take: the given budget, else the server's limit; None without either.
        schema: fingerprint of the schema that the code was generated from.
        data_schema: fingerprint that the namespace carries; None if it carries none.
        server: the facts that the server reports; on a cluster, the master of the first group.
        command_words: the option of that name; None without it.
        sentinels: what the Sentinels of the URL say, if the commands `health` and `doctor` asked them.
        masters: on a cluster, the masters that hold the groups of the namespace; empty on one server.
        findings: what is not as primary data needs it, worst first.
        partitions: what each partition of the groups with several holds; empty without such a group.
    """

    address: str
    encrypted: bool
    local: bool
    serving: bool
    latency: float
    clock_skew: float
    sweep_lag: float
    memory_budget: int | None
    schema: str
    data_schema: str | None
    server: ServerFacts
    command_words: int | None = None
    sentinels: tuple[SentinelAnswer, ...] = ()
    masters: tuple[Master, ...] = ()
    findings: tuple[Finding, ...] = ()
    partitions: tuple[PartitionFacts, ...] = ()

    @property
    def memory_share(self) -> float | None:
        """The used share of the budget, 1.0 for all of it; None without a budget or without the used memory."""
        used = self.server.used_memory
        return used / self.memory_budget if self.memory_budget and used is not None else None

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None without findings."""
        return self.findings[0].severity if self.findings else None
