"""From documents of the right shape to a schema: names are looked up, defaults filled in, rules checked.

Every mistake of every file is reported. A part with a mistake is left out, and the parts that need it are skipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from .consistency_errors import check_errors
from .consistency_references import check_references
from .model import Entity, Group, Ignore, Namespace, Position, RecordType, Schema, TypeKind, TypeRef
from .names import class_name_problem, package_name_problem, plural, snake_case
from .node import Node
from .problems import Problems, a, quote
from .resolve_entity import resolve_entity
from .resolve_enum import resolve_enums
from .resolve_field import Types, resolve_fields
from .source_document import Document


def resolve(
    package: Document, entities: Sequence[Document], problems: Problems, *, complete: bool = True
) -> Schema | None:
    """The schema that the documents describe, or None when one of them has a mistake.

    Args:
        package: the package file.
        entities: the entity files.
        problems: gets every mistake.
        complete: False when some file could not be read, so that an entity may be missing only here.
    """
    root = Node.root(package)
    groups = _groups(root, problems)
    enums = resolve_enums(root, problems)
    record_nodes = {node.name: node for node in _children(root, "records")}
    entity_nodes = [Node.root(document) for document in entities]
    _class_names(root, entity_nodes, record_nodes, problems)
    broken = frozenset(_declared(root, "enums")) - {enum.name for enum in enums}
    nested = frozenset(_declared(root, "records"))
    types = Types({enum.name: enum for enum in enums}, {}, nested, broken)
    records = _records(record_nodes, types, problems)
    types = Types(types.enums, {record.name: record for record in records}, nested, broken)
    found: list[Entity] = []
    nodes: dict[str, Node] = {}
    for node in entity_nodes:
        entity = resolve_entity(node, set(_declared(root, "groups")), types, problems)
        if entity is not None:
            found.append(entity)
            nodes[entity.name] = node
    declared = {node.child_text("entity") for node in entity_nodes}
    spread = {group.name: group.partitions for group in groups}
    check_references(found, nodes, declared, spread, problems, complete=complete)
    classes = declared | set(_declared(root, "enums")) | set(record_nodes)
    check_errors(found, nodes, classes, problems)
    name = root.child_text("package")
    reason = package_name_problem(name)
    if reason is not None:
        problems.add(_position(root, "package"), f"the package cannot be called {quote(name)}: {reason}")
    if not entities and complete:
        problems.add(root.position, "the schema has no entity; add a file with the key 'entity'")
    if problems:
        return None
    space = root.get("namespace")
    assert space is not None
    return Schema(
        package=name,
        namespace=Namespace(
            space.child_text("app"),
            space.child_text("version"),
            space.child_text("environment"),
            space.child_text("tenant"),
        ),
        groups=tuple(sorted(groups, key=lambda group: group.name)),
        enums=tuple(enums),
        records=tuple(records),
        entities=tuple(sorted(found, key=lambda entity: entity.name)),
        doc=root.child_text("doc"),
        ignores=tuple(_ignore(node) for node in _elements(root, "ignore")),
    )


def _ignore(node: Node) -> Ignore:
    return Ignore(
        node.child_text("rule"),
        node.child_text("entity") or None,
        node.child_text("field") or None,
        node.child_text("reason"),
    )


def _position(node: Node, key: str) -> Position:
    child = node.get(key)
    return child.position if child is not None else node.position


def _children(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.items() if child is not None else []


def _declared(node: Node, key: str) -> list[str]:
    """The names under `key`, those with a mistake included."""
    child = node.get(key)
    return child.names() if child is not None else []


def _groups(root: Node, problems: Problems) -> list[Group]:
    groups = []
    for node in _children(root, "groups"):
        partitions = node.get("partitions")
        number = partitions.value if partitions is not None else 1
        number = number if isinstance(number, int) else 1
        if number & (number - 1) and partitions is not None:
            reason = f"{number} is no power of two, which a number of partitions must be"
            problems.add(partitions.position, f"group {node.name}: {reason}")
        groups.append(Group(node.name, number, node.child_text("doc")))
    return groups


def _texts(node: Node, key: str) -> tuple[str, ...]:
    child = node.get(key)
    return child.texts() if child is not None else ()


def _elements(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.elements() if child is not None else []


def _class_names(
    root: Node,
    entities: Sequence[Node],
    records: Mapping[str, Node],
    problems: Problems,
) -> None:
    """Report classes that would have the same name, and entities that would have the same module."""
    seen: dict[str, str] = {}
    declared = [(node, node.name, node.key_position, "enum") for node in _children(root, "enums")]
    declared += [(node, name, node.key_position, "record") for name, node in records.items()]
    for node in entities:
        child = node.get("entity")
        if child is not None:
            declared.append((child, child.text, child.position, "entity"))
    modules: dict[str, str] = {}
    plurals: dict[str, str] = {}
    for node, name, position, kind in declared:
        reason = class_name_problem(name)
        if reason is not None:
            hint = f"such as {quote(f'{name}Item')}"
            problems.add(position, f"{kind} {quote(name)}: {reason}; write another name, {hint}")
        if name in seen:
            problems.add(position, f"{kind} {quote(name)}: there is already {a(seen[name])} of that name")
        seen[name] = kind
        if kind == "entity":
            module = snake_case(name)
            other = modules.get(module)
            if other is not None and other != name:
                problems.add(
                    position,
                    f"entity {quote(name)} and entity {quote(other)} give the same names in generated code",
                )
            elif other is None:
                _plural_once(Node.root(node.document), name, position, plurals, problems)
            modules[module] = name


def _plural_once(
    entity: Node, name: str, position: Position, plurals: dict[str, str], problems: Problems
) -> None:
    """Report an entity whose repository would have the attribute of another one."""
    given = entity.get("plural")
    many = given.text if given is not None else plural(snake_case(name))
    other = plurals.setdefault(many, name)
    if other != name:
        problems.add(
            given.position if given is not None else position,
            f"entity {quote(name)}: several are called {quote(many)}, as several {quote(other)} are; "
            "give one of them another 'plural'",
        )


def _records(nodes: Mapping[str, Node], types: Types, problems: Problems) -> list[RecordType]:
    """Nested records in dependency order, so that each comes after those that it uses."""
    found: dict[str, RecordType] = {}
    for name, node in nodes.items():
        fields = resolve_fields(node, types, problems, owner=name, in_entity=False)
        found[name] = RecordType(
            name, tuple(fields.values()), node.child_text("doc"), _texts(node, "reserved")
        )
    uses = {name: sorted(_record_names(record) & found.keys()) for name, record in found.items()}
    try:
        order = list(TopologicalSorter(uses).static_order())
    except CycleError as error:
        cycle = error.args[1][:-1]
        first = min(cycle, key=list(found).index)
        message = f"record {first} contains itself; a record cannot be recursive"
        problems.add(nodes[first].key_position, message)
        return list(found.values())
    return [found[name] for name in order]


def _record_names(record: RecordType) -> set[str]:
    names = set()
    for field in record.fields:
        inner: TypeRef | None = field.type
        while inner is not None:
            if inner.kind is TypeKind.RECORD:
                names.add(inner.name)
            inner = inner.of
    return names
