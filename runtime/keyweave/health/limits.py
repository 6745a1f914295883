"""The thresholds above which something about a server or its data is a finding. Numbers, each with its reason."""

from __future__ import annotations

from typing import Final

import msgspec

from keyweave.health.report import Severity

OLDEST: Final = {"redis": (7, 0), "valkey": (7, 2)}
"""The first versions that can run the scripts. The scripts begin with a `#!lua` line, which makes a full or read-only
server refuse them before their first write; Redis 7.0 introduced it. Valkey was forked from Redis 7.2.4."""

PROVEN: Final = {"redis": (8,), "valkey": (9,)}
"""The versions on which the whole test suite runs. Older ones are a finding."""

MEMORY_STEPS: Final = ((0.9, Severity.CRITICAL), (0.8, Severity.WARNING), (0.6, Severity.NOTICE))
"""Shares of the memory budget, and the severity of having used at least as much."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The thresholds above which something is a finding.

    Attributes:
        clock_skew: seconds between the server's clock and this machine's.
        sweep_lag: seconds for which a row past its deadline may wait to be swept.
        grace: seconds after its deadline at which the server frees a document by itself and leaves its index entries.
        replica_bytes: bytes that a replica may be behind.
        replica_silence: seconds for which a replica may confirm nothing, or a primary may send nothing.
        uneven: how many times the rows of an average partition of its group a partition may have. From twice on, at least half of what the
            partitions could do waits for one of them, and doubling their number does not help: its rows have few values.
        uneven_rows: rows that a partition has at least where that matters: fewer are no load for any server.
    """

    clock_skew: float = 1.0
    sweep_lag: float = 900.0
    grace: float = 86_400.0
    replica_bytes: int = 64 * 1024 * 1024
    replica_silence: int = 10
    uneven: float = 2.0
    uneven_rows: int = 100_000
