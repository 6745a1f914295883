"""How long a store may rely on the numbers of partitions that it knows, and what ends an operation that relied on others."""

from __future__ import annotations

from typing import Final

LEASE: Final = 20.0
"""Seconds for which a store may rely on the numbers of partitions that it has read. A doubling that was announced begins afterwards."""

PLAN_LIFE: Final = 10.0
"""The most seconds, beside a little slack, after which a server refuses a plan as too late. It is sent again then."""


def renewal_age(deadline: float) -> float:
    """Return the seconds after which a store reads the numbers of partitions again: its operations end within the lease."""
    return max(LEASE - deadline - 1.0, LEASE / 20)


SPLIT_REPLY: Final = b"SPLIT"
"""The reply of scripts to a client that does not know what a partition has now, or has to wait."""


class PartitionsMovedError(Exception):
    """What an operation believes about partitions is outdated, so it begins again. No caller of a store sees it.

    It is no `KeyweaveError`, so that nothing takes it for the error of a row.
    """
