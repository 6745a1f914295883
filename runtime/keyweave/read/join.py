"""Semi-joins: rows that have a referring row with certain field values, such as executions that ran a task.

The rows that refer to a parent are in one view, and the rows with a field value are in another. The server intersects
the two, so most parents without a match need no document. The documents of the rest are read, because an entry may
belong to a row that is past its deadline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec

from keyweave.effects import Command, Flow
from keyweave.errors import ValidationError
from keyweave.exchange.ask import ask
from keyweave.exchange.bound import most_lists
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, Referrer
from keyweave.model.record import Record
from keyweave.read.conditions import Conditions
from keyweave.read.get import get_many
from keyweave.read.match import matches
from keyweave.read.page import all_pages
from keyweave.read.plan import checked
from keyweave.read.query import Having
from keyweave.read.stream import Stream
from keyweave.read.usable import list_key, lists_of, usable_views
from keyweave.store.access_path import widest
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

_PIPELINE: Final = 100


class Condition(msgspec.Struct, frozen=True):
    """A checked condition of a semi-join.

    Attributes:
        referrer: the reference from the rows.
        parts: the conditions of the rows; one of them holds for a referring row.
        nested: for each part, conditions on the rows that refer to the referring row.
    """

    referrer: Referrer
    parts: tuple[Conditions, ...]
    nested: tuple[tuple[Condition, ...], ...]

    @property
    def plain(self) -> Conditions | None:
        """The conditions of the rows, if they have one part and nothing is asked of the rows that refer to them."""
        return self.parts[0] if len(self.parts) == 1 and not self.nested[0] else None


def joined(context: Context, entity: Entity[Any], conditions: Sequence[Having]) -> tuple[Condition, ...]:
    """Return conditions on referring rows, checked.

    Raises:
        ValidationError: the rows do not refer to the entity, several fields do and none is named, or a filter of the rows is
            not valid.
    """
    found = []
    for each in conditions:
        rows = each.rows
        parts = tuple(checked(rows))
        nested = tuple(joined(context, rows.entity, part.having) for part in rows.parts)
        found.append(Condition(referrer_of(context, entity, rows.entity, each.via), parts, nested))
    return tuple(found)


def referrer_of(context: Context, entity: Entity[Any], rows: Entity[Any], via: str) -> Referrer:
    """Return the incoming reference from an entity, by the field `via` if it has several.

    Raises:
        ValidationError: there is no such reference, or there are several and none is named.
    """
    known = [each for each in context.package.referrers[entity.name] if each.entity is rows]
    found = [each for each in known if via in ("", each.reference.field)]
    if len(found) == 1:
        return found[0]
    fields = ", ".join(sorted(each.reference.field for each in known))
    if not known:
        rule = f"{rows.name} does not refer to {entity.name}"
    elif found:
        rule = f"{rows.name} refers to {entity.name} by several fields; name one with via: {fields}"
    else:
        rule = f"{rows.name} does not refer to {entity.name} by {via!r}; the fields are {fields}"
    raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, field="having", rule=rule)


def keep_having(
    context: Context, entity: Entity[R], records: list[R], conditions: Sequence[Condition]
) -> Flow[list[R]]:
    """Return those of `records` for which every condition holds, in the same order."""
    for condition in conditions:
        if not records:
            return records
        if context.unit is not None:
            records = yield from _by_pages(context, entity, records, condition)
        else:
            records = yield from _by_intersection(context, entity, records, condition)
    return records


def narrowing_lists(context: Context, condition: Condition) -> tuple[Stream, ...]:
    """Return lists that contain every referring row for which the condition holds, other than those of its reference.

    The condition is compared on documents as well, so that a command which cannot name all of them leaves some out.
    """
    plain = condition.plain
    if plain is None:
        return ()
    child, via = condition.referrer.entity, condition.referrer.reference.via
    named = [plain.view] if plain.view is not None else []
    usable = [
        view
        for view in (*named, *usable_views(child, "", plain))
        if view.selecting and not view.by_text and view.name != via and plain.equal.keys() >= set(view.fields)
        if f"{child.name}.{view.name}" not in context.unbuilt
    ]
    return lists_of(widest(usable), plain)[: most_lists(context)]


def _matching(context: Context, condition: Condition, rows: list[Any]) -> Flow[list[Any]]:
    """Return those referring rows for which one part of the condition holds."""
    child = condition.referrer.entity
    kept: dict[int, Any] = {}
    for conditions, nested in zip(condition.parts, condition.nested, strict=True):
        found = [row for row in rows if id(row) not in kept and matches(child, conditions, row)]
        found = yield from keep_having(context, child, found, nested)
        kept |= {id(row): row for row in found}
    return list(kept.values())


def _by_pages(context: Context, entity: Entity[R], records: list[R], condition: Condition) -> Flow[list[R]]:
    """Inside a transaction: read the rows that refer to each row, including the transaction's own writes."""
    child, via = condition.referrer.entity, condition.referrer.reference.via
    kept = []
    for record in records:
        stream = Stream(child.views[via], (entity.key_of(record),))
        rows = yield from all_pages(context, child, stream, newest=True)
        if (yield from _matching(context, condition, rows)):
            kept.append(record)
    return kept


def _by_intersection(
    context: Context, entity: Entity[R], records: list[R], condition: Condition
) -> Flow[list[R]]:
    referrer = condition.referrer
    child, via = referrer.entity, referrer.reference.via
    if context.unbuilt:
        yield from require_built(context, child, via)
    partition = context.partition(child)
    narrowing = [list_key(context, child, each) for each in narrowing_lists(context, condition)]
    kept: list[R] = []
    for start in range(0, len(records), _PIPELINE):
        part = records[start : start + _PIPELINE]
        families = [partition.view(child.name, via, (entity.key_of(record),)) for record in part]
        commands: tuple[Command, ...] = tuple(
            ("ZINTER", 1 + len(narrowing), family, *narrowing) for family in families
        )
        lists = yield from ask(context, commands)
        keys = list(dict.fromkeys(member.decode() for members in lists for member in members))
        if not keys:
            continue
        rows = yield from get_many(context, child, keys, readable=True)
        found = yield from _matching(context, condition, [row for row in rows if row is not None])
        parents = {referrer.reference.key_in(row) for row in found}
        kept += [record for record in part if entity.key_of(record) in parents]
    return kept
