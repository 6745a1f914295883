"""Words to queries: a view with its values, or conditions on fields, as a person types them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from keyweave.errors import ValidationError
from keyweave.look.words import field_value, nearest, require_field
from keyweave.model.entity import Entity, View
from keyweave.query import at_least, at_most, contains, is_not, one_of, starts_with
from keyweave.read.query import MOMENTS, Part, Query, view_query

_CONDITION: Final = re.compile(
    r"\s*(\w+)\s*(is not null|is null|\bin\b|>=|<=|!=|\^=|==|=)\s*(.*?)\s*", re.DOTALL
)

CONDITIONS: Final = (
    "field=value, !=, >=, <=, ^= (begins with), 'field in a,b', 'field is null', 'field is not null'"
)
"""The forms of a condition, for help."""


def question(
    entity: Entity[Any],
    view: str | None = None,
    values: Sequence[str] = (),
    conditions: Sequence[str] = (),
    *,
    order: str | None = None,
    reverse: bool = False,
    scan: bool = False,
) -> Query:
    """Return the query for the rows that a person asks for.

    Args:
        entity: of the rows.
        view: name of a view; None to let the planner choose, or without conditions the view of all rows.
        values: one for each field of the view.
        conditions: each in a form of `CONDITIONS`; all must hold.
        order: `created`, `revision` or a field; None for the view's.
        reverse: against the order's own direction.
        scan: reading all rows is allowed.

    Raises:
        ValidationError: there is no such view or field, a word does not fit, or both a view and conditions are given.
    """
    if view is not None and conditions:
        rule = "a view or conditions, not both; conditions find the views by themselves"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, rule=rule)
    if order is not None and order not in MOMENTS:
        require_field(entity, order)
    if conditions:
        query = Query(entity, (Part("", (), _filters(entity, conditions)),), "created")
    elif view is None:
        query = _everything(entity, order)
    else:
        found = _view_named(entity, view)
        query = view_query(entity, found.name, _view_values(entity, found, values))
    if order is not None:
        query = query.ordered(order)
    if reverse:
        query = query.reversed()
    return query.scanning() if scan else query


def _everything(entity: Entity[Any], order: str | None) -> Query:
    """Return the query for all rows: of a view that has them, in the wanted order if there is a choice."""
    whole = [view for view in entity.views.values() if view.whole and not view.selecting]
    whole.sort(key=lambda view: (view.order != order, view.order != "created"))
    if whole:
        return view_query(entity, whole[0].name, ())
    return Query(entity, (Part(),), "created")


def _view_named(entity: Entity[Any], name: str) -> View:
    found = entity.views.get(name)
    if found is None:
        rule = f"no view {name!r}{nearest(name, entity.views)}"
        raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, rule="view")
    return found


def _view_values(entity: Entity[Any], view: View, words: Sequence[str]) -> tuple[Any, ...]:
    names = view.selecting
    if len(words) != len(names):
        takes = f"takes {' '.join(name.upper() for name in names)}" if names else "takes no values"
        known = f"; {names[-1]} is one of {', '.join(view.groups)}" if names and view.groups else ""
        rule = f"the view {takes}; got {len(words)}{known}"
        raise ValidationError(f"{entity.name}.{view.name}: {rule}", entity=entity.name, rule="view")
    return tuple([field_value(entity, name, word) for name, word in zip(names, words, strict=True)])


def _filters(entity: Entity[Any], conditions: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in conditions:
        match = _CONDITION.fullmatch(text)
        if match is None:
            rule = f"cannot read the condition {text!r}; write {CONDITIONS}"
            raise ValidationError(f"{entity.name}: {rule}", entity=entity.name, rule="condition")
        name, operator, word = match.groups()
        require_field(entity, name)
        wanted = _predicate(entity, name, operator, word)
        found[name] = _with(found[name], wanted, entity, name) if name in found else wanted
    return found


def _predicate(entity: Entity[Any], name: str, operator: str, word: str) -> Any:
    listed = entity.filters[name].startswith("list[")
    match operator:
        case "is null":
            return None
        case "is not null":
            return is_not(None)
        case "^=":
            return starts_with(word)
        case "in":
            return one_of(*[field_value(entity, name, each.strip()) for each in word.split(",")])
    value = field_value(entity, name, word)
    match operator:
        case "!=":
            return is_not(value)
        case ">=":
            return at_least(value)
        case "<=":
            return at_most(value)
    return contains(value) if listed else value


def _with(first: Any, second: Any, entity: Entity[Any], name: str) -> Any:
    """Return two ends of one field as a range.

    Raises:
        ValidationError: they are no two ends.
    """
    ends = [(getattr(each, "low", None), getattr(each, "high", None)) for each in (first, second)]
    (low, high), (other_low, other_high) = ends
    if (
        type(first) is not type(second)
        or (low is None) == (other_low is None)
        or (high is None) == (other_high is None)
    ):
        rule = "only >= and <= can be combined on one field"
        raise ValidationError(f"{entity.name}.{name}: {rule}", entity=entity.name, field=name, rule=rule)
    return type(first)(low if low is not None else other_low, high if high is not None else other_high)
