"""One entity: its fields, and everything that is derived from them. References are looked up across entities later."""

from __future__ import annotations

from collections.abc import Mapping

from .expression import ExpressionError, compile_expression
from .model import (
    Check,
    Entity,
    Expression,
    Field,
    Hierarchy,
    Managed,
    Merge,
    MergeRule,
    OnDelete,
    OrderBy,
    Reference,
    Retention,
    TypeKind,
    Unique,
    View,
)
from .names import error_name_problem, pascal_case, word_problem
from .node import Node
from .problems import Problems, listing, quote, suggestion
from .resolve_field import Types, parse_duration, resolve_fields

_INDEXABLE = {"string", "id", "int", "bool", "datetime", "duration", "bytes"}
_ORDERABLE = {"int", "float", "datetime", "duration"}


def resolve_entity(node: Node, groups: set[str], types: Types, problems: Problems) -> Entity | None:
    """The entity in one file, without a check of what its references lead to."""
    name = node.child_text("entity")
    if not name:
        return None
    return _Resolver(node, name, types, problems).resolve(groups)


class _Resolver:
    """Reads one entity file. Mistakes go to `problems`, with the entity's name in front."""

    def __init__(self, node: Node, name: str, types: Types, problems: Problems) -> None:
        self.node = node
        self.name = name
        self.types = types
        self.problems = problems
        self.fields = resolve_fields(node, types, problems, owner=name, in_entity=True)
        fields = node.get("fields")
        self.declared = set(fields.names()) if fields is not None else set()

    def resolve(self, groups: set[str]) -> Entity | None:
        node = self.node
        group = node.get("group")
        if group is not None and group.text not in groups:
            near = suggestion(group.text, groups) or (
                f"; there is {listing(sorted(groups))}" if groups else ""
            )
            self._refuse(group, f"no group {quote(group.text)}{near}")
        key = self._identifier("key")
        partition = self._identifier("partition_by") if node.has("partition_by") else key
        self._managed_once()
        views = tuple(view for child in self._children("views") if (view := self._view(child)) is not None)
        self._same_views(views)
        uniques = tuple(
            unique for child in self._children("unique") if (unique := self._unique(child)) is not None
        )
        self._shared_names()
        references = tuple(
            reference
            for child in self._children("references")
            if (reference := self._reference(child, views)) is not None
        )
        hierarchy = self._hierarchy(views)
        checks = tuple(
            check for child in self._children("checks") if (check := self._check(child)) is not None
        )
        merges = tuple(
            merge for child in self._children("merge") if (merge := self._merge(child)) is not None
        )
        not_found, exists = self._error("not_found"), self._error("exists")
        retention = self._retention()
        if key is None or partition is None or group is None:
            return None
        reserved = node.get("reserved")
        return Entity(
            name=self.name,
            group=group.text,
            key=key,
            partition_by=partition,
            fields=tuple(self.fields.values()),
            uniques=uniques,
            views=views,
            references=references,
            hierarchy=hierarchy,
            checks=checks,
            merges=merges,
            retention=retention,
            reserved=reserved.texts() if reserved is not None else (),
            not_found_error=not_found or f"{self.name}NotFoundError",
            exists_error=exists or None,
            doc=node.child_text("doc"),
            position=node.position,
        )

    def _refuse(self, node: Node, message: str, *, key: bool = False) -> None:
        self.problems.add(node.key_position if key else node.position, f"{self.name}: {message}")

    def _children(self, key: str) -> list[Node]:
        child = self.node.get(key)
        return child.items() if child is not None else []

    def _field(self, node: Node, what: str, name: str | None = None) -> Field | None:
        """The field that is named at `node`; a missing one is reported, one with a mistake was already."""
        wanted = node.text if name is None else name
        if wanted in self.fields:
            return self.fields[wanted]
        if wanted not in self.declared:
            self._refuse(
                node,
                f"{what}: no field {quote(wanted)}{suggestion(wanted, self.declared)}",
                key=name is not None,
            )
        return None

    def _identifier(self, key: str) -> str | None:
        node = self.node.get(key)
        if node is None:
            return None
        field = self._field(node, key)
        if field is None:
            return None
        if field.type.name not in ("id", "string") or field.optional or field.has_default or field.secret:
            self._refuse(
                node,
                f"{key}: {field.name} must be a required id or string that is not secret and has no default",
            )
            return None
        return field.name

    def _managed_once(self) -> None:
        parent = self.node.get("fields")
        for managed in Managed:
            names = [field.name for field in self.fields.values() if field.managed is managed]
            for name in names[1:]:
                child = parent.get(name) if parent is not None else None
                if child is not None:
                    self._refuse(child, f"{name}: {names[0]} is managed as {managed.value} already", key=True)

    def _indexable(self, node: Node, what: str, *, secret: bool) -> Field | None:
        field = self._field(node, what)
        if field is None:
            return None
        kind = field.type.kind
        if kind is not TypeKind.ENUM and (kind is not TypeKind.SCALAR or field.type.name not in _INDEXABLE):
            self._refuse(
                node, f"{what}: {field.name} is of type {field.type.name}, which cannot be looked up"
            )
            return None
        if field.secret and not secret:
            self._refuse(node, f"{what}: {field.name} is secret and would show in key names")
            return None
        if field.managed is not None:
            self._refuse(
                node, f"{what}: {field.name} is set by the store and cannot be looked up; order by it instead"
            )
            return None
        return field

    def _named(self, node: Node, what: str) -> bool:
        reason = word_problem(node.name)
        if reason is not None:
            self._refuse(node, f"{what} cannot be called {quote(node.name)}: {reason}", key=True)
        return reason is None

    def _view(self, node: Node) -> View | None:
        what = f"view {node.name}"
        named = self._named(node, "a view")
        children = self._list(node, "fields")
        fields = [self._indexable(child, what, secret=False) for child in children]
        order_node = node.get("order")
        order, order_field = OrderBy.CREATED, None
        if order_node is None:
            return None
        if order_node.text in ("created", "revision"):
            order = OrderBy(order_node.text)
        else:
            field = self._field(order_node, f"{what}: order")
            if field is None:
                if order_node.text not in self.declared and (
                    near := suggestion(order_node.text, ["created", "revision"])
                ):
                    self._refuse(order_node, f"{what}: order is created, revision or a field{near}")
                return None
            if field.managed is not None:
                word = "created" if field.managed is Managed.CREATED else "revision"
                self._refuse(order_node, f"{what}: order by {field.name} is written {word}")
                return None
            if field.type.name not in _ORDERABLE or field.optional or field.secret:
                self._refuse(
                    order_node,
                    f"{what}: order needs a required number, datetime or duration, and {field.name} is none",
                )
                return None
            order, order_field = OrderBy.FIELD, field.name
        if not named or any(field is None for field in fields):
            return None
        names = tuple(field.name for field in fields if field is not None)
        return View(node.name, names, order, order_field, node.child_text("why"))

    def _list(self, node: Node, key: str) -> list[Node]:
        child = node.get(key)
        return child.elements() if child is not None else []

    def _same_views(self, views: tuple[View, ...]) -> None:
        seen: dict[tuple[object, ...], View] = {}
        parent = self.node.get("views")
        for view in views:
            shape = (tuple(sorted(view.fields)), view.order, view.order_field)
            other = seen.setdefault(shape, view)
            child = parent.get(view.name) if parent is not None else None
            if other is not view and child is not None:
                same = (
                    "is the same as"
                    if other.fields == view.fields
                    else "has the same fields in another order as"
                )
                self._refuse(child, f"view {view.name} {same} view {other.name}", key=True)

    def _unique(self, node: Node) -> Unique | None:
        what = f"unique {node.name}"
        named = self._named(node, "a unique constraint")
        fields = [self._indexable(child, what, secret=True) for child in self._list(node, "fields")]
        steps_node = node.get("normalize")
        steps = steps_node.texts() if steps_node is not None else ()
        if steps_node is not None:
            for field in fields:
                if field is not None and field.type.name not in ("string", "id"):
                    self._refuse(
                        steps_node, f"{what}: normalize is for strings, and {field.name} is {field.type.name}"
                    )
        error_node = node.get("error")
        error = (
            error_node.text if error_node is not None else f"{self.name}{pascal_case(node.name)}ExistsError"
        )
        self._check_error(error_node, error)
        if not named or not fields or any(field is None for field in fields):
            return None
        names = tuple(field.name for field in fields if field is not None)
        return Unique(node.name, names, steps, error, node.child_text("doc"))

    def _check_error(self, node: Node | None, name: str) -> None:
        if node is not None and name:
            reason = error_name_problem(name)
            if reason is not None:
                self._refuse(node, f"an error cannot be called {quote(name)}: {reason}")

    def _error(self, key: str) -> str:
        errors = self.node.get("errors")
        node = errors.get(key) if errors is not None else None
        self._check_error(node, node.text if node is not None else "")
        return node.text if node is not None else ""

    def _shared_names(self) -> None:
        views = {child.name for child in self._children("views")}
        for child in self._children("unique"):
            if child.name in views:
                self._refuse(
                    child,
                    f"unique {child.name}: there is a view of that name, and both would use one key",
                    key=True,
                )

    def _reference(self, node: Node, views: tuple[View, ...]) -> Reference | None:
        what = f"reference {node.name}"
        field = self._field(node, "references", node.name)
        if field is None:
            return None
        if field.type.name not in ("id", "string"):
            self._refuse(node, f"{what}: the field must be an id or string", key=True)
            return None
        target, action = node.child_text("entity"), node.child_text("on_delete")
        if target == self.name and not field.optional:
            self._refuse(
                node,
                f"{what}: a row that must refer to a row of its own kind can never be the first; make it optional",
                key=True,
            )
        via = self._via(node, what, field.name, views)
        if not target or not action or via is None:
            return None
        return Reference(field.name, target, OnDelete(action), via)

    def _via(self, node: Node, what: str, field: str, views: tuple[View, ...]) -> str | None:
        """The view over `field` alone: the one that is named, or the one there is."""
        fitting = [view.name for view in views if view.fields == (field,)]
        named = node.get("via")
        if named is not None:
            if named.text in fitting:
                return named.text
            declared = [child.name for child in self._children("views")]
            if named.text not in declared:
                self._refuse(named, f"{what}: no view {quote(named.text)}{suggestion(named.text, declared)}")
            elif any(view.name == named.text for view in views):
                self._refuse(named, f"{what}: view {named.text} must have the field {field} alone")
            return None
        if not fitting and not node.has("via"):
            self._refuse(
                node,
                f"{what}: no view finds the rows of one {field}; "
                f"declare one, such as by_{field}: {{fields: [{field}], order: created, why: ...}}",
                key=True,
            )
        return fitting[0] if fitting else None

    def _hierarchy(self, views: tuple[View, ...]) -> Hierarchy | None:
        node = self.node.get("hierarchy")
        parent = node.get("parent") if node is not None else None
        if node is None or parent is None:
            return None
        field = self._field(parent, "hierarchy")
        if field is None:
            return None
        reference_nodes = {child.name: child for child in self._children("references")}
        reference = reference_nodes.get(field.name)
        if reference is None or reference.child_text("entity") != self.name:
            self._refuse(parent, f"hierarchy: {field.name} must be a reference to {self.name} itself")
            return None
        via = self._via(node, "hierarchy", field.name, views)
        return Hierarchy(field.name, via) if via is not None else None

    def _expression(self, node: Node | None, what: str) -> Expression | None:
        if node is None:
            return None
        usable: Mapping[str, Field] = self.fields
        try:
            return compile_expression(node.text, usable, self.types.enums, wants="bool")
        except ExpressionError as error:
            broken = self.declared - set(self.fields)
            if not any(name in node.text for name in broken):
                self._refuse(node, f"{what}: {error}")
            return None

    def _check(self, node: Node) -> Check | None:
        named = self._named(node, "a check")
        rule = self._expression(node.get("rule"), f"check {node.name}")
        return Check(node.name, rule, node.child_text("doc")) if rule is not None and named else None

    def _retention(self) -> Retention | None:
        node = self.node.get("retention")
        if node is None:
            return None
        when = self._expression(node.get("when"), "retention")
        after_node, recommended_node = node.get("after"), node.get("recommended")
        if after_node is None or when is None:
            return None
        after = parse_duration(after_node.text)
        if not after:
            self._refuse(after_node, "retention: after must be longer than zero")
        recommended = None
        if recommended_node is not None:
            bounds = [parse_duration(child.text) for child in recommended_node.elements()]
            if len(bounds) == 2:
                recommended = (bounds[0], bounds[1])
                if bounds[0] > bounds[1]:
                    self._refuse(recommended_node, "retention: recommended begins with the shorter time")
        return Retention(when, after, recommended)

    def _merge(self, node: Node) -> Merge | None:
        what = f"merge {node.name}"
        field = self._field(node, "merge", node.name)
        if field is None:
            return None
        of = field.type.of
        if field.type.kind is not TypeKind.LIST or of is None or of.kind is not TypeKind.RECORD:
            self._refuse(node, f"{what}: the field must be a list of records", key=True)
            return None
        record = self.types.records.get(of.name)
        if record is None:
            return None
        members = {member.name: member for member in record.fields}
        key = []
        for child in self._list(node, "key"):
            member = members.get(child.text)
            if member is None:
                self._refuse(
                    child,
                    f"{what}: {record.name} has no field {quote(child.text)}{suggestion(child.text, members)}",
                )
            elif member.optional or member.type.name not in ("id", "string", "int", "bool"):
                if member.type.kind is not TypeKind.ENUM or member.optional:
                    self._refuse(
                        child, f"{what}: key field {child.text} must be required text, int, bool or enum"
                    )
            key.append(child.text)
        normalize: dict[str, tuple[str, ...]] = {}
        for child in self._in(node, "normalize"):
            if child.name not in key:
                self._refuse(
                    child,
                    f"{what}: normalize names {quote(child.name)}, which is no key field{suggestion(child.name, key)}",
                    key=True,
                )
            elif child.name in members and members[child.name].type.name not in ("string", "id"):
                self._refuse(child, f"{what}: normalize is for strings, and {child.name} is none", key=True)
            normalize[child.name] = child.texts()
        rules = {name: MergeRule.FIRST for name in members if name not in key}
        for child in self._in(node, "rules"):
            member = members.get(child.name)
            if member is None:
                self._refuse(
                    child,
                    f"{what}: {record.name} has no field {quote(child.name)}{suggestion(child.name, members)}",
                    key=True,
                )
            elif child.name in key:
                self._refuse(child, f"{what}: {child.name} is a key field and takes no rule", key=True)
            else:
                rule = MergeRule(child.text)
                if not _rule_fits(rule, member):
                    self._refuse(
                        child, f"{what}: {rule.value} does not fit {child.name}, which is {member.type.name}"
                    )
                rules[child.name] = rule
        return Merge(field.name, record.name, tuple(key), normalize, rules)

    def _in(self, node: Node, key: str) -> list[Node]:
        child = node.get(key)
        return child.items() if child is not None else []


def _rule_fits(rule: MergeRule, field: Field) -> bool:
    name = field.type.name if field.type.kind is TypeKind.SCALAR else ""
    if rule is MergeRule.SUM:
        return name in ("int", "float")
    if rule in (MergeRule.MIN, MergeRule.MAX):
        return name in ("int", "float", "datetime", "duration", "string", "id")
    if rule is MergeRule.UNION:
        of = field.type.of
        return (
            field.type.kind is TypeKind.LIST
            and of is not None
            and (of.kind is TypeKind.ENUM or of.name in ("string", "id", "int"))
        )
    return True
