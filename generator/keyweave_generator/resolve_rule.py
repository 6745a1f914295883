"""The rules of an entity: checks, merges and retention."""

from __future__ import annotations

from datetime import timedelta

from .model import Check, Field, Merge, MergeRule, Retention, TypeKind
from .node import Node
from .problems import a, quote, suggestion
from .resolve_field import parse_duration
from .resolve_scope import EntityScope

_MERGE_KEYS = {"id", "string", "int", "decimal", "bool", "date", "time", "uuid"}
_ORDERED = {"int", "float", "decimal", "datetime", "date", "time", "duration", "string", "id"}
_LONGEST_RETENTION = timedelta(days=36_500)


def resolve_checks(scope: EntityScope) -> tuple[Check, ...]:
    """The entity's checks, without those that have a mistake."""
    return tuple(check for child in scope.children("checks") if (check := _check(scope, child)) is not None)


def resolve_merges(scope: EntityScope) -> tuple[Merge, ...]:
    """The entity's merges, without those that have a mistake."""
    return tuple(merge for child in scope.children("merge") if (merge := _merge(scope, child)) is not None)


def resolve_retention(scope: EntityScope) -> Retention | None:
    """The entity's retention, or None when it has none or one with a mistake."""
    node = scope.node.get("retention")
    if node is None:
        return None
    if node.has("at"):
        return _retention_at(scope, node)
    when = scope.condition(node.get("when"), "retention")
    after_node, recommended_node = node.get("after"), node.get("recommended")
    if after_node is None and not node.has("after"):
        scope.refuse(
            node, "retention: write after, the time until rows end, or at, a field that holds the end"
        )
    if after_node is None or (when is None and node.has("when")):
        return None
    after = parse_duration(after_node.text)
    if not after or after > _LONGEST_RETENTION:
        scope.refuse(
            after_node,
            f"retention: after must be longer than zero and at most {_LONGEST_RETENTION.days}d",
        )
    recommended = None
    if recommended_node is not None:
        bounds = [parse_duration(child.text) for child in recommended_node.elements()]
        if len(bounds) == 2:
            recommended = (bounds[0], bounds[1])
            if bounds[0] > bounds[1]:
                scope.refuse(recommended_node, "retention: recommended begins with the shorter time")
    return Retention(when, after, recommended, sliding=node.child_flag("sliding") or None)


def _retention_at(scope: EntityScope, node: Node) -> Retention | None:
    """The retention whose deadline each row names itself."""
    for key in ("when", "after", "recommended", "sliding"):
        child = node.get(key)
        if child is not None:
            scope.refuse(
                child,
                f"retention: {key} does not go with at; a row ends at the moment in the field",
                key=True,
            )
    child = node.get("at")
    field = scope.field(child, "retention: at") if child is not None else None
    if child is None or field is None:
        return None
    if field.type.name != "datetime" or field.managed is not None:
        what = "set by the store" if field.managed is not None else a(field.type.name)
        scope.refuse(child, f"retention: at must be a datetime that callers set, and {field.name} is {what}")
        return None
    return Retention(None, None, None, field.name)


def _check(scope: EntityScope, node: Node) -> Check | None:
    named = scope.named(node, "a check")
    rule = scope.condition(node.get("rule"), f"check {node.name}")
    return Check(node.name, rule, node.child_text("doc")) if rule is not None and named else None


def _merge(scope: EntityScope, node: Node) -> Merge | None:
    what = f"merge {node.name}"
    field = scope.field(node, "merge", node.name)
    if field is None:
        return None
    of = field.type.of
    if field.type.kind is not TypeKind.LIST or of is None or of.kind is not TypeKind.RECORD:
        scope.refuse(node, f"{what}: the field must be a list of records", key=True)
        return None
    record = scope.types.records.get(of.name)
    if record is None:
        return None
    members = {member.name: member for member in record.fields}
    key = []
    for child in scope.elements(node, "key"):
        member = members.get(child.text)
        if member is None:
            scope.refuse(
                child,
                f"{what}: {record.name} has no field {quote(child.text)}{suggestion(child.text, members)}",
            )
        elif member.optional or member.type.name not in _MERGE_KEYS:
            if member.type.kind is not TypeKind.ENUM or member.optional:
                scope.refuse(
                    child,
                    f"{what}: key field {child.text} must be required text, int, decimal, bool, date, time, uuid or enum",
                )
        key.append(child.text)
    normalize: dict[str, tuple[str, ...]] = {}
    for child in _in(node, "normalize"):
        if child.name not in key:
            scope.refuse(
                child,
                f"{what}: normalize names {quote(child.name)}, which is not a key field{suggestion(child.name, key)}",
                key=True,
            )
        elif child.name in members and members[child.name].type.name not in ("string", "id"):
            scope.refuse(child, f"{what}: normalize is for strings, which {child.name} is not", key=True)
        normalize[child.name] = child.texts()
    rules = {name: MergeRule.FIRST for name in members if name not in key}
    for child in _in(node, "rules"):
        member = members.get(child.name)
        if member is None:
            scope.refuse(
                child,
                f"{what}: {record.name} has no field {quote(child.name)}{suggestion(child.name, members)}",
                key=True,
            )
        elif child.name in key:
            scope.refuse(child, f"{what}: {child.name} is a key field and cannot have a rule", key=True)
        else:
            rule = MergeRule(child.text)
            if not _rule_fits(rule, member):
                scope.refuse(
                    child, f"{what}: {rule.value} does not fit {child.name}, which is {member.type.name}"
                )
            rules[child.name] = rule
    return Merge(field.name, record.name, tuple(key), normalize, rules)


def _in(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.items() if child is not None else []


def _rule_fits(rule: MergeRule, field: Field) -> bool:
    name = field.type.name if field.type.kind is TypeKind.SCALAR else ""
    if rule is MergeRule.SUM:
        return name in ("int", "float", "decimal")
    if rule in (MergeRule.MIN, MergeRule.MAX):
        return name in _ORDERED
    if rule is MergeRule.UNION:
        of = field.type.of
        return field.type.kind is TypeKind.SET or (
            field.type.kind is TypeKind.LIST
            and of is not None
            and (of.kind is TypeKind.ENUM or of.name in ("string", "id", "int"))
        )
    return True
