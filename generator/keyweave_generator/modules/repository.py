"""The module of an entity's repository, in one flavour."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.literal import literal
from keyweave_generator.model import Entity, Field, Schema, TypeKind
from keyweave_generator.names import key_argument_name

from .flavour import Flavour
from .identifiers import (
    descriptor_name,
    exists_name,
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
)
from .text import sentence

_ALWAYS: Final = (
    "Rows",
    "Session",
    "_get",
    "_delete",
    "_lock",
    "_save",
)
"""The names of the runtime that every repository uses."""


_RESERVED: Final = frozenset(
    "Any Callable ClaimEntry ENTITY Groups Literal Pairs Rows Sequence Session UNSET Unpack UnsetType".split()
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
        view_names: literals of the names of all views; empty when there are none.
        filters: the TypedDict of the filters of its rows.
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
    view_names: tuple[str, ...]
    filters: str
    views: tuple[ViewMethod, ...]
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
        tuple(literal(view.name) for view in entity.views),
        filter_name(entity),
        tuple(view_method(view, entity, schema, imports) for view in entity.views),
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
    for name in ("Callable", "Sequence"):
        imports.use("collections.abc", name)
    for name in ("Any", "Unpack", *(["Literal"] if module.view_names else [])):
        imports.use("typing", name)
    if any(view.group for view in module.views):
        imports.use("typing", "overload")
        imports.runtime("Groups")
    imports.use("..", "filters")
    imports.aliased("where_query")
    if module.views:
        imports.aliased("view_query")
    used = {
        "ClaimEntry": module.uniques,
        "Pairs": module.referrers,
        "_gather": module.referrers,
        "_tree": module.tree_via,
        "_merge": module.merges,
        "_touch": module.touches,
    }
    for name in (*_ALWAYS, *(name for name, needed in used.items() if needed)):
        imports.runtime(name)
    if module.touches:
        imports.use("datetime", "datetime")
