"""Consistency of the errors that a schema names: each name has one parent throughout the package."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set

from .model import Entity
from .node import Node
from .problems import Problems, quote

_ABSENT = "a row that does not exist"
_PRESENT = "a key that is taken"
_TAKEN = "a unique value that is taken"


def check_errors(
    entities: Sequence[Entity], nodes: Mapping[str, Node], classes: Set[str], problems: Problems
) -> None:
    """Report error names that would name two different errors, or an error and one of the schema's classes."""
    meanings: dict[str, str] = {}
    for entity in entities:
        for node, name, meaning in _errors(entity, nodes[entity.name]):
            if name in classes:
                problems.add(
                    node.position,
                    f"{entity.name}: the error for {meaning} would be called {quote(name)}, as an entity, enum or record is; "
                    "give it another name under errors, or error of the constraint",
                )
            known = meanings.setdefault(name, meaning)
            if known != meaning:
                problems.add(
                    node.position,
                    f"{entity.name}: {quote(name)} already names the error for {known}, so it cannot name the error for {meaning}",
                )


def _errors(entity: Entity, root: Node) -> Iterator[tuple[Node, str, str]]:
    """Where each error of an entity is named (or would be), its name and its meaning."""
    named = root.get("errors") or root
    yield named.get("not_found") or root, entity.not_found_error, _ABSENT
    if entity.exists_error:
        yield named.get("exists") or root, entity.exists_error, _PRESENT
    parent = root.get("unique") or root
    for unique in entity.uniques:
        node = parent.get(unique.name) or root
        yield node.get("error") or node, unique.error, _TAKEN
