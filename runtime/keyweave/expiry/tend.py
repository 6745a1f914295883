"""Tending: sweeping that never gets in the way of others. A few rows a step, pauses between steps, patience with errors.

`tend` goes on for ever; `tend_once` ends when nothing is due. `tidy` is what a write does now and then, so that a
store without any sweeper still cleans itself, and one whose sweeper falls behind is no worse off.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any, Final

from keyweave.effects import Flow, Sleep
from keyweave.errors import ConfigurationError, KeyweaveError
from keyweave.exchange.ask import ask
from keyweave.expiry.sweep import LOOKAHEAD, Unsweepable, sweep_step
from keyweave.model.entity import Entity
from keyweave.store.context import Context

_LOG: Final = logging.getLogger("keyweave")
_BACKOFF: Final = 0.5
_LONGEST_BACKOFF: Final = 60.0
_STEP_ROWS: Final = 16
_SWEEPER_BACKLOG: Final = _STEP_ROWS * LOOKAHEAD
"""As many due rows are left to a sweeper of the store; when there are more, writes sweep too."""
_MARGIN: Final = 1_000_000
"""How long a row is dead, in microseconds, before a write looks at it: surely more than clocks are apart."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How much a sweeper does.

    Attributes:
        interval: seconds between looks when nothing is due; each is a fifth shorter or longer, at random.
        share: most of its time that it spends sweeping while something is due, above 0, at most 1. Well below a
            twentieth, so that writes which meet a step of the sweep stay among the slowest twentieth of all.
        rows: most rows of one step, which is one plan.

    Raises:
        ConfigurationError: a value makes no sense.
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
    """What a sweeper has done.

    Attributes:
        swept: rows removed since it started.
        kept: rows that are past their deadline and could not be removed when it last looked; see `Unsweepable`.
        rounds: looks that came to their end.
        failures: looks in a row that failed; 0 when the last one did not.
        error: why the last look failed, or None.
    """

    swept: int = 0
    kept: int = 0
    rounds: int = 0
    failures: int = 0
    error: KeyweaveError | None = None


def tend(context: Context, pace: Pace, progress: SweepProgress) -> Flow[None]:
    """Sweep for ever. An error is logged, kept in `progress`, and tried again after a growing pause."""
    while True:
        try:
            yield from tend_once(context, pace, progress)
        except KeyweaveError as error:
            progress.failures += 1
            progress.error = error
            if progress.failures & (progress.failures - 1) == 0:
                _LOG.warning("sweeper: %s (failures in a row: %d)", error, progress.failures)
            longest = min(_LONGEST_BACKOFF, _BACKOFF * (1 << min(progress.failures, 10)))
            yield Sleep(context.random.uniform(longest / 2, longest))
        else:
            if progress.failures:
                _LOG.info("sweeper: works again")
            progress.failures, progress.error = 0, None
            yield Sleep(pace.interval * context.random.uniform(0.8, 1.2))


def tend_once(
    context: Context, pace: Pace, progress: SweepProgress, *, limit: int | None = None
) -> Flow[None]:
    """Sweep what is due, in steps with pauses, until nothing is or `limit` rows are removed.

    Raises:
        StoreUnavailableError: or one of its children.
        CorruptDocumentError: a set of deadlines is none.
    """
    kept = removed = 0
    for partition in context.keyspace.partitions():
        unsweepable = Unsweepable()
        while limit is None or removed < limit:
            started = context.monotonic()
            most = pace.rows if limit is None else min(pace.rows, limit - removed)
            step = yield from sweep_step(context, partition, most, unsweepable)
            removed += step.removed
            progress.swept += step.removed
            if step.found <= step.removed + step.kept:
                break
            spent = context.monotonic() - started
            yield from _pause(context, spent * (1 / pace.share - 1), pace.rows)
        kept += len(unsweepable.members)
    progress.kept = context.state.unsweepable = kept
    progress.rounds += 1


def _pause(context: Context, seconds: float, rows: int) -> Flow[None]:
    """Pause after a step of so many rows, and once more for as many that writes sweep: writers would notice both.

    Only what they sweep in one pause counts ahead, so that the sweeper goes on soon after they have stopped.
    """
    ahead = 0
    while ahead >= 0:
        before = context.state.swept_by_writes
        yield Sleep(seconds * context.random.uniform(0.5, 1.5))
        ahead = max(ahead, context.state.swept_by_writes - before) - rows


def sweep_after_write(context: Context, entity: Entity[Any]) -> Flow[None]:
    """Sweep a few rows after a write of `entity`, if it is this write's turn and rows are due.

    Beside a sweeper it sweeps only when more rows are due than the sweeper has in sight. The write is done, so no error
    is the writer's.
    """
    if not context.due_for_sweep(entity.group):
        return
    partition = context.partition(entity)
    once = context.without_retries()
    expired_before = context.state.clock.now() - _MARGIN
    others = _SWEEPER_BACKLOG + context.state.unsweepable if context.state.sweepers else 0
    try:
        (due,) = yield from ask(
            once, (("ZRANGEBYSCORE", partition.expiry, "-inf", expired_before, "LIMIT", others, 1),)
        )
        if due:
            step = yield from sweep_step(once, partition, context.policy.sweep_rows, Unsweepable())
            context.state.swept_by_writes += step.removed
    except KeyweaveError:
        _LOG.debug("a write could not tidy up behind itself", exc_info=True)
