"""Updating fields of a row by its key: set them, or add to a number. Nothing that another writer changed meanwhile is lost."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, TypeVar

from keyweave.document.value import check_settable, check_value, field_types, refused_field
from keyweave.effects import Flow
from keyweave.errors import NotFoundError, ValidationError
from keyweave.model.entity import Entity
from keyweave.model.exact import EXACT
from keyweave.model.keytext import checked_text
from keyweave.model.record import Record
from keyweave.store.context import Context
from keyweave.write.save import change

R = TypeVar("R", bound=Record)


def update(context: Context, entity: Entity[R], key: str, fields: Mapping[str, Any]) -> Flow[R]:
    """Set fields of the row `key`, and return the record.

    Args:
        fields: the new values, by name.

    Raises:
        ValidationError: there is no such field, or a value breaks its type or limits; nothing was sent.
        NotFoundError: the entity's own error.
        CheckViolationError, UniqueViolationError, ReferenceViolationError: as for `write.save.save`.
        TransactionConflictError: every attempt lost to other writers.
    """
    checked_text(key)
    for name, value in fields.items():
        check_settable(entity, name)
        check_value(entity, name, value)

    def set_fields(record: R) -> None:
        for name, value in fields.items():
            setattr(record, name, value)

    known = fields.get(entity.partition_by) if context.router is not None else None
    if known is not None:
        # The row has this value, or the update will be refused: a row keeps its partition.
        try:
            return (yield from change(context, entity, key, set_fields, partition_value=known))
        except NotFoundError as error:
            if error.entity != entity.name or error.key != entity.shown(key):
                raise
    return (yield from change(context, entity, key, set_fields))


def increment(
    context: Context,
    entity: Entity[R],
    key: str,
    field: str,
    by: int | float | Decimal,
    partition_value: Any = None,
) -> Flow[R]:
    """Add to a number of the row `key`, and return the record; `partition_value` as for `write.save.change`.

    Raises:
        ValidationError: the field has no numbers, or `by` or the sum does not fit it, or the number is null.
        NotFoundError: the entity's own error.
        CheckViolationError, TransactionConflictError: as for `update`.
    """
    checked_text(key)
    if not isinstance(field, str):
        raise ValidationError(f"{entity.name}: the name of a field is a string", entity=entity.name)
    check_settable(entity, field)
    number = field_types(entity)[field].number
    if number is None:
        raise refused_field(entity, field, "not a field of int, float or decimal", "number")
    added = _addend(entity, field, number, by)

    def add(record: R) -> None:
        present = getattr(record, field)
        if present is None:
            raise refused_field(entity, field, "null, to which nothing can be added", "null")
        # Python's own arithmetic with decimals would round to 28 digits.
        setattr(record, field, EXACT.add(present, added) if number is Decimal else present + added)

    return (yield from change(context, entity, key, add, partition_value=partition_value))


def _addend(entity: Entity[Any], field: str, number: type, by: Any) -> Any:
    """Return `by` as a value that can be added to numbers of a class without losing digits."""
    fits = isinstance(by, int if number is int else (int, number)) and not isinstance(by, bool)
    if not fits:
        text = f"a {type(by).__name__} cannot be added to a {number.__name__}"
        raise refused_field(entity, field, text, "number")
    if not isfinite(by):
        raise refused_field(entity, field, "only a finite number can be added", "number")
    return by
