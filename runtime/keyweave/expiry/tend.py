"""Tending: sweeping in the background, in small steps with pauses, so that it does not slow down other work.

`tend` runs until it is stopped; `tend_once` ends when nothing is due. Writes call `sweep_after_write`, so that a
store without a sweeper is swept as well, and so is one whose sweeper falls behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from keyweave.commit.allowance import Allowance
from keyweave.effects import Effect, Flow, Sleep
from keyweave.errors import ConfigurationError, KeyweaveError
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import Failures, by_master
from keyweave.expiry.sweep import LOOKAHEAD, Round, Step, Unsweepable, sweep_step
from keyweave.homes.vacant import VacantHomes, remove_next
from keyweave.model.entity import Entity
from keyweave.store.context import Context

_LOG: Final = logging.getLogger("keyweave")
_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 60.0
_STEP_ROWS: Final = 16
_UNLIMITED: Final = 1 << 62
_SWEEPER_BACKLOG: Final = _STEP_ROWS * LOOKAHEAD
"""Maximum number of due rows that writes leave to a sweeper of the store. When there are more, writes sweep too."""
_MARGIN: Final = 1_000_000
"""Microseconds after its deadline from which on a write sweeps a row; more than any error of the estimated clock."""

_HOME_READS: Final = 20
"""Most reads of homes in one round of a sweeper, of up to 500 homes each. The next round goes on behind them."""

_WRITE_SECONDS: Final = 0.025
"""Seconds after which a write begins no further step of its sweep."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much work a sweeper does.

    Attributes:
        interval: seconds between rounds when nothing is due; each pause is up to a fifth shorter or longer, at random.
        share: maximum fraction of its time for which a sweeper sweeps while rows are due, above 0 and at most 1.
            The default is well below one twentieth, so that the writes that wait for a step stay among the slowest
            twentieth of all writes.
        rows: maximum number of rows in one step, with the rows that refer to them.

    Raises:
        ConfigurationError: a value is out of range.
    """

    interval: float = 30.0
    share: float = 0.02
    rows: int = _STEP_ROWS

    def __post_init__(self) -> None:
        if not 0 < self.interval <= 86_400:
            raise ConfigurationError("sweeper: interval must be more than 0 and at most 86400 seconds")
        if not 0 < self.share <= 1:
            raise ConfigurationError("sweeper: share must be more than 0 and at most 1")
        if not 1 <= self.rows <= 1000:
            raise ConfigurationError("sweeper: rows must be from 1 to 1000")


@dataclass(slots=True)
class SweepProgress:
    """The progress of a sweeper.

    Attributes:
        swept: number of rows removed since it started, with the rows that referred to them.
        kept: number of due rows that its last completed round could not remove; see `Unsweepable`.
        rounds: number of completed rounds.
        failures: number of consecutive failed rounds; 0 when the last round succeeded.
        error: the error of the last round, or None when it succeeded.
        vacant: number of homes without a row that it removed, where a group has several partitions.
    """

    swept: int = 0
    kept: int = 0
    rounds: int = 0
    failures: int = 0
    error: KeyweaveError | None = None
    vacant: int = 0


def tend(context: Context, pace: Pace, progress: SweepProgress) -> Flow[None]:
    """Sweep without end. After an error, log it, record it in `progress`, and retry with increasing pauses."""
    homes: VacantHomes | None = None
    while True:
        try:
            yield from tend_once(context, pace, progress)
            if context.router is not None:
                homes = yield from _tend_homes(context, pace, progress, homes)
        except KeyweaveError as error:
            yield Sleep(note_failure(context, progress, error))
        else:
            if progress.failures:
                _LOG.info("sweeper: recovered")
            progress.failures, progress.error = 0, None
            yield Sleep(pace.interval * context.random.uniform(0.8, 1.2))


def _tend_homes(
    context: Context, pace: Pace, progress: SweepProgress, homes: VacantHomes | None
) -> Flow[VacantHomes | None]:
    """Remove homes without a row in steps with pauses, behind those that an earlier round has examined; return where this one ends."""
    if homes is None or homes.done:
        homes = VacantHomes(context)
    for _ in range(_HOME_READS):
        if homes.done:
            break
        started = context.monotonic()
        progress.vacant += yield from remove_next(context, homes)
        spent = context.monotonic() - started
        yield Sleep(spent * (1 / pace.share - 1) * context.random.uniform(0.5, 1.5))
    return homes


def note_failure(context: Context, progress: SweepProgress, error: KeyweaveError) -> float:
    """Log an error, record it in `progress`, and return the seconds to pause before the next try."""
    progress.failures += 1
    progress.error = error
    if progress.failures & (progress.failures - 1) == 0:
        _LOG.warning("sweeper: %s (consecutive failures: %d)", error, progress.failures)
    longest = min(_LONGEST_BACKOFF, _BACKOFF * (1 << min(progress.failures, 10)))
    return context.random.uniform(longest / 2, longest)


def tend_once(
    context: Context, pace: Pace, progress: SweepProgress, *, limit: int | None = None
) -> Flow[None]:
    """Sweep due rows in steps with pauses, until no row is due or `limit` rows are removed.

    On a cluster one partition of each master is swept at the same time, and the pause follows for all of them: so no master has
    more to do than the pace allows. A partition that cannot be swept does not stop the others.

    Raises:
        StoreUnavailableError: or a subclass.
        CorruptDocumentError: the key of a set of deadlines holds another type.
    """
    removed = 0
    if context.keyspace.doublings:
        progress.rounds += 1
        return  # rows past their deadline are invisible, and wait until the partitions are doubled
    failures = Failures(context)
    sweeping = Round(context, (yield from by_master(context, context.keyspace.partitions())), failures)
    more = False

    def ended(step: Step) -> bool:
        nonlocal more
        more = more or step.found > step.removed + step.kept
        return step.found <= step.removed + step.kept

    while not sweeping.done and (limit is None or removed < limit):
        started, more = context.monotonic(), False
        allowance = Allowance(context.monotonic, _UNLIMITED if limit is None else limit - removed)
        yield from sweeping.step(pace.rows, allowance, ended, cap=pace.rows)
        removed += allowance.used
        progress.swept += allowance.used
        if more:
            spent = context.monotonic() - started
            yield from _pause(context, spent * (1 / pace.share - 1), pace.rows)
    progress.kept = context.state.unsweepable = sweeping.kept
    failures.raise_first()
    progress.rounds += 1


def _pause(context: Context, seconds: float, rows: int) -> Flow[None]:
    """Pause after a step of `rows` rows, and again for each `rows` rows that writes sweep during a pause.

    Writers notice both kinds of sweeping, so they share one budget. The excess of only one pause is carried over,
    so that the sweeper resumes soon after the writes stop.
    """
    excess = 0
    while excess >= 0:
        before = context.state.swept_by_writes
        yield Sleep(seconds * context.random.uniform(0.5, 1.5))
        excess = max(excess, context.state.swept_by_writes - before) - rows


def sweep_after_write(context: Context, entity: Entity[Any]) -> Iterable[Effect]:
    """Sweep a few rows after a write of `entity`, if it is this write's turn and rows are due. Rows and time are bounded.

    While a sweeper runs, a write sweeps only when more rows are due than are left to the sweeper. The write itself has
    succeeded, so an error is logged and not raised.
    """
    return _sweep_some(context, entity) if context.due_for_sweep(entity.group) else ()


def _sweep_some(context: Context, entity: Entity[Any]) -> Flow[None]:
    partition = context.partition(entity)
    once = context.without_retries()
    expired_before = context.clock(partition).now() - _MARGIN
    offset = _SWEEPER_BACKLOG + context.state.unsweepable if context.state.sweepers else 0
    try:
        (due,) = yield from ask(
            once, (("ZRANGEBYSCORE", partition.expiry, "-inf", expired_before, "LIMIT", offset, 1),)
        )
        if due:
            most = context.policy.sweep_rows
            allowance = Allowance(context.monotonic, most, _WRITE_SECONDS)
            yield from sweep_step(once, partition, most, Unsweepable(), allowance)
            context.state.swept_by_writes += allowance.used
    except KeyweaveError:
        _LOG.debug("a sweep after a write failed", exc_info=True)
