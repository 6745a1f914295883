"""The policy of a store: timeouts, attempts and batch sizes of flows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_DAY_MS: Final = 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Policy:
    """Timeouts, attempts and batch sizes of flows. Times are in seconds unless the name says otherwise.

    Attributes:
        deadline: the budget of one operation of a repository, or of one transaction with everything inside: waiting for
            a connection, connecting, retries, pauses, lock waits and unlocking. After it nothing is sent and no pause
            begins. An exchange that has begun ends by its own timeout. Maintenance of a store (check, sweep, backfill,
            export, health) has no budget for the whole; there it limits the retries of each exchange.
        attempts: maximum number of attempts of a write that conflicts with other writers.
        backoff: maximum first pause between attempts; it doubles with every attempt and is drawn at random.
        backoff_limit: maximum pause between attempts.
        lock_ttl: time to live of an advisory lock, in case its owner dies.
        lock_wait: maximum wait for an advisory lock; the operation's `deadline` ends it earlier.
        grace_ms: milliseconds between a row's deadline and the native TTL that frees the row if nothing swept it.
        chunk: maximum number of rows that one plan deletes.
        moment: time between the two reads after which a check reports drift; longer than any plan takes.
        sweep_every: one of this many writes also sweeps; 0 for never.
        sweep_rows: maximum number of rows that such a write sweeps, with the rows that refer to them.
        remembered: maximum number of recently written rows that a process remembers for its next write; 0 for none.
        tenants: maximum number of tenants whose stores a store keeps between two calls of `tenant`, so that each is opened once.
        command_words: the most words that one command may have, its name included; None for any number. A server that refuses
            longer commands needs it.
    """

    deadline: float = 10.0
    attempts: int = 64
    backoff: float = 0.002
    backoff_limit: float = 0.1
    lock_ttl: float = 5.0
    lock_wait: float = 30.0
    grace_ms: int = _DAY_MS
    chunk: int = 500
    moment: float = 0.05
    sweep_every: int = 64
    sweep_rows: int = 64
    remembered: int = 1024
    tenants: int = 1000
    command_words: int | None = None
