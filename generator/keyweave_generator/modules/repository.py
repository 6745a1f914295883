"""The module of an entity's repository, in one flavour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.literal import literal
from keyweave_generator.model import Entity, Field, Schema, TypeKind
from keyweave_generator.names import argument_name, key_argument_name

from .annotations import annotation
from .filters import filter_fields
from .flavour import Flavour
from .identifiers import descriptor_name, exists_name, module_name, not_found_name, repository_name
from .imports import Imports
from .indexes import order_of
from .methods import (
    MergeMethod,
    ReferrerMethods,
    UniqueMethods,
    ViewMethods,
    merge_method,
    referrer_methods,
    unique_methods,
    view_methods,
)
from .text import sentence

_ALWAYS: Final = (
    "Page",
    "Session",
    "_fetch",
    "_join",
    "_get",
    "_delete",
    "_search",
    "_lock",
    "_save",
)
"""The names of the runtime that every repository uses."""


_RESERVED: Final = frozenset(
    "Any AsyncIterator Callable ClaimEntry Decimal ENTITY Iterator Literal Page Sequence Session UUID".split()
)
"""Names in PascalCase or capitals that the module of a repository has beside the classes of the schema."""


@dataclass(frozen=True, slots=True)
class RepositoryModule:
    """The module of an entity's repository.

    Attributes:
        imports: what the module imports.
        flavour: the words of the flavour.
        name: the repository's class.
        record: the class of the rows.
        doc: the documentation of the entity.
        key: the argument for the key.
        looked_up, looked_up_keys: that argument, and the argument `keys`, as they are passed on.
        not_found, exists: names of the entity's errors.
        orders: literals of the orders that a search can ask for; the first one is the default.
        view_names: literals of the names of all views; empty when there are none.
        filters: parameters of a search, each followed by a comma.
        having: the parameters of a search that select rows by the rows that refer to them.
        equal_arguments, having_arguments: how both are passed on.
        touches: names of the fields that can be touched.
        tree_via: the view that finds a row's children; empty when rows form no tree.
    """

    imports: Imports
    flavour: Flavour
    name: str
    record: str
    doc: str
    key: str
    looked_up: str
    looked_up_keys: str
    not_found: str
    exists: str
    orders: tuple[str, ...]
    view_names: tuple[str, ...]
    filters: str
    having: str
    equal_arguments: str
    having_arguments: str
    views: tuple[ViewMethods, ...]
    uniques: tuple[UniqueMethods, ...]
    referrers: tuple[ReferrerMethods, ...]
    merges: tuple[MergeMethod, ...]
    touches: tuple[str, ...]
    tree_via: str


def repository_module(entity: Entity, schema: Schema, flavour: Flavour) -> RepositoryModule:
    """The view model for an entity and a flavour."""
    imports = Imports(
        classes="..models", flavour=flavour.module, reserved=_RESERVED | {repository_name(entity)}
    )
    referrers = referrer_methods(entity, schema, imports)
    unset = imports.use("msgspec", "UNSET", alias="_UNSET")
    unset_type = imports.use("msgspec", "UnsetType", alias="_UnsetType")
    orders = dict.fromkeys(order_of(view) for view in entity.views) or {"created": None}
    touches = tuple(
        field.name
        for field in entity.fields
        if field.type.kind is TypeKind.SCALAR and field.type.name == "datetime" and field.managed is None
    )
    key = next(field for field in entity.fields if field.name == entity.key)
    module = RepositoryModule(
        imports,
        flavour,
        repository_name(entity),
        imports.schema_class(entity.name),
        sentence(entity.doc or entity.name),
        key_argument_name(entity.key),
        _given(key, key_argument_name(entity.key), imports),
        f"[{_given(key, 'key', imports)} for key in keys]" if key.trim else "keys",
        not_found_name(entity),
        exists_name(entity),
        tuple(map(literal, orders)),
        tuple(literal(view.name) for view in entity.views),
        "".join(
            f"{argument_name(field.name)}: {annotation(field.type, imports)} | {unset_type}{' | None' if field.optional else ''} = {unset}, "
            for field in filter_fields(entity)
        ),
        "".join(f"{each.keyword}: {each.filter} | {unset_type} = {unset}, " for each in referrers),
        ", ".join(
            f"{field.name}={_given(field, argument_name(field.name), imports)}"
            for field in filter_fields(entity)
        ),
        ", ".join(f'("{each.entity}", "{each.field}", {each.filters})' for each in referrers),
        tuple(view_methods(view, entity, schema, imports) for view in entity.views),
        tuple(unique_methods(unique, entity, imports) for unique in entity.uniques),
        referrers,
        tuple(merge_method(merge, entity, imports) for merge in entity.merges),
        touches,
        entity.hierarchy.via if entity.hierarchy is not None else "",
    )
    imports.use(f"..entities.{module_name(entity)}", descriptor_name(entity), alias="ENTITY")
    _import_for_methods(module)
    return module


def _given(field: Field, argument: str, imports: Imports) -> str:
    """An argument for a field as it is passed on: trimmed where the field is."""
    return f"{imports.aliased('trimmed')}({argument})" if field.trim else argument


def _import_for_methods(module: RepositoryModule) -> None:
    """Add the imports that the text of the template itself needs."""
    imports = module.imports
    for name in ("Callable", "Sequence", module.flavour.iterator):
        imports.use("collections.abc", name)
    for name in ("Any", "Literal"):
        imports.use("typing", name)
    used = {
        "ClaimEntry": module.uniques,
        "_count": module.views,
        "_gather": module.referrers or any(view.gathers for view in module.views),
        "_tree": module.tree_via,
        "_merge": module.merges,
        "_page": module.views,
        "_touch": module.touches,
    }
    for name in (*_ALWAYS, *(name for name, needed in used.items() if needed)):
        imports.runtime(name)
    if module.touches:
        imports.use("datetime", "datetime")
