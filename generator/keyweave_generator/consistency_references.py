"""Consistency between entities: the targets of references, and whether rows can still be inserted and deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .model import Entity, OnDelete, referrer_words
from .node import Node
from .problems import Problems, a, quote, suggestion


def check_references(
    entities: Sequence[Entity],
    nodes: Mapping[str, Node],
    declared: set[str],
    partitions: Mapping[str, int],
    problems: Problems,
    *,
    complete: bool,
) -> None:
    """Report references without a target, across groups or partitions, to rows with a retention, or in a required cycle.

    Args:
        partitions: number of partitions of each group.
    """
    by_name = {entity.name: entity for entity in entities}
    ending = _ending(entities)
    for entity in entities:
        parent = nodes[entity.name].get("references")
        for reference in entity.references:
            node = parent.get(reference.field) if parent is not None else None
            if node is None:
                continue
            named = node.get("entity") or node
            what = f"{entity.name}: reference {reference.field}"
            if reference.entity not in declared:
                near = suggestion(reference.entity, declared)
                if complete:
                    problems.add(named.position, f"{what}: no entity {quote(reference.entity)}{near}")
                continue
            target = by_name.get(reference.entity)
            if target is None:
                continue
            if len(target.key_names) > 1:
                problems.add(
                    named.position,
                    f"{what}: the key of {target.name} has {len(target.key_names)} fields, and a reference is one field; give "
                    f"{target.name} a key of one field, and a unique constraint over {' and '.join(target.key_names)}",
                )
                continue
            own, key = _type(entity, reference.field), _type(target, target.key_names[0])
            if {"string": "id"}.get(own, own) != {"string": "id"}.get(key, key):
                problems.add(
                    node.key_position,
                    f"{what}: the field is {a(own)}, and the key of {target.name} is {a(key)}; they must have one type",
                )
            if target.group != entity.group:
                problems.add(
                    named.position,
                    f"{what}: {target.name} is in group {target.group}, {entity.name} in {entity.group}; "
                    "rows that refer to each other must share a group",
                )
            elif partitions.get(entity.group, 1) > 1 and _leaves_partition(entity, reference.field, target):
                problems.add(
                    named.position,
                    f"{what}: the group {entity.group} has {partitions[entity.group]} partitions, and the {target.name} may be in "
                    f"another one than the {entity.name}, which is partitioned by {entity.partition_by}; partition {entity.name} "
                    f"by {reference.field}, or give the group one partition",
                )
            if reference.on_delete is OnDelete.RESTRICT and target.name in ending:
                action = node.get("on_delete") or node
                above = ending[target.name]
                why = f"ends with {above}, which has a retention that" if above else "has a retention, which"
                problems.add(
                    action.position, f"{what}: {target.name} {why} restrict would block; use cascade"
                )
    _check_cycles(by_name, nodes, problems)
    _check_names(entities, nodes, problems)


def _leaves_partition(entity: Entity, field: str, target: Entity) -> bool:
    """Return whether rows are in other partitions than those that they refer to, unless two values happen to share one.

    Where the partition of the target does not follow from its key, only the values show it.
    """
    return target.partition_by in target.key_names and entity.partition_by != field


def _type(entity: Entity, field: str) -> str:
    return next(each.type.name for each in entity.fields if each.name == field)


def _check_names(entities: Sequence[Entity], nodes: Mapping[str, Node], problems: Problems) -> None:
    """Report references to one entity for which the methods of its repository would have the same names."""
    taken: dict[tuple[str, str], str] = {}
    for entity in entities:
        for reference in entity.references:
            what = f"{entity.name}.{reference.field}"
            other = taken.setdefault((reference.entity, referrer_words(entity, reference)), what)
            if other != what:
                problems.add(
                    (nodes[entity.name].get("references") or nodes[entity.name]).position,
                    f"{entity.name}: the references {other} and {what} to {reference.entity} give the same names in "
                    "generated code; give one of the entities or fields another name",
                )


def _ending(entities: Sequence[Entity]) -> dict[str, str]:
    """Entities whose rows end by a retention, with the entity whose rows they are deleted with; empty for their own retention."""
    ending = {entity.name: "" for entity in entities if entity.retention is not None}
    found = list(ending)
    for name in found:
        for entity in entities:
            takes = (each.entity for each in entity.references if each.on_delete is OnDelete.CASCADE)
            if name in takes and entity.name not in ending:
                ending[entity.name] = ending[name] or name
                found.append(entity.name)
    return ending


def _check_cycles(by_name: Mapping[str, Entity], nodes: Mapping[str, Node], problems: Problems) -> None:
    required = {
        name: sorted(
            {
                reference.entity
                for reference in entity.references
                if reference.entity in by_name
                and reference.entity != name
                and not next(field for field in entity.fields if field.name == reference.field).optional
            }
        )
        for name, entity in by_name.items()
    }
    reported: set[frozenset[str]] = set()
    for start in sorted(required):
        path = _cycle(start, required)
        if path is not None and frozenset(path) not in reported:
            reported.add(frozenset(path))
            node = nodes[start].get("references") or nodes[start]
            problems.add(
                node.position,
                f"{start}: the required references {' -> '.join([*path, start])} form a cycle, so that no row could be the first",
            )


def _cycle(start: str, edges: Mapping[str, Sequence[str]]) -> list[str] | None:
    stack = [(start, [start])]
    seen: set[str] = set()
    while stack:
        name, path = stack.pop()
        for other in edges[name]:
            if other == start:
                return path
            if other not in seen:
                seen.add(other)
                stack.append((other, [*path, other]))
    return None
