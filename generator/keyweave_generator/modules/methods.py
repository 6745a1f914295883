"""The methods of a repository that come from the schema: of views, unique constraints, references and merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyweave_generator.literal import literal, tuple_of
from keyweave_generator.model import Entity, Field, Merge, Schema, TypeKind, Unique, View, referrer_words
from keyweave_generator.names import argument_name

from .annotations import annotation
from .entries import argument_text, claimed_by_arguments, looked_up
from .filters import filter_fields
from .identifiers import filter_name, merge_name, module_name
from .imports import Imports
from .indexes import asked_fields, group_texts, order_of
from .text import sentence


@dataclass(frozen=True, slots=True)
class GroupMethod:
    """The method that counts the rows of a view for each value of its last field.

    Attributes:
        field: name of the last field.
        type: of its values.
        convert: the value of the key text `group_`, as Python.
        parameters, values: those of the other fields, as in `ViewMethods`.
    """

    field: str
    type: str
    convert: str
    parameters: str
    values: str


@dataclass(frozen=True, slots=True)
class ViewMethods:
    """The methods of one view.

    Attributes:
        name: of the view.
        doc: the reason for the view.
        first: the row that comes first, such as `newest`.
        parameters: one for each field, each behind a comma.
        values: the key texts of the parameters, as a tuple.
        group: the method that counts by the last field; None if its values are not known.
        gathers: if its only field is a reference, so that several lists can be read at once, the key text of one `key`.
        gathered: the type of such a key.
    """

    name: str
    doc: str
    first: str
    parameters: str
    values: str
    group: GroupMethod | None
    gathers: str
    gathered: str


@dataclass(frozen=True, slots=True)
class UniqueMethods:
    """The methods of one unique constraint. `value` is the claimed value as Python."""

    name: str
    doc: str
    parameters: str
    value: str


@dataclass(frozen=True, slots=True)
class ReferrerMethods:
    """One incoming reference.

    Attributes:
        keyword: the argument of a search that selects rows to which such a row refers.
        suffix: the end of the names of the methods that read rows together with the referring rows.
        filter: the type of its value.
        filters: the argument as it is passed on.
        entity: the class of the referring rows.
        field: the referring field.
    """

    keyword: str
    suffix: str
    filter: str
    filters: str
    entity: str
    field: str


@dataclass(frozen=True, slots=True)
class MergeMethod:
    """The method that merges elements into a list."""

    field: str
    element: str
    constant: str


def view_methods(view: View, entity: Entity, schema: Schema, imports: Imports) -> ViewMethods:
    """The methods of a view."""
    asked = asked_fields(view, entity)
    parameters, values = _asked(asked, imports)
    fields = {field.name: field for field in entity.fields}
    gathers = len(asked) == len(view.fields) == 1 and view.fields[0] in {
        each.field for each in entity.references
    }
    return ViewMethods(
        view.name,
        sentence(view.why),
        {"created": "newest", "revision": "latest change"}.get(order_of(view), f"highest `{order_of(view)}`"),
        parameters,
        values,
        _group_method(view, entity, schema, imports),
        looked_up(fields[view.fields[0]], "key", imports) if gathers else "",
        annotation(fields[view.fields[0]].type, imports) if gathers else "",
    )


def unique_methods(unique: Unique, entity: Entity, imports: Imports) -> UniqueMethods:
    """The methods of a unique constraint."""
    doc = unique.doc or f"One {entity.name} for each {' and '.join(unique.fields)}."
    parameters, _ = _asked(asked_fields(unique, entity), imports)
    return UniqueMethods(
        unique.name, sentence(doc), parameters, claimed_by_arguments(unique, entity, imports)
    )


def referrer_methods(entity: Entity, schema: Schema, imports: Imports) -> tuple[ReferrerMethods, ...]:
    """Every reference to an entity. If one entity has several, their names contain the field."""
    incoming = [
        (other, reference)
        for other in schema.entities
        for reference in other.references
        if reference.entity == entity.name
    ]
    found = []
    for other, reference in incoming:
        keyword, suffix = referrer_words(other, reference)
        trimmed = [field.name for field in filter_fields(other) if field.trim]
        filters = keyword
        if trimmed:
            filters = f"{imports.aliased('with_trimmed')}({keyword}, {', '.join(map(literal, trimmed))})"
        found.append(
            ReferrerMethods(
                keyword,
                suffix,
                f"{imports.use('..', 'filters')}.{filter_name(other)}",
                filters,
                imports.schema_class(other.name),
                reference.field,
            )
        )
    return tuple(found)


def merge_method(merge: Merge, entity: Entity, imports: Imports) -> MergeMethod:
    """The method of a merge."""
    constant = imports.use(f"..entities.{module_name(entity)}", merge_name(entity, merge.field))
    return MergeMethod(merge.field, imports.schema_class(merge.record), constant)


def _group_method(view: View, entity: Entity, schema: Schema, imports: Imports) -> GroupMethod | None:
    if not group_texts(view, entity, schema):
        return None
    *others, last = asked_fields(view, entity)
    type_ = last.type
    parameters, values = _asked(others, imports)
    name = annotation(type_, imports)
    convert = f"{name}(group_)" if type_.kind is TypeKind.ENUM else 'group_ == "true"'
    return GroupMethod(last.name, name, convert, parameters, values)


def _asked(fields: Sequence[Field], imports: Imports) -> tuple[str, str]:
    """Parameters for fields, each behind a comma, and the tuple of their key texts."""
    parameters = "".join(
        f", {argument_name(field.name)}: {annotation(field.type, imports)}" for field in fields
    )
    return parameters, tuple_of(argument_text(field, imports) for field in fields)
