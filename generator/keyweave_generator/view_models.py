"""What templates are given: one frozen dataclass per kind of thing, every attribute ready to be printed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldView:
    """One line of a class body."""

    name: str
    annotation: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class ClassView:
    """A generated Struct."""

    name: str
    parent: str
    doc: str
    fields: tuple[FieldView, ...]
    secrets: str
    normalizer: str
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnumView:
    """A generated StrEnum: members are (name, wire value), sets are (property, members)."""

    name: str
    doc: str
    members: tuple[tuple[str, str], ...]
    sets: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, slots=True)
class ErrorView:
    """A generated error class."""

    name: str
    parent: str
    doc: str


@dataclass(frozen=True, slots=True)
class EntryView:
    """One statement of `index_entries`: `condition` is empty when the entry is always there."""

    condition: str
    expression: str


@dataclass(frozen=True, slots=True)
class Access:
    """The methods of one view: what they are called, take and pass on."""

    name: str
    parameters: str
    values: str
    newest: str
    order: str
    doc: str
    group_name: str
    group_parameters: str
    group_values: str
    group_type: str
    group_convert: str
    group_texts: str
    fields: str
    gathers: bool
    generation: str


@dataclass(frozen=True, slots=True)
class UniqueView:
    """The methods of one unique constraint."""

    name: str
    parameters: str
    value: str
    error: str
    fields: str
    doc: str
    normalize: str
    generation: str


@dataclass(frozen=True, slots=True)
class MergeView:
    """The functions and the method of one merge."""

    field: str
    record: str
    constant: str
    key: str
    combines: tuple[str, ...]
    tidies: tuple[str, ...]
    normalizer: str


@dataclass(frozen=True, slots=True)
class ReferenceView:
    """A reference, as descriptor arguments."""

    field: str
    target: str
    cascade: str
    via: str


@dataclass(frozen=True, slots=True)
class FilterView:
    """The TypedDict of the fields by which rows of an entity can be searched."""

    name: str
    doc: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HavingView:
    """The keyword of `search` for one incoming reference, and how methods are called that read a row with what refers to it."""

    keyword: str
    family: str
    filter: str
    entity: str
    field: str


@dataclass(frozen=True, slots=True)
class EntityView:
    """Everything that templates say about an entity."""

    name: str
    module: str
    attribute: str
    repository: str
    doc: str
    group: str
    key: str
    partition_by: str
    constant: str
    known: str
    json: str
    nested: str
    created: str
    updated: str
    normalized: str
    renamed: str
    enums: str
    filters: str
    always: tuple[EntryView, ...]
    sometimes: tuple[EntryView, ...]
    checks: tuple[tuple[str, str, str, str], ...]
    normalizer: str
    steps: tuple[str, ...]
    views: tuple[Access, ...]
    groups: tuple[Access, ...]
    uniques: tuple[UniqueView, ...]
    references: tuple[ReferenceView, ...]
    merges: tuple[MergeView, ...]
    tree_via: str
    retention_rule: str
    retention_after: str
    retention_recommended: str
    not_found: str
    exists: str
    view_names: str
    touches: tuple[str, ...]
    havings: tuple[HavingView, ...]
    filter_parameters: str
    filter_arguments: str
    orders: str
    default_order: str
    model_names: tuple[str, ...]
    error_names: tuple[str, ...]
    merging_names: str
