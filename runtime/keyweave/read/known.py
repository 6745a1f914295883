"""Lists that are known to have the rows of a query, so that nothing has to be planned.

The handle of a view names its list. Of filters the planner finds out which lists to read. Its choice depends on values of fields
only that a condition of an index compares. So the process remembers what it chose, and does not plan again for filters, and
stretches of the order, that differ in other values.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from keyweave.effects import Flow
from keyweave.errors import ValidationError
from keyweave.exchange.bound import most_streams
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity, View
from keyweave.model.keytext import check_value, key_text
from keyweave.model.moment import to_micros
from keyweave.model.numbering import IntKey
from keyweave.query import Predicate, Range
from keyweave.read.conditions import order_fields, stretch_of
from keyweave.read.ends import EXACT
from keyweave.read.execute import Answer
from keyweave.read.page import read_streams
from keyweave.read.query import MOMENTS, Query
from keyweave.read.stream import Stream, ends_of
from keyweave.store.access_path import Choice, Choices
from keyweave.store.context import Context

Lists: TypeAlias = tuple[tuple[Stream, ...], tuple[Stream, ...]]
"""Lists whose common rows are those of a query: those in its order, of which one is read, and the others."""

_WHOLE: tuple[()] = ()
_ROWS: Final = "rows"
_COVER: Final = "cover"


def named_list(query: Query) -> Stream | None:
    """Return the list that the handle of a view asks for and nothing else; None for any other query.

    Raises:
        ValidationError: a value does not fit its field.
    """
    part, entity = query.parts[0], query.entity
    if len(query.parts) > 1 or not part.view or part.having or part.filters:
        return None
    view = entity.views[part.view]
    if view.order != query.order:
        return None
    ends = _ends(entity, view.order, part.stretches) if part.stretches else _WHOLE
    return Stream(view, _texts(entity, view, part.values), ends) if ends is not None else None


def known_lists(context: Context, query: Query, named: Stream | None) -> Lists | None:
    """Return the list that the query names, or those that the planner chose for filters of this kind; None if it has to plan.

    Args:
        named: what `named_list` returns for the query.
    """
    if context.doubling is not None:  # rows may be misplaced, so more is to be read
        return None
    if named is not None:
        return (named,), ()
    choice = _choice(context, query, _ROWS)
    return _lists(query, choice) if choice is not None and _is_readable(context, choice) else None


def remember_choice(context: Context, answer: Answer) -> None:
    """Remember the lists that the planner chose, if it compares nothing and has asked for no sizes."""
    query, plan = answer.query, answer.plans[0]
    if len(answer.plans) > 1 or not plan.exact or plan.fixed or plan.sizes:
        return
    readable, narrowing = answer.streams, plan.narrowing
    if plan.access is not None:
        readable = plan.readable(query.entity, query.order)
    elif len(readable) != 1:
        return
    ordered = order_fields(query.entity, query.order)
    filters = query.parts[0].filters
    ranges = tuple([name for name, value in filters.items() if type(value) is Range and name in ordered])
    views = tuple([each.view for each in readable]), tuple([each.view for each in narrowing])
    _remember(context, query, _ROWS, Choice(*views, ranges), (readable, narrowing))


def known_cover(context: Context, query: Query) -> tuple[Stream, ...] | None:
    """Return whole lists whose common rows are those of a query, in whatever order, as they cover filters of this kind; None if it has to plan."""
    choice = _choice(context, query, _COVER)
    if choice is None or query.parts[0].stretches or len(choice.readable) > most_streams(context):
        return None
    lists = _lists(query, choice)
    return lists[0] if lists is not None else None


def remember_cover(context: Context, query: Query, lists: tuple[Stream, ...]) -> None:
    """Remember lists that cover a query, if they are whole and depend on the kinds of its filters alone."""
    _remember(context, query, _COVER, Choice(tuple([each.view for each in lists]), (), ()), (lists, ()))


def read_known(
    context: Context, query: Query, lists: Lists, limit: int, start: Position | None
) -> Flow[tuple[list[Any], Position | None]]:
    """Return up to `limit` rows that known lists have in common, after a position, and the next position; None at the end.

    Raises:
        ViewNotBuiltError: a view is not built.
    """
    readable, narrowing = lists
    entity, newest = query.entity, query.descending
    if len(readable) == 1 and not narrowing:
        return (yield from read_streams(context, entity, readable, limit, start, newest))
    select = context.strategy.select
    assert select is not None  # or the lists would not have been chosen
    records: list[Any] = []
    while True:
        _, found, start = yield from select(
            context, entity, readable, narrowing, limit - len(records), start, newest
        )
        records += found
        if start is None or len(records) == limit:
            return records, start


def _choice(context: Context, query: Query, purpose: str) -> Choice | None:
    """Return what the planner chose for filters of this kind; None if it has to plan."""
    choices = context.state.choices.get(query.entity.name)
    if choices is None or context.unbuilt or context.unit is not None:
        return None
    try:
        return choices.known.get(_kind(query, choices, purpose))
    except TypeError:  # a value that cannot be compared; the planner says which one
        return None


def _remember(context: Context, query: Query, purpose: str, choice: Choice, lists: Lists) -> None:
    """Remember a choice if it holds for all filters of this kind: if it makes the lists that were planned, and nothing else was decided."""
    if context.unbuilt or context.unit is not None:
        return
    choices = _choices(context, query.entity)
    kind = _kind(query, choices, purpose)
    views = (*choice.readable, *choice.narrowing)
    if kind is None or not views or any(view.each for view in views):
        return
    ordered = order_fields(query.entity, query.order)
    for name, value in query.parts[0].filters.items():
        if name in choice.ranges:
            continue
        # An equal value of the order's own field is an end of a list, which a choice does not make again.
        if name in ordered:
            return
        if name not in choices.conditional and (
            type(value) is Range or not any(name in view.fields for view in views)
        ):
            return
    if _lists(query, choice) == lists:
        choices.remember(kind, choice)


def _choices(context: Context, entity: Entity[Any]) -> Choices:
    """Return what was chosen for filters of an entity."""
    known = context.state.choices.get(entity.name)
    return known if known is not None else context.state.choices.setdefault(entity.name, Choices(entity))


def _lists(query: Query, choice: Choice) -> Lists | None:
    """Return the lists of a choice for the values of a query; None if a plan has to decide about its ends, or to refuse a value."""
    try:
        return _made(query, choice)
    except ValidationError:
        return None


def _made(query: Query, choice: Choice) -> Lists | None:
    entity, part = query.entity, query.parts[0]
    filters = part.filters
    ends: Any = _WHOLE
    if part.stretches or choice.ranges:
        stretches = [*part.stretches, *[(filters[name].low, filters[name].high) for name in choice.ranges]]
        ends = _ends(entity, query.order, stretches)
        if not ends:
            return None
    return _streams(entity, choice.readable, filters, ends), _streams(entity, choice.narrowing, filters, ())


def _is_readable(context: Context, choice: Choice) -> bool:
    """Return whether this context can read the chosen lists: one, or as many as its server may intersect."""
    lists = len(choice.readable) + len(choice.narrowing)
    return lists == 1 or (context.strategy.select is not None and lists <= most_streams(context))


def _kind(query: Query, choices: Choices, purpose: str) -> Hashable | None:
    """Return what the planner's choice depends on; None for a query that it has to plan each time."""
    part = query.parts[0]
    if len(query.parts) > 1 or part.view or part.having or not part.filters:
        return None
    marks: list[Any] = [purpose, query.order, query.scan]
    for low, high in part.stretches:
        marks += (type(low), type(high))
        if query.order in choices.conditional:
            marks += (low, high)
    for name, value in part.filters.items():
        kind = type(value)
        if kind is Range:
            marks += (name, kind, type(value.low), type(value.high))
        elif value is None or isinstance(value, Predicate):
            return None
        else:
            marks += (name, kind)
        if name in choices.conditional:
            marks.append(value)
    return tuple(marks)


def _streams(
    entity: Entity[Any], views: Sequence[View], filters: Mapping[str, Any], ends: Any
) -> tuple[Stream, ...]:
    return tuple(
        [Stream(view, _texts(entity, view, [filters[name] for name in view.fields]), ends) for view in views]
    )


def _texts(entity: Entity[Any], view: View, values: Sequence[Any]) -> tuple[str, ...]:
    """Return the key texts of a view's fields.

    Raises:
        ValidationError: a value does not fit its field.
    """
    texts = []
    for name, value in zip(view.selecting, values, strict=True):
        kind = entity.filters[name] if name != view.each else entity.filters[name][5:-1]
        text = str.__str__(value) if kind == "str" and isinstance(value, str) else ""
        if not text or not text.isascii():  # else check_value and key_text would return it as well
            checked_value = check_value(value, kind, entity=entity.name, field=name)
            text = key_text(IntKey(checked_value) if name in entity.referring else checked_value)
        texts.append(text.strip() if name in entity.trimmed else text)
    return tuple(texts)


def _ends(entity: Entity[Any], order: str, stretches: Sequence[tuple[Any, Any]]) -> Any:
    """Return what `ends_of` returns for stretches of an order; None if a plan has to decide."""
    moments = _moment_ends(*stretches[0]) if len(stretches) == 1 and order in MOMENTS else None
    if moments is not None:
        return moments
    ends = stretch_of(entity, order, stretches)
    return ends_of(*ends) if ends is not None else None


def _moment_ends(low: Any, high: Any) -> tuple[str, str] | None:
    """Return what `ends_of` returns for a stretch of moments; None if that takes a closer look at its ends."""
    ends = []
    for end in (low, high):
        if end is None:
            ends.append(0)
        elif type(end) is datetime and end.tzinfo is not None:
            ends.append(to_micros(end))
        else:
            return None
    first, last = ends
    if not (-EXACT < first < EXACT and -EXACT < last < EXACT):
        return None
    if low is None:
        return ("-inf", str(last)) if high is not None else None
    if high is None:
        return (str(first), "+inf")
    return (str(first), str(last)) if first <= last else None
