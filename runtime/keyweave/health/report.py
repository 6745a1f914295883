"""What an examination of a store found: a typed report, the same in both flavours and in JSON. Values, no behaviour."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from keyweave.health.facts import ServerFacts


class Severity(enum.StrEnum):
    """How bad a finding is, mildest first."""

    NOTICE = "notice"
    """Worth knowing; nothing is wrong yet."""
    WARNING = "warning"
    """Will hurt when something else goes wrong. Plan the change."""
    CRITICAL = "critical"
    """Data can be lost, or the store does not serve. Act now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is not as primary data needs it.

    Attributes:
        id: stable name, such as `eviction-policy`.
        severity: how bad it is.
        what: what was seen.
        why: why it matters.
        action: what to do.
        command: what to type for it, when that can be said.
    """

    id: str
    severity: Severity
    what: str
    why: str
    action: str
    command: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """One store's state at one moment.

    Attributes:
        address: host and port, or path of the socket.
        encrypted: whether TLS is used.
        local: whether the connection stays on this machine.
        serving: whether reads and writes are answered now.
        latency: seconds that the examination took: one round trip, and connecting where no connection was open.
        clock_skew: seconds by which the server's clock is ahead of this machine's, beyond what the round trip explains.
        sweep_lag: seconds for which the oldest row that is past its deadline has waited to be swept; 0 for none.
        memory_budget: bytes that the data may take: what was given, or else the server's limit; None without either.
        schema: fingerprint of the schema that the code was generated from.
        data_schema: fingerprint that the namespace carries; None when it carries none.
        server: what the server says about itself.
        findings: what is not as it should be, worst first.
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
    findings: tuple[Finding, ...] = ()

    @property
    def memory_share(self) -> float | None:
        """The part of the budget that is used, 1.0 for all of it; None without a budget."""
        used = self.server.used_memory
        return used / self.memory_budget if self.memory_budget and used is not None else None

    @property
    def worst(self) -> Severity | None:
        """The severity of the worst finding; None when there is none."""
        return self.findings[0].severity if self.findings else None
