"""The references and the hierarchy of an entity, as far as its own file decides them."""

from __future__ import annotations

from typing import Final

from .model import Hierarchy, OnDelete, Reference, View
from .node import Node
from .problems import quote, suggestion
from .resolve_scope import EntityScope

KEY_TYPES: Final = ("id", "string", "int", "uuid")
"""The types of keys, and of fields that refer to a row."""


def resolve_references(scope: EntityScope, views: tuple[View, ...]) -> tuple[Reference, ...]:
    """The entity's references, without those that have a mistake."""
    return tuple(
        reference
        for child in scope.children("references")
        if (reference := _reference(scope, child, views)) is not None
    )


def resolve_hierarchy(scope: EntityScope, views: tuple[View, ...]) -> Hierarchy | None:
    """The entity's tree, or None when it has none or one with a mistake."""
    node = scope.node.get("hierarchy")
    parent = node.get("parent") if node is not None else None
    if node is None or parent is None:
        return None
    field = scope.field(parent, "hierarchy")
    if field is None:
        return None
    reference_nodes = {child.name: child for child in scope.children("references")}
    reference = reference_nodes.get(field.name)
    if reference is None or reference.child_text("entity") != scope.name:
        scope.refuse(parent, f"hierarchy: {field.name} must be a reference to {scope.name} itself")
        return None
    via = _via(scope, node, "hierarchy", field.name, views)
    return Hierarchy(field.name, via) if via is not None else None


def _reference(scope: EntityScope, node: Node, views: tuple[View, ...]) -> Reference | None:
    what = f"reference {node.name}"
    field = scope.field(node, "references", node.name)
    if field is None:
        return None
    if field.type.name not in KEY_TYPES or field.secret or field.has_default:
        scope.refuse(
            node,
            f"{what}: the field must be an id, string, int or uuid, not secret and without default",
            key=True,
        )
        return None
    target, action = node.child_text("entity"), node.child_text("on_delete")
    if target == scope.name and not field.optional:
        scope.refuse(
            node,
            f"{what}: no row could be the first if each must refer to another row of {scope.name}; make the field optional",
            key=True,
        )
    via = _via(scope, node, what, field.name, views)
    if not target or not action or via is None:
        return None
    return Reference(field.name, target, OnDelete(action), via)


def _via(scope: EntityScope, node: Node, what: str, field: str, views: tuple[View, ...]) -> str | None:
    """The view over `field` alone: the one that is named, or else the only one."""
    fitting = [
        view.name
        for view in views
        if view.fields == (field,) and not (view.each or view.where or view.by_text)
    ]
    named = node.get("via")
    if named is not None:
        if named.text in fitting:
            return named.text
        declared = [child.name for child in scope.children("views")]
        if named.text not in declared:
            scope.refuse(named, f"{what}: no view {quote(named.text)}{suggestion(named.text, declared)}")
        elif any(view.name == named.text for view in views):
            scope.refuse(
                named,
                f"{what}: view {named.text} must have only the field {field}, no each, no where, and an order that is no string and never null",
            )
        return None
    if not fitting and not node.has("via"):
        scope.refuse(
            node,
            f"{what}: no view finds the rows of one {field}; "
            f"declare one, such as by_{field}: {{fields: [{field}], order: created, why: ...}}",
            key=True,
        )
    return fitting[0] if fitting else None
