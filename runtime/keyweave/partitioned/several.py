"""Several keys or records at once: each goes to its partition, and the results come back in their order. And owners of unique values."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from keyweave.commit.same_partition import partition_changed
from keyweave.effects import Flow
from keyweave.errors import AlreadyExistsError, KeyweaveError, UniqueViolationError
from keyweave.exchange.ask import ask
from keyweave.exchange.together import together
from keyweave.homes.claim import find_home
from keyweave.homes.home import Homed, has_homes, is_located, read_home
from keyweave.keyspace.keys import Partition, split
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry
from keyweave.model.record import Record
from keyweave.partitioned import whereabouts
from keyweave.partitioned.inside import inside
from keyweave.read.get import find
from keyweave.store.context import Context
from keyweave.write.many import listed, save_many, upsert_many


def by_partition(
    flow: Callable[..., Flow[list[Any]]],
    context: Context,
    entity: Entity[Any],
    given: Any,
    options: dict[str, Any],
) -> Flow[list[Any]]:
    """Run a flow of several keys or records in each of their partitions, all at the same time.

    A record with the key or a unique value of an earlier one in another partition waits for that one, because the results are those of
    writes in their order. Inside a transaction they go one after another, because the first error ends it.
    """
    each = listed(entity, given)
    value = options.get("partition_value")
    if value is not None:
        partition = whereabouts.by_value(context, entity, value)
        return (yield from flow(inside(context, partition), entity, each, **options))
    partitions = yield from _places(context, entity, each)
    if context.unit is not None:
        results = []
        for one, partition in zip(each, partitions, strict=True):
            results += yield from flow(inside(context, partition), entity, [one], **options)
        return results
    placed: dict[int, Any] = {}
    for stretch in _stretches(entity, each, partitions):
        yield from _run(flow, context, entity, each, partitions, stretch, options, placed)
        if flow is not upsert_many and flow is not save_many:
            continue
        written: set[Partition] = set()
        for number in stretch:
            # An earlier row of another partition may have given up the unique value at the same time.
            result = placed[number]
            homed = isinstance(result, UniqueViolationError) and has_homes(entity, result.constraint)
            if homed and written - {partitions[number]}:
                yield from _run(flow, context, entity, each, partitions, [number], options, placed)
            if not isinstance(placed[number], KeyweaveError):
                written.add(partitions[number])
    return [placed[number] for number in range(len(each))]


def _stretches(entity: Entity[Any], given: list[Any], partitions: list[Partition]) -> Iterator[list[int]]:
    """Divide what was given into stretches that are written one after another.

    In each of them no two records of different partitions have the same key or unique value: the earlier one gets it.
    """
    stretch: list[int] = []
    owners: dict[tuple[object, ...], Partition] = {}
    for number, (one, partition) in enumerate(zip(given, partitions, strict=True)):
        names = _names(entity, one) if isinstance(one, Record) else []
        if any(owners.get(name, partition) is not partition for name in names):
            yield stretch
            stretch, owners = [], {}
        stretch.append(number)
        owners.update(dict.fromkeys(names, partition))
    if stretch:
        yield stretch


def _names(entity: Entity[Any], record: Record) -> list[tuple[object, ...]]:
    """Return the key and the unique values of a record that need homes. Texts that may be equal when they are normalized are equal."""
    fields = [] if is_located(entity) else [entity.key_fields]
    fields += [unique.fields for name, unique in entity.uniques.items() if has_homes(entity, name)]
    found: list[tuple[object, ...]] = []
    for names in fields:
        values = [getattr(record, name, None) for name in names]
        if None not in values:
            found.append((names, *[str(value).strip().casefold() for value in values]))
    return found


def _run(
    flow: Callable[..., Flow[list[Any]]],
    context: Context,
    entity: Entity[Any],
    each: list[Any],
    partitions: list[Partition],
    stretch: list[int],
    options: dict[str, Any],
    placed: dict[int, Any],
) -> Flow[None]:
    """Run a flow for those of several keys or records whose numbers are given, and place their results by number."""
    groups: defaultdict[Partition, list[int]] = defaultdict(list)
    for number in stretch:
        groups[partitions[number]].append(number)
    flows = [
        flow(inside(context, partition), entity, [each[number] for number in numbers], **options)
        for partition, numbers in groups.items()
    ]
    found = yield from together(context, flows)
    for (partition, numbers), results in zip(groups.items(), found, strict=True):
        for number, result in zip(numbers, results, strict=True):
            one = each[number]
            if isinstance(one, Record) and isinstance(result, AlreadyExistsError) and flow is upsert_many:
                placed[number] = yield from moved(context, entity, one, result)
                continue
            placed[number] = result
            if result is not None and result is not False and not isinstance(result, KeyweaveError):
                key = entity.key_of(one) if isinstance(one, Record) else one
                context.state.homes.put(entity.name, key, partition)


def _places(context: Context, entity: Entity[Any], given: list[Any]) -> Flow[list[Partition]]:
    """Return the partition of each key or record. Homes of keys are read at once; what is no key goes to the first partition."""
    first = context.keyspace.at(entity.group, 0)
    found: dict[int, Partition] = {}
    asked: list[tuple[int, Homed]] = []
    for number, one in enumerate(given):
        if isinstance(one, Record):
            found[number] = whereabouts.by_record(context, entity, one) or first
            continue
        change = context.unit.change_of(entity, one) if context.unit is not None else None
        if change is not None and context.unit is not None and context.unit.partition is not None:
            found[number] = context.unit.partition
            continue
        partition = whereabouts.by_key(context, entity, one) if isinstance(one, str) else first
        if partition is not None:
            found[number] = partition
        else:
            try:
                one.encode()
            except UnicodeEncodeError:
                found[number] = first
            else:
                asked.append((number, Homed(entity, "", one)))
    if asked:
        commands = tuple(("HGET", thing.at(context).homes(entity.name), thing.value) for _, thing in asked)
        homes = yield from ask(context, commands)
        for (number, thing), home in zip(asked, homes, strict=True):
            found[number] = (
                context.keyspace.holder(entity.group, read_home(home).place)
                if home is not None
                else thing.at(context)
            )
    return [found[number] for number in range(len(given))]


def owner(
    flow: Callable[..., Flow[Any]], context: Context, entity: Entity[Any], claim: ClaimEntry
) -> Flow[Any]:
    """Run a flow that looks up a unique value in the partition of its owner."""
    unit = context.unit
    if len(context.keyspace.holders(entity.group)) == 1:
        partition = context.keyspace.at(entity.group, 0)
    elif unit is not None and unit.partition is not None and unit.owner(entity, claim.unique, claim.value):
        partition = unit.partition
    elif not has_homes(entity, claim.unique):
        fields = entity.uniques[claim.unique].fields
        texts = (claim.value,) if len(fields) == 1 else split(claim.value)
        assert texts is not None  # the caller joined them
        partition = whereabouts.by_text(context, entity, texts[fields.index(entity.partition_by)])
    else:
        thing = Homed(entity, claim.unique, claim.value)
        home = yield from find_home(context, thing)
        if home is None:
            return None
        partition = context.keyspace.holder(entity.group, home.place)
    return (yield from flow(inside(context, partition), entity, claim))


def moved(
    context: Context, entity: Entity[Any], record: Record, error: AlreadyExistsError
) -> Flow[KeyweaveError]:
    """Return the error of an upsert whose row is in another partition, because it has another value of the field that decides it."""
    key = entity.key_of(record)
    partition = yield from whereabouts.look_home(context, entity, key)
    if partition is None:
        return error
    found = yield from find(inside(context, partition), entity, key)
    name = entity.partition_by
    if found is None or getattr(found, name) == getattr(record, name):
        return error
    return partition_changed(entity, key, getattr(found, name), getattr(record, name))
