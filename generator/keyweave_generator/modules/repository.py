"""The module of an entity's repository, in one flavour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.literal import literal
from keyweave_generator.model import Entity, Field, Schema, TypeKind
from keyweave_generator.names import key_argument_name, partition_argument_name

from .annotations import annotation, kind
from .entries import looked_up
from .fields import settable_fields
from .flavour import Flavour
from .identifiers import (
    descriptor_name,
    exists_name,
    fields_name,
    filter_name,
    module_name,
    not_found_name,
    repository_name,
)
from .imports import Imports
from .methods import (
    MergeMethod,
    ReferrerMethods,
    UniqueMethods,
    ViewMethod,
    merge_method,
    referrer_methods,
    unique_methods,
    view_method,
    view_method_names,
)
from .text import sentence

_ALWAYS: Final = (
    "Rows",
    "Session",
    "_update",
)
"""The names of the runtime that every repository uses."""

_NUMBERS: Final = frozenset({"int", "float", "decimal"})
"""Types of fields to which a number can be added."""

_RESERVED: Final = frozenset(
    "Any Callable ClaimEntry Decimal ENTITY Groups Iterable KeyweaveError Literal Never Pairs RepositoryOfRecords Repository Rows Sequence Session UNSET UUID Unpack UnsetType".split()
)
"""Names in PascalCase or capitals that the module of a repository has beside the classes of the schema."""


@dataclass(frozen=True, slots=True)
class KeyArguments:
    """The arguments for the key of a row.

    Attributes:
        type: of keys.
        parameters: one for each part of the key, each behind a comma.
        stored: the id of the row, which is passed on.
        composite: whether the key has several parts, so that the methods of the parent have other parameters.
    """

    type: str
    parameters: str
    stored: str
    composite: bool


@dataclass(frozen=True, slots=True)
class PartitionArgument:
    """The argument for the value of the field that selects the partition, of methods that take a key.

    Attributes:
        only: the parameter, where a method has no other that is given by name.
        more: the same behind such a parameter.
        passed: how it is passed on behind the arguments of a method.
        named: the same behind one that is given by name.
        doc: what it does.
    """

    only: str
    more: str
    passed: str
    named: str
    doc: str


@dataclass(frozen=True, slots=True)
class RepositoryModule:
    """The module of an entity's repository.

    Attributes:
        imports: what the module imports.
        flavour: the words of the flavour.
        name: the repository's class.
        record: the class of the rows.
        doc: the documentation of the entity.
        errors: a sentence that names the entity's own errors.
        parameters: the type parameters of the parent.
        rows: the class of handles of its rows.
        parent: the class of the runtime that it extends.
        key: the arguments for the key.
        by_hand: whether methods that take one key have other parameters than those of the parent.
        increments: whether `increment` has other parameters than that of the parent, and some field can be incremented.
        partition: the argument for the value that selects the partition; empty if the partition follows from the key.
        not_found: name of the error for a row that does not exist.
        view_names: literals of the names of all views; empty when there are none.
        numbers: literals of the names of the fields to which a number can be added; empty when there are none.
        number: the type of such a name.
        fields: the TypedDict of the fields that `update` can set.
        filters: the TypedDict of the filters of its rows.
        touches: names of the fields that can be touched.
        tree_via: the view that finds a row's children; empty when rows form no tree.
    """

    imports: Imports
    flavour: Flavour
    name: str
    record: str
    doc: str
    errors: str
    parameters: str
    rows: str
    parent: str
    key: KeyArguments
    by_hand: bool
    increments: bool
    partition: PartitionArgument
    not_found: str
    view_names: tuple[str, ...]
    numbers: tuple[str, ...]
    number: str
    fields: str
    filters: str
    views: tuple[ViewMethod, ...]
    uniques: tuple[UniqueMethods, ...]
    referrers: tuple[ReferrerMethods, ...]
    merges: tuple[MergeMethod, ...]
    touches: tuple[str, ...]
    moment: str
    overload: str
    tree_via: str


def repository_module(entity: Entity, schema: Schema, flavour: Flavour) -> RepositoryModule:
    """The view model for an entity and a flavour."""
    imports = Imports(
        classes="..models",
        flavour=flavour.module,
        # An annotation behind a method of the same name would mean the method.
        taken=view_method_names(entity, schema),
        reserved=_RESERVED | {repository_name(entity)},
    )
    referrers = referrer_methods(entity, schema, imports)
    touches = tuple(
        field.name
        for field in entity.fields
        if field.type.kind is TypeKind.SCALAR and field.type.name == "datetime" and field.managed is None
    )
    key, partition = _key_arguments(entity, imports), _partition_argument(entity, imports)
    views = tuple(view_method(view, entity, schema, imports) for view in entity.views)
    numbers = tuple(literal(field.name) for field in number_fields(entity))
    record = imports.schema_class(entity.name)
    names = ("_Number" if numbers else "", "_View" if any(view.each is None for view in entity.views) else "")
    module = RepositoryModule(
        imports,
        flavour,
        repository_name(entity),
        record,
        sentence(entity.doc or entity.name),
        _errors(entity),
        ", ".join([record, key.type, *(name or imports.use("typing", "Never") for name in names)]),
        f"Rows[{record}]" if key.type == "str" else f"Rows[{record}, {key.type}]",
        imports.runtime("RepositoryOfRecords" if key.composite else "Repository"),
        key,
        key.composite or bool(partition.doc),
        key.composite or bool(partition.doc and numbers),
        partition,
        not_found_name(entity),
        tuple(literal(view.name) for view in entity.views if view.each is None),
        numbers,
        "_Number" if numbers else "Never",
        f"{imports.use('..', 'fields', alias='_fields')}.{fields_name(entity)}",
        f"{imports.use('..', 'filters', alias='_filters')}.{filter_name(entity)}",
        views,
        tuple(unique_methods(unique, entity, imports) for unique in entity.uniques),
        referrers,
        tuple(merge_method(merge, entity, imports) for merge in entity.merges),
        touches,
        imports.use("datetime", "datetime") if touches else "",
        imports.use("typing", "overload") if any(view.group for view in views) else "",
        entity.hierarchy.via if entity.hierarchy is not None else "",
    )
    imports.use(f"..entities.{module_name(entity)}", descriptor_name(entity), alias="ENTITY")
    _import_for_methods(module)
    return module


def number_fields(entity: Entity) -> list[Field]:
    """The fields of numbers that a caller sets."""
    return [
        field
        for field in settable_fields(entity)
        if field.type.kind is TypeKind.SCALAR and field.type.name in _NUMBERS
    ]


def _errors(entity: Entity) -> str:
    """A sentence that names the errors of an entity, which take the place of those in the parent's documentation."""
    found = [f"A row that does not exist raises `{not_found_name(entity)}`"]
    if entity.exists_error:
        found.append(f"a key that is taken `{exists_name(entity)}`")
    found += [
        f"a taken {' and '.join(f'`{name}`' for name in unique.fields)} `{unique.error}`"
        for unique in entity.uniques
        if unique.error and unique.error != "UniqueViolationError"
    ]
    return f"{', '.join(found)}."


def _key_arguments(entity: Entity, imports: Imports) -> KeyArguments:
    """The arguments for the key of a row."""
    parts, types = entity.key_parts, [annotation(part.type, imports) for part in entity.key_parts]
    if len(parts) > 1:
        names = [key_argument_name(part.name) for part in parts]
        return KeyArguments(
            f"tuple[{', '.join(types)}]",
            "".join(f", {name}: {type_}" for name, type_ in zip(names, types, strict=True)),
            f"ENTITY.stored_key(({', '.join(names)}))",
            True,
        )
    (key,), (type_,) = parts, types
    text = kind(key.type) == "str"
    stored = _given(key, "key", imports) if text else looked_up(key, "key", imports, of_row=True)
    return KeyArguments(type_, f", key: {type_}", stored, False)


def _partition_argument(entity: Entity, imports: Imports) -> PartitionArgument:
    """The argument for the value that selects the partition of a row; empty if the partition follows from the key."""
    if entity.partition_by in entity.key_names:
        return PartitionArgument("", "", "", "", "")
    field = next(each for each in entity.fields if each.name == entity.partition_by)
    name = partition_argument_name(field.name)
    parameter = f", {name}: {annotation(field.type, imports)} | None = None"
    doc = (
        f"Where a method takes keys, `{name}` may be given as well. Then only the partition of this value is asked. A row with "
        f"another `{field.name}` counts as missing: `get` raises `{not_found_name(entity)}`, and `find` returns None."
    )
    return PartitionArgument(f", *{parameter}", parameter, f", {name}", f", partition_value={name}", doc)


def _given(field: Field, argument: str, imports: Imports) -> str:
    """An argument for a field as it is passed on: trimmed where the field is."""
    return f"{imports.aliased('trimmed')}({argument})" if field.trim else argument


def _import_for_methods(module: RepositoryModule) -> None:
    """Add the imports that the text of the template itself needs."""
    imports = module.imports
    imports.use("typing", "Unpack")
    if module.view_names or module.numbers:
        imports.use("typing", "Literal")
    if any(view.group for view in module.views):
        imports.runtime("Groups")
    imports.aliased("where_query")
    if module.views:
        imports.aliased("view_query")
    several = bool(module.partition.doc)
    used = {
        "ClaimEntry": module.uniques,
        "_get": module.uniques or module.by_hand,
        "_lock": module.by_hand,
        "_require": module.by_hand,
        "_save": module.by_hand,
        "_delete": module.by_hand,
        "_delete_many": several,
        "KeyweaveError": several,
        "Pairs": module.referrers,
        "_gather": module.referrers,
        "_tree": module.tree_via,
        "_merge": module.merges,
        "_touch": module.touches,
    }
    for name in (*_ALWAYS, *(name for name, needed in used.items() if needed)):
        imports.runtime(name)
    if module.by_hand:
        imports.use("collections.abc", "Callable")
        imports.use("typing", "Any")
    if module.increments:
        imports.use("decimal", "Decimal")
    if several:
        imports.use("collections.abc", "Iterable")
    if module.merges or several:
        imports.use("collections.abc", "Sequence")
