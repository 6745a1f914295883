"""How long a store may rely on the numbers of partitions that it knows, and what ends an operation that relied on others."""

from __future__ import annotations

from typing import Final

LEASE: Final = 30.0
"""Seconds for which a store may rely on the numbers of partitions that it has read. A doubling that was announced begins afterwards."""

_MARGIN: Final = 1.0
"""Seconds before the end of a lease in which nothing relies on it any more."""

PLAN_LIFE: Final = 10.0
"""The most seconds, beside a little slack, after which a server refuses a plan as too late. It is sent again then."""


def renewal_age(deadline: float, timeout: float) -> float:
    """Return the seconds after which a store reads the numbers of partitions again: its operations end within the lease.

    Args:
        deadline: seconds that one operation may take.
        timeout: seconds that the exchange may take beyond, which began before.
    """
    return max(LEASE - deadline - timeout - _MARGIN, LEASE / 20)


def may_outlast(deadline: float, timeout: float) -> bool:
    """Return whether an operation may take longer than the lease that it began with."""
    return renewal_age(deadline, timeout) + deadline + timeout + _MARGIN > LEASE


def longest_age(timeout: float) -> float:
    """Return the seconds after which an operation that still runs has to read the numbers again before its next exchange."""
    return max(LEASE - timeout - _MARGIN, LEASE / 2)


SPLIT_REPLY: Final = b"SPLIT"
"""The reply of scripts to a client that does not know what a partition has now, or has to wait."""


class PartitionsMovedError(Exception):
    """What an operation believes about partitions is outdated, so it begins again. No caller of a store sees it.

    It is no `KeyweaveError`, so that nothing takes it for the error of a row.
    """
