"""Sweeping: removing rows that are past their deadline, each with all of its entries in one atomic step.

One row must not make a sweep fail: a row that cannot be removed is counted and skipped. Concurrent sweeps share the
work; the guards of their plans decide which of them removes a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from keyweave.changes.change import Change
from keyweave.commit.allowance import Allowance
from keyweave.commit.family import read_family
from keyweave.commit.remove import remove_rows
from keyweave.effects import Flow
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    KeyweaveError,
    ReferenceViolationError,
    TransactionTooLargeError,
)
from keyweave.exchange.ask import ask
from keyweave.exchange.by_partition import AT_ONCE, MOST, Failures, Master, by_master, concerns_master
from keyweave.exchange.deadline import deadline_passed, deadlines_passed, server_time
from keyweave.exchange.handshake import learn_numbers
from keyweave.exchange.together import caught, together
from keyweave.expiry.forget import count_swept, forget
from keyweave.expiry.search import Row
from keyweave.homes.vacant import remove_vacant
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.record import Stored, memory_of
from keyweave.store.context import Context
from keyweave.store.doubling import PartitionsMovedError

BATCH: Final = 100
"""Maximum number of rows that `sweep` removes in one plan."""

LOOKAHEAD: Final = 4
"""A step reads this many times its rows and begins at a random one, so that concurrent sweeps seldom collide."""


@dataclass(slots=True)
class Unsweepable:
    """Rows that a sweep could not remove, as members of the set of deadlines. The sweep skips them.

    Their entity is not in this schema, they cannot be decoded, a live row refers to them with restrict, their entry in
    the set is wrong, or other writers keep changing their families.

    Attributes:
        members: the rows.
        leading: number of members of the set, from its beginning, that are known to be all unsweepable.
    """

    members: set[bytes] = field(default_factory=set)
    leading: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """The result of one step of a sweep.

    Attributes:
        found: number of due rows that the step read.
        removed: number of due rows that it removed.
        kept: number of rows that it could not remove; they are in `Unsweepable`.
    """

    found: int
    removed: int
    kept: int


def sweep(context: Context, *, limit: int = 10_000) -> Flow[int]:
    """Remove up to `limit` rows: rows past their deadline, in all partitions, and rows that refer to them with cascade.

    Where a group has several partitions, homes without a row are removed behind them, all of them. On a cluster the partitions
    are swept side by side, and one that cannot be does not stop the others.

    Returns:
        The number of removed rows.
    """
    allowance = Allowance(context.monotonic, limit)
    if context.keyspace.doublings:
        # Homes without a row stay until the partitions are doubled.
        try:
            yield from _sweep_all(context.amid(context.keyspace.doublings), allowance)
        except PartitionsMovedError:
            yield from learn_numbers(context)
        return allowance.used
    yield from _sweep_all(context, allowance)
    return allowance.used


def _sweep_all(context: Context, allowance: Allowance) -> Flow[None]:
    failures = Failures(context)
    masters = yield from by_master(context, context.keyspace.partitions())
    sweeping = Round(context, masters, failures, AT_ONCE)
    while not (sweeping.done or allowance.spent):
        yield from sweeping.step(BATCH, allowance, lambda step: not step.found)
    if context.router is not None and not (allowance.spent or context.doubling is not None):
        yield from remove_vacant(context, failures)
    failures.raise_first()


class Round:
    """One sweep of all partitions, in steps: each in some partitions of every master at the same time.

    Args:
        context: of the store.
        masters: the partitions by master.
        failures: gets the partitions where a step fails; the others go on.
        at_once: the most partitions of one master in which a step is made at the same time; on one server it is one.
    """

    def __init__(
        self, context: Context, masters: Sequence[Master], failures: Failures, at_once: int = 1
    ) -> None:
        self._context: Final = context
        self._failures: Final = failures
        self._at_once: Final = at_once if context.clustered else 1
        self._waiting: Final = [(master.name, list(master.partitions)) for master in masters]
        self._unsweepable: Final[dict[Partition, Unsweepable]] = {}

    @property
    def done(self) -> bool:
        """Whether every partition is done."""
        return not any(waiting for _, waiting in self._waiting)

    @property
    def kept(self) -> int:
        """Number of rows that could not be removed."""
        return sum(len(each.members) for each in self._unsweepable.values())

    def step(
        self, most: int, allowance: Allowance, ended: Callable[[Step], bool], cap: int | None = None
    ) -> Flow[None]:
        """Make a step in the next partitions.

        Args:
            most: number of rows past their deadline to remove in each of them.
            allowance: what the step may cost in all of them together. It is charged.
            ended: returns whether a partition is done after a step.
            cap: number of rows to remove in each of them, with the rows that refer to swept ones; by default its share.
        """
        now = [
            (name, waiting, partition)
            for name, waiting in self._waiting
            for partition in waiting[: self._at_once]
        ][: min(MOST, allowance.rows)]
        shares = [(allowance.rows + place) // len(now) for place in range(len(now))]
        allowances = [
            Allowance(self._context.monotonic, share if cap is None else min(cap, share)) for share in shares
        ]
        steps = [
            caught(self._sweep(partition, most, each))
            for (_, _, partition), each in zip(now, allowances, strict=True)
        ]
        try:
            found = yield from together(self._context, steps)
        finally:
            for each in allowances:
                allowance.charge(each.used)
        for (name, waiting, partition), step in zip(now, found, strict=True):
            if isinstance(step, KeyweaveError):
                for lost in list(waiting) if concerns_master(step) else [partition]:
                    self._failures.add(lost, step, name)
                    if (
                        lost in waiting
                    ):  # another partition of a master that cannot be used may have taken it out
                        waiting.remove(lost)
            elif partition in waiting and ended(step):
                waiting.remove(partition)

    def _sweep(self, partition: Partition, most: int, allowance: Allowance) -> Flow[Step]:
        unsweepable = self._unsweepable.setdefault(partition, Unsweepable())
        there = self._context.at(partition)
        return sweep_step(there, partition, min(most, allowance.rows), unsweepable, allowance)


def sweep_step(
    context: Context,
    partition: Partition,
    limit: int,
    unsweepable: Unsweepable,
    allowance: Allowance | None = None,
) -> Flow[Step]:
    """Sweep up to `limit` rows of one partition, except for those in `unsweepable`, and add to these.

    Args:
        allowance: what the step may cost, with the rows that refer to swept ones; by default `limit` rows.
    """
    if allowance is None:
        allowance = Allowance(context.monotonic, limit)
    now = yield from server_time(context, partition)
    window = limit * LOOKAHEAD + len(unsweepable.members) - unsweepable.leading
    (members,) = yield from ask(
        context, (("ZRANGEBYSCORE", partition.expiry, "-inf", now, "LIMIT", unsweepable.leading, window),)
    )
    due = [member for member in members if member not in unsweepable.members]
    unsweepable.leading += members.index(due[0]) if due else len(members)
    start = context.random.randrange(len(due) - limit + 1) if len(due) > limit else 0
    rows: list[Row] = []
    kept: list[bytes] = []
    for member in due[start : start + limit]:
        name, _, key = member.decode(errors="replace").partition(":")
        entity = context.package.entities.get(name)
        if entity is not None and entity.group == partition.group:
            rows.append((name, key))
        else:
            kept.append(member)
    removed, stuck = yield from sweep_rows(context, partition, rows, allowance)
    kept += {partition.expiring(*row).encode() for row in stuck}
    unsweepable.members.update(kept)
    return Step(len(due), removed, len(kept))


def sweep_row(context: Context, entity: Entity[Any], key: str) -> Flow[bool | None]:
    """Remove one row that is past its deadline, with its family.

    Returns:
        True when it was removed, False when another writer changed it first, None when there is no such row or it is
        not past its deadline.
    """
    found = yield from read_family(context, entity, key, "dead", context.policy.chunk + 1)
    if found is None:
        return None
    change, family = found
    expires = change.old.expires if change.old is not None else 0
    if expires == 0 or not (yield from deadline_passed(context, context.partition(entity), expires)):
        return None
    removed: bool = yield from remove_rows(context, [change], family)
    if removed:
        count_swept(context, change)
    return removed


def sweep_rows(
    context: Context, partition: Partition, rows: list[Row], allowance: Allowance | None = None
) -> Flow[tuple[int, list[Row]]]:
    """Remove those of `rows` that are past their deadline, in one plan, or in smaller ones after a conflict.

    Args:
        allowance: what this may cost, with the rows that refer to swept ones. When it is used up, the rest stays.

    Returns:
        The number of removed rows, and the due rows that could not be removed.
    """
    removed = 0
    kept: list[Row] = []
    waiting = [rows]
    while waiting:
        if allowance is not None and allowance.spent:
            break
        part = waiting.pop()
        dead, freed, others = yield from _classify(context, partition, part)
        kept += yield from _overdue(context, partition, others)
        if freed:
            try:
                forgotten, stuck = yield from forget(context, partition, freed, allowance)
            except (AuthenticationError, CorruptDocumentError):
                # An application may lack the permission for SCAN. The sweep of `keyweave sweep` has it.
                forgotten, stuck = 0, freed
            removed += forgotten
            kept += stuck
        if not dead:
            continue
        try:
            done = yield from remove_rows(context, dead, allowance=allowance)
        except (CorruptDocumentError, ReferenceViolationError, TransactionTooLargeError):
            done = False
        dead_rows = [(change.entity.name, change.key) for change in dead]
        if done:
            for change in dead:
                count_swept(context, change)
            removed += len(dead)
        elif allowance is not None and allowance.spent:
            break  # what is left of the families is removed by the next sweep
        elif len(dead) == 1:
            still_dead, _, _ = yield from _classify(context, partition, dead_rows)
            kept += dead_rows if still_dead else []
        else:
            middle = len(dead_rows) // 2
            waiting += [dead_rows[middle:], dead_rows[:middle]]
    return removed, kept


def _classify(
    context: Context, partition: Partition, rows: list[Row]
) -> Flow[tuple[list[Change], list[Row], list[Row]]]:
    """Return the rows that are past their deadline, those without a document, and the others: unreadable or live."""
    if not rows:
        return [], [], []
    (documents,) = yield from ask(context, (("MGET", *[partition.document(*row) for row in rows]),))
    freed = [row for row, document in zip(rows, documents, strict=True) if document is None]
    read: list[tuple[Row, Stored | None]] = []
    for row, document in zip(rows, documents, strict=True):
        if document is None:
            continue
        try:
            read.append((row, memory_of(context.codecs[row[0]].load(document))))
        except CorruptDocumentError:
            read.append((row, None))
    passed = yield from deadlines_passed(
        context, partition, [stored.expires if stored is not None else 0 for _, stored in read]
    )
    dead: list[Change] = []
    others: list[Row] = []
    for ((name, key), stored), ended in zip(read, passed, strict=True):
        if stored is None or not ended:
            others.append((name, key))
            continue
        entity, old = context.package.entities[name], context.codecs[name].entries_of(stored)
        dead.append(Change(entity, key, old=stored, old_entries=old, prepared=None, guard="dead"))
    return dead, freed, others


def _overdue(context: Context, partition: Partition, rows: list[Row]) -> Flow[list[Row]]:
    """Return those of `rows` whose entry in the set of deadlines is due. A row that was renewed meanwhile is not."""
    if not rows:
        return []
    members = [partition.expiring(*row) for row in rows]
    (deadlines,) = yield from ask(context, (("ZMSCORE", partition.expiry, *members),))
    now = context.clock(partition).now()
    return [
        row
        for row, deadline in zip(rows, deadlines, strict=True)
        if deadline is not None and float(deadline) <= now
    ]
