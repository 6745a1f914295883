"""One entity: its fields, and everything that is derived from them. References are looked up across entities later."""

from __future__ import annotations

from .model import Entity, Managed, TypeKind
from .names import word_problem
from .node import Node
from .problems import Problems, a, listing, quote, suggestion
from .resolve_field import Types
from .resolve_index import resolve_uniques, resolve_views
from .resolve_reference import KEY_TYPES, resolve_hierarchy, resolve_references
from .resolve_rule import resolve_checks, resolve_merges, resolve_retention
from .resolve_scope import EntityScope


def resolve_entity(node: Node, groups: set[str], types: Types, problems: Problems) -> Entity | None:
    """The entity in one file, without a check of the targets of its references."""
    name = node.child_text("entity")
    if not name:
        return None
    return _entity(EntityScope(node, name, types, problems), groups)


def _entity(scope: EntityScope, groups: set[str]) -> Entity | None:
    node = scope.node
    group = node.get("group")
    if group is not None and group.text not in groups:
        near = suggestion(group.text, groups) or (
            f"; the groups are {listing(sorted(groups))}" if groups else ""
        )
        scope.refuse(group, f"no group {quote(group.text)}{near}")
    key = _key(scope)
    partition = _partition(scope, key)
    _managed_once(scope)
    _auto_on_key(scope)
    views = resolve_views(scope)
    uniques = resolve_uniques(scope)
    references = resolve_references(scope, views)
    hierarchy = resolve_hierarchy(scope, views)
    checks = resolve_checks(scope)
    merges = resolve_merges(scope)
    not_found, exists = _error(scope, "not_found"), _error(scope, "exists")
    retention = resolve_retention(scope)
    if key is None or partition is None or group is None:
        return None
    reserved = node.get("reserved")
    return Entity(
        name=scope.name,
        group=group.text,
        key=key if len(key) > 1 else key[0],
        partition_by=partition,
        fields=tuple(scope.fields.values()),
        uniques=uniques,
        views=views,
        references=references,
        hierarchy=hierarchy,
        checks=checks,
        merges=merges,
        retention=retention,
        reserved=reserved.texts() if reserved is not None else (),
        not_found_error=not_found or f"{scope.name}NotFoundError",
        exists_error=exists or None,
        plural=_plural(scope),
        doc=node.child_text("doc"),
        position=node.position,
    )


def _key(scope: EntityScope) -> tuple[str, ...] | None:
    """The fields of the key; None if one of them has a mistake."""
    node = scope.node.get("key")
    if node is None or not node.is_whole():
        return None
    parts = node.elements() or [node]
    names = [_identifier(scope, part, "key", composite=len(parts) > 1) for part in parts]
    found = tuple(name for name in names if name is not None)
    return found if len(found) == len(names) else None


def _partition(scope: EntityScope, key: tuple[str, ...] | None) -> str | None:
    """The field that decides the partition: by default the first one of the key."""
    node, named = scope.node.get("partition_by"), scope.node.get("key")
    if node is not None:
        part = named is not None and node.text in named.texts()
        return _identifier(scope, node, "partition_by", composite=part)
    return key[0] if key is not None and not scope.node.has("partition_by") else None


def _identifier(scope: EntityScope, node: Node, key: str, *, composite: bool) -> str | None:
    """The field that `node` names, if it can identify a row; as a part of a composite key it can be an enum as well."""
    field = scope.field(node, key)
    if field is None:
        return None
    if field.type.name not in KEY_TYPES and not (composite and field.type.kind is TypeKind.ENUM):
        words = "id, string, int, uuid or enum" if composite else "id, string, int or uuid"
        scope.refuse(node, f"{key}: {field.name} is {a(field.type.name)}; it must be an {words}")
        return None
    if field.optional or field.has_default or field.secret:
        scope.refuse(node, f"{key}: {field.name} must be required, not secret, and without default")
        return None
    return field.name


def _plural(scope: EntityScope) -> str:
    node = scope.node.get("plural")
    reason = word_problem(node.text) if node is not None else None
    if node is not None and reason is not None:
        scope.refuse(node, f"the plural cannot be {quote(node.text)}: {reason}")
    return node.text if node is not None else ""


def _auto_on_key(scope: EntityScope) -> None:
    parent, named = scope.node.get("fields"), scope.node.get("key")
    keys = named.texts() if named is not None else ()
    for field in scope.fields.values():
        node = parent.get(field.name) if parent is not None else None
        auto = node.get("auto") if node is not None else None
        if auto is not None and field.name not in keys:
            which = f"which is {' and '.join(map(quote, keys))}" if keys else "which is missing"
            scope.refuse(auto, f"{field.name}: auto is for the key, {which}", key=True)


def _managed_once(scope: EntityScope) -> None:
    parent = scope.node.get("fields")
    for managed in Managed:
        names = [field.name for field in scope.fields.values() if field.managed is managed]
        for name in names[1:]:
            child = parent.get(name) if parent is not None else None
            if child is not None:
                scope.refuse(child, f"{name}: {names[0]} is already managed as {managed.value}", key=True)


def _error(scope: EntityScope, key: str) -> str:
    errors = scope.node.get("errors")
    node = errors.get(key) if errors is not None else None
    scope.check_error(node, node.text if node is not None else "")
    return node.text if node is not None else ""
