"""The order of a view: a moment or a field, and the direction in which it is read."""

from __future__ import annotations

from dataclasses import dataclass

from .model import Expression, Field, Managed, OrderBy
from .node import Node
from .problems import quote, suggestion
from .resolve_scope import EntityScope

_TEXTS = {"string", "id"}
_ORDERABLE = {"int", "float", "decimal", "datetime", "date", "time", "duration"} | _TEXTS
_DIRECTIONS = {"asc": True, "desc": False}
_EXACT_DIGITS = 15
"""Digits of a decimal that a score of the server, a double, holds exactly."""
_LONGEST_TEXT = 4096
"""Characters of a string by which the runtime orders rows."""


@dataclass(frozen=True, slots=True)
class Order:
    """The order of a view, with the attributes of `View`."""

    by: OrderBy
    field: str | None
    by_text: bool
    ascending: bool
    optional: bool = False


def resolve_order(scope: EntityScope, node: Node | None, what: str) -> Order | None:
    """The order at `node`, such as `created` or `price asc`; None when it has a mistake."""
    if node is None:
        return None
    name, _, direction = node.text.partition(" ")
    direction = direction.strip()
    if direction and direction not in _DIRECTIONS:
        scope.refuse(node, f"{what}: behind {name} stands asc or desc, not {quote(direction)}")
        return None
    if name in ("created", "revision"):
        return Order(OrderBy(name), None, False, _DIRECTIONS.get(direction, False))
    field = _ordering(scope, node, what, name)
    if field is None:
        return None
    by_text = field.type.name in _TEXTS
    ascending = _DIRECTIONS.get(direction, by_text)
    return Order(OrderBy.FIELD, field.name, by_text, ascending, field.optional)


def rows_in(
    scope: EntityScope, order: Order, where: Expression | None, node: Node, what: str
) -> Expression | None:
    """The condition of a view with the condition of its order: a row whose ordering field is null has no place in it."""
    if not order.optional or (where is None and node.has("where")):
        return where
    text = f"{order.field} is not null"
    if where is not None:
        text = f"({where.source}) and {text}"
    return scope.compiled(text, node, what)


def _ordering(scope: EntityScope, node: Node, what: str, name: str) -> Field | None:
    """The field that orders a view; None when there is none, or rows cannot be ordered by it."""
    if name not in scope.declared:
        near = suggestion(name, ["created", "revision", *scope.declared])
        wanted = "order must be created, revision or a field"
        scope.refuse(node, f"{what}: {wanted}, not {quote(name)}{near}")
        return None
    field = scope.fields.get(name)
    if field is None:
        return None
    problem = _problem(field)
    if problem:
        scope.refuse(node, f"{what}: {problem}")
    return None if problem else field


def _problem(field: Field) -> str:
    """Why rows cannot be ordered by a field; empty if they can."""
    name = field.name
    if field.managed is not None:
        word = "created" if field.managed is Managed.CREATED else "revision"
        return f"to order by {name}, write {word}"
    if field.type.name not in _ORDERABLE or field.secret:
        wanted = "a string, number, datetime, date, time or duration that is not secret"
        return f"order needs {wanted}, which {name} is not"
    if field.type.name == "decimal" and (field.digits is None or field.digits > _EXACT_DIGITS):
        return (
            f"the server orders by doubles, which are exact for decimals of at most {_EXACT_DIGITS} digits; "
            f"give {name} digits of at most {_EXACT_DIGITS}"
        )
    if field.type.name in _TEXTS and (field.max_length or 0) > _LONGEST_TEXT:
        return (
            f"entries hold the whole string by which they are ordered, of at most {_LONGEST_TEXT} characters; "
            f"give {name} a max_length of at most {_LONGEST_TEXT}"
        )
    return ""
