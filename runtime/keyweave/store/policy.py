"""How long and how often flows try."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """How long and how often flows try. All times in seconds unless the name says otherwise.

    Attributes:
        deadline: total time of one operation, tries and pauses included.
        attempts: tries of a write that loses to other writers.
        backoff: longest first pause between tries; it doubles with every try and is drawn at random.
        backoff_limit: longest pause.
        lock_ttl: life of an advisory lock whose owner died.
        lock_wait: longest wait for an advisory lock.
        grace_ms: milliseconds between a row's deadline and the native TTL that frees it if nothing swept it.
        marker_ttl: how long a plan that leaves no document is remembered for a retry.
        chunk: most rows that one plan deletes.
        moment: time between the two looks after which a check reports drift; longer than any plan takes.
        sweep_every: after so many writes, one also looks for rows to sweep; 0 for never.
        sweep_rows: most rows that such a write sweeps.
        remembered: most rows of which a process keeps what it wrote, for the next write of them; 0 for none.
    """

    deadline: float = 10.0
    attempts: int = 64
    backoff: float = 0.002
    backoff_limit: float = 0.1
    lock_ttl: float = 5.0
    lock_wait: float = 30.0
    grace_ms: int = _DAY_MS
    marker_ttl: int = 60
    chunk: int = 500
    moment: float = 0.05
    sweep_every: int = 64
    sweep_rows: int = 64
    remembered: int = 1024
