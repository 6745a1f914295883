"""From where on something about a server or its data is a finding. Numbers, each with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave.health.report import Severity

OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
"""The first versions that can run the scripts: their `#!lua` line, by which a full or read-only server refuses before
the first write, came with Redis 7.0. Valkey began as Redis 7.2.4."""

PROVEN: Final = {"redis": (8,), "valkey": (9,)}
"""The versions on which the whole suite runs, from which on nothing is said."""

MEMORY_STEPS: Final = ((0.9, Severity.CRITICAL), (0.8, Severity.WARNING), (0.6, Severity.NOTICE))
"""Parts of the memory budget, and how bad it is to have used as much."""


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
