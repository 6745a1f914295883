"""The indexes of an entity: views and unique constraints."""

from __future__ import annotations

from .model import Field, TypeKind, Unique, View
from .names import pascal_case
from .node import Node
from .problems import a
from .resolve_order import resolve_order, rows_in
from .resolve_scope import EntityScope

_INDEXABLE = {
    *("string", "id", "int", "decimal", "bool"),
    *("datetime", "date", "time", "duration", "uuid", "bytes"),
}


def resolve_views(scope: EntityScope) -> tuple[View, ...]:
    """The entity's views, without those that have a mistake."""
    views = tuple(view for child in scope.children("views") if (view := _view(scope, child)) is not None)
    _same_views(scope, views)
    return views


def resolve_uniques(scope: EntityScope) -> tuple[Unique, ...]:
    """The entity's unique constraints, without those that have a mistake."""
    uniques = tuple(
        unique for child in scope.children("unique") if (unique := _unique(scope, child)) is not None
    )
    _same_uniques(scope, uniques)
    _shared_names(scope)
    return uniques


def _view(scope: EntityScope, node: Node) -> View | None:
    what = f"view {node.name}"
    named = scope.named(node, "a view")
    fields = _fields(scope, node, what, secret=False)
    order = resolve_order(scope, node.get("order"), what)
    if order is None:
        return None
    each = _each(scope, node, what) if node.has("each") else None
    where = rows_in(scope, order, scope.condition(node.get("where"), what), node, what)
    if not named or fields is None or (each is None and node.has("each")):
        return None
    if where is None and (node.has("where") or order.optional):
        return None
    names = tuple(field.name for field in fields)
    key_node = scope.node.get("key")
    key = key_node.texts() if key_node is not None else ()
    referring = [child.name for child in scope.children("references")]
    if key and set(key) <= set(names) and not (len(key) == 1 and key[0] in referring):
        scope.refuse(node, f"{what}: a row is found by its key without a view; leave the view out", key=True)
        return None
    if each in names:
        scope.refuse(node, f"{what}: {each} is in fields and in each; leave it out of one", key=True)
        return None
    return View(
        node.name,
        names,
        order.by,
        order.field,
        node.child_text("why"),
        _generation(node),
        each,
        where,
        order.by_text or None,
        order.ascending or None,
    )


def _unique(scope: EntityScope, node: Node) -> Unique | None:
    what = f"unique {node.name}"
    named = scope.named(node, "a unique constraint")
    fields = _fields(scope, node, what, secret=True)
    steps_node = node.get("normalize")
    steps = steps_node.texts() if steps_node is not None else ()
    if steps_node is not None:
        for field in fields or ():
            if field.type.name not in ("string", "id"):
                scope.refuse(
                    steps_node, f"{what}: normalize is for strings, and {field.name} is {field.type.name}"
                )
    error_node = node.get("error")
    error = error_node.text if error_node is not None else f"{scope.name}{pascal_case(node.name)}ExistsError"
    scope.check_error(error_node, error)
    where = scope.condition(node.get("where"), what)
    if not named or not fields or (where is None and node.has("where")):
        return None
    names = tuple(field.name for field in fields)
    return Unique(node.name, names, steps, error, node.child_text("doc"), _generation(node), where)


def _each(scope: EntityScope, node: Node, what: str) -> str | None:
    """The list or set that gives a view its entries; None when it has a mistake."""
    child = node.get("each")
    field = scope.field(child, f"{what}: each") if child is not None else None
    if child is None or field is None:
        return None
    of = field.type.of
    if of is None or field.type.kind not in (TypeKind.LIST, TypeKind.SET):
        hint = "; name it under fields" if of is None else ""
        scope.refuse(
            child, f"{what}: each is for lists and sets, and {field.name} is {a(field.type.name)}{hint}"
        )
        return None
    if of.kind is not TypeKind.ENUM and (of.kind is not TypeKind.SCALAR or of.name not in _INDEXABLE):
        scope.refuse(
            child, f"{what}: elements of {field.name} are of type {of.name}, which cannot be looked up"
        )
        return None
    if field.secret:
        scope.refuse(child, f"{what}: {field.name} is secret and would show in key names")
        return None
    return field.name


def _generation(node: Node) -> int:
    """Which definition of the index this is; the JSON Schema has checked that it is a number."""
    number = node.get("generation")
    return number.value if number is not None and isinstance(number.value, int) else 1


def _fields(scope: EntityScope, node: Node, what: str, *, secret: bool) -> list[Field] | None:
    """The fields listed at `node`; None when one of them has a mistake."""
    listed = node.get("fields")
    if listed is None or not listed.is_whole():
        return None
    found = [_indexable(scope, child, what, secret=secret) for child in listed.elements()]
    usable = [field for field in found if field is not None]
    return usable if len(usable) == len(found) else None


def _indexable(scope: EntityScope, node: Node, what: str, *, secret: bool) -> Field | None:
    field = scope.field(node, what)
    if field is None:
        return None
    kind = field.type.kind
    if kind is not TypeKind.ENUM and (kind is not TypeKind.SCALAR or field.type.name not in _INDEXABLE):
        scope.refuse(node, f"{what}: {field.name} is of type {field.type.name}, which cannot be looked up")
        return None
    if field.secret and not secret:
        scope.refuse(node, f"{what}: {field.name} is secret and would show in key names")
        return None
    if field.managed is not None:
        scope.refuse(
            node, f"{what}: {field.name} is set by the store and cannot be looked up; order by it instead"
        )
        return None
    return field


def _same_views(scope: EntityScope, views: tuple[View, ...]) -> None:
    seen: dict[tuple[object, ...], View] = {}
    parent = scope.node.get("views")
    for view in views:
        where = view.where.meaning if view.where is not None else None
        shape = (tuple(sorted(view.fields)), view.order, view.order_field, view.each, where)
        other = seen.setdefault(shape, view)
        child = parent.get(view.name) if parent is not None else None
        if other is not view and child is not None:
            same = (
                "is the same as" if other.fields == view.fields else "has the same fields in another order as"
            )
            scope.refuse(child, f"view {view.name} {same} view {other.name}", key=True)


def _same_uniques(scope: EntityScope, uniques: tuple[Unique, ...]) -> None:
    seen: dict[tuple[object, ...], Unique] = {}
    for unique in uniques:
        where = unique.where.meaning if unique.where is not None else None
        other = seen.setdefault((frozenset(unique.fields), where), unique)
        child = next(node for node in scope.children("unique") if node.name == unique.name)
        if other is not unique:
            scope.refuse(child, f"unique {unique.name}: unique {other.name} covers the same fields", key=True)


def _shared_names(scope: EntityScope) -> None:
    views = {child.name for child in scope.children("views")}
    for child in scope.children("unique"):
        if child.name in views:
            scope.refuse(
                child,
                f"unique {child.name}: there is a view of that name, and both would use the same key",
                key=True,
            )
