"""Repartition a group: doublings, one after another, until it has the number of partitions that is wanted. It may be interrupted, and goes on.

Each doubling is announced; when every open store knows of it, the rows that move are copied to the twins, what changes meanwhile
is copied again, and each partition in turn stands still for a few exchanges until its twin has everything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from keyweave.effects import Call, Flow, Sleep
from keyweave.errors import ConfigurationError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import server_time
from keyweave.exchange.handshake import indexes_of, learn_numbers, read_registries
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.keyspace.parse import Locator
from keyweave.keyspace.spread import MOST_PARTITIONS, is_number_of_partitions
from keyweave.model.entity import Package
from keyweave.repartition.copy import OvertakenError, clean, copy_all, copy_registry, drain
from keyweave.repartition.hold import read_holds, refuse_while_held
from keyweave.repartition.pair import Pair
from keyweave.store.context import Context
from keyweave.store.doubling import LEASE, PLAN_LIFE
from keyweave.store.registry import CURSORS, DOUBLING, HELD, PARTITIONS

_MARGIN: Final = 1.0
"""Seconds beyond a lease, for clocks that run at different speeds."""

_SLACK: Final = 5.0
"""Seconds that a plan may be under way beyond its time; see `keyweave.exchange.apply`."""

_FEW: Final = 100
"""So few changes are copied while a partition stands still."""

_ROUNDS: Final = 20
"""Rounds after which a partition stands still, also if more is changed in each of them."""

STILL: Final = 2.0
"""The most seconds for which a partition stands still; twice as long at the second attempt, and so on."""

_ATTEMPTS: Final = 8

_OWN: Final = frozenset(name.encode() for name in (CURSORS, DOUBLING, PARTITIONS))
"""Fields of a registry that a twin does not get."""

_TOGETHER: Final = 16
"""Partitions that are copied at the same time."""


@dataclass(slots=True)
class Stage:
    """How far a repartition is.

    Attributes:
        name: what is being done.
        done: rows that were read in this stage.
        total: keys of the database, a limit of the rows.
        from_number: partitions of the group before the doubling.
        to_number: and after it.
        waits: whether the stage only waits; then `done` and `total` are seconds.
    """

    name: str
    from_number: int
    to_number: int
    done: int = 0
    total: int = 0
    waits: bool = False


Observer = Callable[[Stage], object]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a group stands.

    Attributes:
        number: partitions that it has, before a doubling that is unfinished.
        doubling: partitions that there will be after an unfinished doubling; 0 if there is none.
    """

    number: int
    doubling: int


def standing(context: Context, group: str) -> Flow[Standing]:
    """Return where a group stands, as its registry says."""
    (registry,) = yield from read_registries(context, [context.keyspace.at(group, 0)])
    if registry.doubling:
        return Standing(registry.doubling // 2, registry.doubling)
    return Standing(registry.partitions, 0)


def require_possible(package: Package, group: str, now: Standing, to: int) -> None:
    """Check that a group can get a number of partitions.

    Raises:
        ConfigurationError: it cannot; the message says why.
    """
    if group not in package.groups:
        known = ", ".join(sorted(package.groups))
        raise ConfigurationError(f"there is no group {group!r}; the groups are {known}")
    if not is_number_of_partitions(to):
        raise ConfigurationError(
            f"the number of partitions must be a power of two from 1 to {MOST_PARTITIONS:,}, not {to}"
        )
    least = now.doubling or now.number
    if to < least:
        unfinished = f", and is being doubled to {now.doubling}" if now.doubling else ""
        raise ConfigurationError(
            f"group {group} has {now.number} partition{'s' if now.number > 1 else ''}{unfinished}; "
            f"the number can grow, and not shrink to {to}"
        )
    for entity in package.entities.values() if to > 1 else ():
        for reference in entity.references if entity.group == group else ():
            target = package.entities[reference.target]
            if target.partition_by in target.key_fields and entity.partition_by != reference.field:
                raise ConfigurationError(
                    f"group {group} can have one partition only: {entity.name}.{reference.field} refers to a "
                    f"{target.name}, which may be in another partition"
                )


def repartition(
    context: Context,
    group: str,
    to: int,
    observe: Observer,
    *,
    lease: float = LEASE,
    plan_life: float = PLAN_LIFE,
    still: float = STILL,
) -> Flow[bool]:
    """Double the partitions of a group until there are `to`; goes on where an earlier run was interrupted.

    Args:
        observe: called with the progress.
        lease: seconds for which open stores rely on numbers that they have read.
        plan_life: seconds after which a plan is too late.
        still: the most seconds for which a partition stands still, also if this process ends meanwhile.

    Returns:
        False when the group has that number already, and nothing was done.

    Raises:
        ConfigurationError: it cannot have that number, a command of an administrator works on the namespace, or another process has
            taken over. Rows stay where they are found.
        CorruptDocumentError: a document cannot be read.
        StoreUnavailableError: the server cannot be used; run it again.
    """
    now = yield from standing(context, group)
    require_possible(context.package, group, now, to)
    if now.number == to and not now.doubling:
        return False
    yield from _require_known_indexes(context, group, now)
    first = context.keyspace.at(group, 0)
    if not now.doubling:
        yield from refuse_while_held(context, first)
    target = now.doubling or 2 * now.number
    yield from _announce(context, first, target)
    # By this process's own clock, which is never set. What an earlier run has waited is not known, so each run waits.
    announced = context.monotonic()
    stage = Stage("waits until every open store knows", target // 2, target, waits=True)
    yield from _wait(context, announced + lease + _MARGIN, stage, observe)
    yield from _wait_for_holds(context, first, target, observe)
    while True:
        yield from learn_numbers(context)
        yield from _double(context, group, target, observe, still)
        if target >= to:
            break
        target *= 2
        yield from _announce(context, first, target)
    stage = Stage("waits for late writes", target // 2, target, waits=True)
    yield from _wait(context, announced + lease + plan_life + _SLACK + _MARGIN, stage, observe)
    yield from _end(context, group, target)
    yield from ask_script(context, "announce", (first.schema,), (target, "ends"))
    yield from learn_numbers(context)
    return True


def _announce(context: Context, first: Partition, target: int) -> Flow[None]:
    """Announce a doubling. Stores know of it when they read the registry again."""
    reply = yield from ask_script(context, "announce", (first.schema,), (target, "begins"))
    if reply[0] != b"DONE":
        raise OvertakenError


def _require_known_indexes(context: Context, group: str, now: Standing) -> Flow[None]:
    """Refuse a namespace with indexes that this schema does not keep: the copies would have no entries in them."""
    partitions = [
        context.keyspace.at(group, index) for index in range(min(now.number, context.keyspace.number(group)))
    ]
    registries = yield from read_registries(context, partitions)
    for partition, registry in zip(partitions, registries, strict=True):
        foreign = sorted(registry.indexes.keys() - indexes_of(context, partition).keys())
        if foreign:
            raise ConfigurationError(
                f"group {group}: the namespace has the index {foreign[0]}, which this schema does not keep; repartition with the "
                "package that has it, or remove it first: keyweave drop-view"
            )


def _wait(context: Context, until: float, stage: Stage, observe: Observer) -> Flow[None]:
    """Wait until a time of this process's clock."""
    while True:
        left = until - context.monotonic()
        stage.total = max(stage.total, int(left))
        stage.done = stage.total - int(max(left, 0))
        yield Call(observe, stage)
        if left <= 0:
            return
        yield Sleep(min(left, 1.0))


def _wait_for_holds(context: Context, first: Partition, target: int, observe: Observer) -> Flow[None]:
    """Wait until no command holds the group: one may have begun just before the announcement, and ends when it sees that."""
    stage: Stage | None = None
    while holds := (yield from read_holds(context, first)):
        left = max(held.seconds for held in holds)
        if stage is None:
            stage = Stage(f"waits for keyweave {holds[0].what}", target // 2, target, total=left, waits=True)
        stage.done = max(0, stage.total - left)
        yield Call(observe, stage)
        yield Sleep(1.0)


def _end(context: Context, group: str, target: int) -> Flow[None]:
    """Let all clocks be plain again: no store relies on the numbers before, and no plan of such a store is under way."""
    pair = Pair(context.keyspace.at(group, 0), context.keyspace.at(group, target // 2), target // 2, 0)
    partitions = [context.keyspace.at(group, index) for index in range(target)]
    clocks = yield from ask(context, tuple(("GET", partition.clock) for partition in partitions))
    for partition, clock in zip(partitions, clocks, strict=True):
        if _suffix(clock).startswith(pair.moved):
            yield from _step(context, partition, pair, "", 0, "", _suffix(clock))


def _double(context: Context, group: str, target: int, observe: Observer, still: float) -> Flow[None]:
    half = target // 2
    locator = Locator(context.package, context.keyspace)
    token = yield from server_time(context, context.keyspace.at(group, 0))
    waiting, pairs = [], []
    known = context.keyspace.doublings.get(group)
    if known is None or known.target != target:
        raise OvertakenError
    for index in range(half):
        pair = Pair(context.keyspace.at(group, index), context.keyspace.at(group, half + index), half, token)
        pairs.append(pair)
        if index not in known.moved:
            waiting.append(pair)
    (total,) = yield from ask(context, (("DBSIZE",),))
    stage = Stage("copies rows", half, target, total=int(total))

    def progress(rows: int) -> None:
        stage.done += rows
        observe(stage)

    for pair in waiting:
        yield from _begin(context, pair)
    for start in range(0, len(waiting), _TOGETHER):
        part = waiting[start : start + _TOGETHER]
        yield from together(context, [copy_all(context, pair, locator, progress) for pair in part])
    for pair in waiting:
        yield from _hand_over(context, pair, locator, still)
    yield from learn_numbers(context)
    stage = Stage("removes what has moved", half, target, total=int(total))
    clocks = yield from ask(context, tuple(("GET", pair.source.clock) for pair in pairs))
    # An earlier run that was interrupted at its end has removed everything, and let some clocks be plain again.
    left = [pair for pair, clock in zip(pairs, clocks, strict=True) if _suffix(clock).startswith(pair.moved)]
    for start in range(0, len(left), _TOGETHER):
        part = left[start : start + _TOGETHER]
        yield from together(context, [clean(context, pair, locator, progress) for pair in part])


def _suffix(clock: bytes | None) -> str:
    """Return the suffix of a clock, as the script `double` expects it."""
    if clock is None:
        return "none"
    _, blank, suffix = clock.decode().partition(" ")
    return blank + suffix if blank else "begun"


def _begin(context: Context, pair: Pair) -> Flow[None]:
    """Let the partition note what changes, and let this process alone fill the twin."""
    clocks = yield from ask(context, (("GET", pair.source.clock), ("GET", pair.twin.clock)))
    source, twin = map(_suffix, clocks)
    # The partition first: from then on no other process can open the twin, so what it has filled may be filled again.
    yield from _step(context, pair.source, pair, pair.phase, 0, "", source)
    yield from _step(context, pair.twin, pair, pair.filling, 0, "", twin)


def _hand_over(context: Context, pair: Pair, locator: Locator, still: float) -> Flow[None]:
    """Copy what changed until little is left, stop the partition, copy the rest, and let the twin have the rows.

    The partition stands still for a limited time, so it goes on if this process ends meanwhile.
    """
    for attempt in range(_ATTEMPTS):
        pair.frozen = 0
        for _ in range(_ROUNDS):
            if (yield from drain(context, pair, locator)) < _FEW:
                break
        before = pair.phase
        now = yield from server_time(context, pair.source)
        pair.frozen = now + int(still * (attempt + 1) * 1e6)
        yield from _step(context, pair.source, pair, pair.phase, 0, "", before)
        while (yield from drain(context, pair, locator)):
            pass
        clock, flat = yield from ask(context, (("GET", pair.source.clock), ("HGETALL", pair.source.schema)))
        fields = dict(zip(flat[0::2], flat[1::2], strict=True))
        for name in [*fields]:
            if name in _OWN or name.startswith(HELD.encode()):
                del fields[name]
        if fields:
            yield from copy_registry(context, pair, [word for field in fields.items() for word in field])
        revision = int(clock.split()[0])
        yield from _step(context, pair.twin, pair, pair.opened, revision, str(pair.target), pair.filling)
        moved = yield from _try_step(context, pair.source, pair, pair.moved, 0, str(pair.target), pair.phase)
        if moved:
            return
        # It went on before everything was copied. No store uses the twin yet.
        after = pair.phase
        last = yield from ask(context, (("GET", pair.source.clock),))
        if _suffix(last[0]) != after:
            raise OvertakenError
        pair.frozen = 0
        yield from _step(context, pair.source, pair, pair.phase, 0, "", after)
        opened = pair.opened
        pair.begin_again()
        yield from _step(context, pair.twin, pair, pair.filling, 0, "", opened)
    raise ConfigurationError(
        f"group {pair.source.group}: what changes in a partition could not be copied in {_ATTEMPTS} attempts; run it again later"
    )


def _step(
    context: Context, partition: Partition, pair: Pair, suffix: str, least: int, number: str, *present: str
) -> Flow[None]:
    if not (yield from _try_step(context, partition, pair, suffix, least, number, *present)):
        raise OvertakenError


def _try_step(
    context: Context, partition: Partition, pair: Pair, suffix: str, least: int, number: str, *present: str
) -> Flow[bool]:
    """Give a clock another suffix, if it has one of `present` now. Returns whether it has it: also if an earlier try was lost."""
    reply = yield from ask_script(
        context,
        "double",
        (partition.clock, partition.schema, partition.changed),
        (pair.target, suffix, least, number, *present, suffix or "begun"),
    )
    return bool(reply[0] == b"DONE")
