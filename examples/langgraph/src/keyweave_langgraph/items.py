"""Items of the long-term store as rows and back, and what its filters and conditions mean. Nothing here reads the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.store.base import (
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)

from agent_state import Item as Row

ItemKey = tuple[str, str]
"""The key of an item's row: the namespace as text, and the item's key."""

_LEVELS = 100
_LARGEST = 2**63 - 1


def namespace_text(labels: Sequence[str]) -> str:
    """Return a namespace as it is stored: each label, followed by a dot.

    Raises:
        InvalidNamespaceError: a label is empty, no string, or contains a dot.
    """
    for label in labels:
        given: object = label
        if not isinstance(given, str) or not given or "." in given:
            raise InvalidNamespaceError(f"invalid label {label!r} of the namespace {tuple(labels)}")
    return "".join(f"{label}." for label in labels)


def labels_of(text: str) -> tuple[str, ...]:
    """Return the labels of a stored namespace."""
    return tuple(text.split(".")[:-1])


def item_key(labels: Sequence[str], key: str) -> ItemKey:
    """Return the key of the row of an item."""
    return namespace_text(labels), key


def row_key(row: Row) -> ItemKey:
    """Return the key of a row."""
    return row.namespace, row.key


def item_row(serde: SerializerProtocol, op: PutOp, now: datetime) -> Row:
    """Return the row that an item is put as. A value that is no plain JSON is encoded by the serializer."""
    namespace, value = namespace_text(op.namespace), dict(op.value or {})
    labels = [f"{label}." for label in op.namespace]
    row = Row(
        namespace=namespace,
        key=op.key,
        prefixes=["".join(labels[:depth]) for depth in range(len(labels) + 1)],
        written_at=now,
    )
    if _is_json(value, _LEVELS):
        row.value = value
    else:
        row.kind, row.packed = serde.dumps_typed(value)
    if op.ttl is not None:
        row.ttl = timedelta(minutes=op.ttl)
    renew(row, now)
    return row


def renew(row: Row, now: datetime) -> None:
    """Let the row's time to live begin anew, if it has one."""
    row.ends_at = None if row.ttl is None else now + row.ttl


def _is_json(value: object, levels: int) -> bool:
    """Whether JSON gives back exactly this value."""
    if value is None or type(value) in (str, bool):
        return True
    if type(value) is int:
        return -_LARGEST <= value <= _LARGEST
    if type(value) is float:
        return math.isfinite(value)
    if levels == 0:
        return False
    if type(value) is list:
        return all(_is_json(element, levels - 1) for element in value)
    if type(value) is dict:
        return all(type(name) is str and _is_json(element, levels - 1) for name, element in value.items())
    return False


def value_of(serde: SerializerProtocol, row: Row) -> dict[str, Any]:
    """Return the value that was put."""
    value: Any = row.value if row.packed is None else serde.loads_typed((row.kind or "", row.packed))
    return dict(value)


def item_of(serde: SerializerProtocol, row: Row) -> Item:
    """Return a row as LangGraph reads it."""
    return Item(
        value=value_of(serde, row),
        key=row.key,
        namespace=labels_of(row.namespace),
        created_at=row.created_at,
        updated_at=row.written_at,
    )


def found_item(serde: SerializerProtocol, row: Row) -> SearchItem:
    """Return a row as a search returns it. There is no score, because nothing ranks it."""
    item = item_of(serde, row)
    return SearchItem(item.namespace, item.key, item.value, item.created_at, item.updated_at)


def is_wanted(serde: SerializerProtocol, row: Row, op: SearchOp) -> bool:
    """Whether a row is what a search asks for, by its filter.

    Raises:
        ValueError: the filter has an unknown operator.
    """
    if not op.filter:
        return True
    value = value_of(serde, row)
    return all(_matches(value.get(name), wanted) for name, wanted in op.filter.items())


def _matches(value: Any, wanted: Any) -> bool:
    if not isinstance(wanted, Mapping):
        return bool(value == wanted)
    if any(str(name).startswith("$") for name in wanted):
        return all(_compares(value, operator, operand) for operator, operand in wanted.items())
    return isinstance(value, Mapping) and all(
        _matches(value.get(name), part) for name, part in wanted.items()
    )


_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "$gt": lambda value, operand: bool(value > operand),
    "$gte": lambda value, operand: bool(value >= operand),
    "$lt": lambda value, operand: bool(value < operand),
    "$lte": lambda value, operand: bool(value <= operand),
}


def _compares(value: Any, operator: str, operand: Any) -> bool:
    if operator == "$eq":
        return bool(value == operand)
    if operator == "$ne":
        return bool(value != operand)
    if operator not in _ORDERS:
        raise ValueError(f"unknown operator {operator!r}: must be one of $eq, $ne, {', '.join(_ORDERS)}")
    # A value of another kind, or none, is neither above nor below.
    numbers = all(isinstance(side, int | float) and not isinstance(side, bool) for side in (value, operand))
    texts = isinstance(value, str) and isinstance(operand, str)
    return (numbers or texts) and _ORDERS[operator](value, operand)


def fixed_prefix(op: ListNamespacesOp) -> str:
    """Return the longest stored prefix that every namespace that `op` asks for has."""
    longest = ""
    for condition in op.match_conditions or ():
        if condition.match_type == "prefix":
            labels: list[str] = []
            for label in condition.path:
                if label == "*":
                    break
                labels.append(label)
            longest = max(longest, namespace_text(labels), key=len)
    return longest


def namespaces(texts: Iterable[str], op: ListNamespacesOp) -> list[tuple[str, ...]]:
    """Return the part of the namespaces that `op` asks for, each once, in their order.

    Raises:
        ValueError: a condition has an unknown kind.
    """
    paths = (labels_of(text) for text in set(texts))
    found = {
        path for path in paths if all(_meets(path, condition) for condition in op.match_conditions or ())
    }
    listed = sorted({path[: op.max_depth] for path in found})
    return listed[op.offset : op.offset + op.limit]


def _meets(path: tuple[str, ...], condition: MatchCondition) -> bool:
    wanted = condition.path
    if condition.match_type not in ("prefix", "suffix"):
        raise ValueError(f"unknown kind of condition {condition.match_type!r}: must be prefix or suffix")
    if len(path) < len(wanted):
        return False
    part = path[: len(wanted)] if condition.match_type == "prefix" else path[len(path) - len(wanted) :]
    return all(label in ("*", given) for given, label in zip(part, wanted, strict=True))
