"""The methods of a repository that come from the schema: of views, unique constraints, references and merges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keyweave_generator.literal import tuple_of
from keyweave_generator.model import Entity, Field, Merge, Schema, Unique, View, referrer_words
from keyweave_generator.names import argument_name, view_method_name

from .annotations import annotation
from .entries import claimed_by_arguments
from .identifiers import merge_name, module_name
from .imports import Imports
from .indexes import asked_fields, group_texts
from .text import sentence


@dataclass(frozen=True, slots=True)
class Group:
    """What a view's method returns when it is called without its last value.

    Attributes:
        field: name of the last field.
        argument: the argument for it.
        type: of its values.
        parameters, values: those of the other fields, as in `ViewMethod`.
        optional: the parameters of all fields, of which the last may be left out.
    """

    field: str
    argument: str
    type: str
    parameters: str
    values: str
    optional: str


@dataclass(frozen=True, slots=True)
class ViewMethod:
    """The method of one view.

    Attributes:
        name: of the view.
        method: of the method.
        doc: the reason for the view.
        parameters: one for each field, each behind a comma.
        values: the parameters, as a tuple.
        group: what the method returns without the last value; None if the values of that field are not known.
    """

    name: str
    method: str
    doc: str
    parameters: str
    values: str
    group: Group | None


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
        suffix: the end of the names of the methods that read rows together with the referring rows.
        entity: the class of the referring rows.
        field: the referring field.
    """

    suffix: str
    entity: str
    field: str


@dataclass(frozen=True, slots=True)
class MergeMethod:
    """The method that merges elements into a list."""

    field: str
    element: str
    constant: str


def view_method(view: View, entity: Entity, schema: Schema, imports: Imports) -> ViewMethod:
    """The method of a view."""
    parameters, values = _asked(asked_fields(view, entity), imports)
    return ViewMethod(
        view.name,
        view_method_name(view.name, _methods_of(entity, schema)),
        sentence(view.why),
        parameters,
        values,
        _group(view, entity, schema, imports),
    )


def view_method_names(entity: Entity, schema: Schema) -> frozenset[str]:
    """The names of the methods of an entity's views."""
    others = _methods_of(entity, schema)
    return frozenset(view_method_name(view.name, others) for view in entity.views)


def _methods_of(entity: Entity, schema: Schema) -> frozenset[str]:
    """The names of the methods that the schema gives to a repository beside those of views."""
    names = {f"{verb}_by_{unique.name}" for unique in entity.uniques for verb in ("get", "find")}
    names |= {f"merge_{merge.field}" for merge in entity.merges}
    names |= {f"touch_{field.name}" for field in entity.fields}
    for suffix, _, _ in _incoming(entity, schema):
        names |= {suffix, f"get_{suffix}"}
    return frozenset(names)


def unique_methods(unique: Unique, entity: Entity, imports: Imports) -> UniqueMethods:
    """The methods of a unique constraint."""
    doc = unique.doc or f"One {entity.name} for each {' and '.join(unique.fields)}."
    parameters, _ = _asked(asked_fields(unique, entity), imports)
    return UniqueMethods(
        unique.name, sentence(doc), parameters, claimed_by_arguments(unique, entity, imports)
    )


def referrer_methods(entity: Entity, schema: Schema, imports: Imports) -> tuple[ReferrerMethods, ...]:
    """Every reference to an entity. If one entity has several, their names contain the field."""
    return tuple(
        ReferrerMethods(suffix, imports.schema_class(other), field)
        for suffix, other, field in _incoming(entity, schema)
    )


def _incoming(entity: Entity, schema: Schema) -> list[tuple[str, str, str]]:
    """For each reference to an entity the end of its methods' names, the referring entity and the field."""
    return [
        (referrer_words(other, reference), other.name, reference.field)
        for other in schema.entities
        for reference in other.references
        if reference.entity == entity.name
    ]


def merge_method(merge: Merge, entity: Entity, imports: Imports) -> MergeMethod:
    """The method of a merge."""
    constant = imports.use(f"..entities.{module_name(entity)}", merge_name(entity, merge.field))
    return MergeMethod(merge.field, imports.schema_class(merge.record), constant)


def _group(view: View, entity: Entity, schema: Schema, imports: Imports) -> Group | None:
    if not group_texts(view, entity, schema):
        return None
    *others, last = asked_fields(view, entity)
    parameters, values = _asked(others, imports)
    type_, argument = annotation(last.type, imports), argument_name(last.name)
    unset, unset_type = imports.use("msgspec", "UNSET"), imports.use("msgspec", "UnsetType")
    optional = f"{parameters}, {argument}: {type_} | {unset_type} = {unset}"
    return Group(last.name, argument, type_, parameters, values, optional)


def _asked(fields: Sequence[Field], imports: Imports) -> tuple[str, str]:
    """Parameters for fields, each behind a comma, and the tuple of them."""
    parameters = "".join(
        f", {argument_name(field.name)}: {annotation(field.type, imports)}" for field in fields
    )
    return parameters, tuple_of(argument_name(field.name) for field in fields)
