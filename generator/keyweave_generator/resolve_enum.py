"""Enums: their values, the names of these in Python, and their sets."""

from __future__ import annotations

from collections.abc import Mapping

from .model import Enum
from .names import member_name, set_name_problem
from .node import Node
from .problems import Problems, quote, suggestion


def resolve_enums(root: Node, problems: Problems) -> list[Enum]:
    """The enums of the package file; a value with a mistake is reported, and left in."""
    parent = root.get("enums")
    return [
        _enum(node, values, problems)
        for node in (parent.items() if parent is not None else [])
        if (values := node.get("values")) is not None
    ]


def _enum(node: Node, values: Node, problems: Problems) -> Enum:
    names = None
    if isinstance(values.value, dict):
        names = _given_names(node.name, values, problems)
        known = tuple(dict.fromkeys(element.text for element in values.items()))
    else:
        _check_made_names(node.name, values, problems)
        known = values.texts()
    for element in _elements(node, "reserved"):
        if element.text in known:
            problems.add(element.position, f"enum {node.name}: the value {quote(element.text)} is reserved")
    reserved = tuple(element.text for element in _elements(node, "reserved"))
    return Enum(node.name, known, _sets(node, known, problems), node.child_text("doc"), reserved, names)


def _given_names(enum: str, values: Node, problems: Problems) -> dict[str, str] | None:
    """The names that a schema gives to values, by value; None if the values would have the same names without it."""
    names: dict[str, str] = {}
    texts = {element.text: element.name for element in values.items()}
    for element in values.items():
        if element.text in names:
            problems.add(
                element.position,
                f"enum {enum}: {quote(element.text)} is already the value of {names[element.text]}",
            )
        elif texts.get(element.name, element.name) != element.name:
            problems.add(
                element.key_position,
                f"enum {enum}: {element.name} names {quote(element.text)}, and is the value of {texts[element.name]}",
            )
        names.setdefault(element.text, element.name)
    return None if all(member_name(value) == name for value, name in names.items()) else names


def _check_made_names(enum: str, values: Node, problems: Problems) -> None:
    """Report values from which no name, or the name of another value, is made."""
    members: dict[str, str] = {}
    for element in values.elements():
        made = member_name(element.text)
        hint = f"; give names to the values: {{SOME_NAME: {quote(element.text)}, ...}}"
        if not made:
            problems.add(
                element.position,
                f"enum {enum}: {quote(element.text)} cannot be turned into a Python name{hint}",
            )
        elif made in members:
            problems.add(
                element.position,
                f"enum {enum}: {quote(element.text)} and {quote(members[made])} give the same Python name{hint}",
            )
        else:
            members[made] = element.text


def _sets(node: Node, known: tuple[str, ...], problems: Problems) -> Mapping[str, tuple[str, ...]]:
    sets: dict[str, tuple[str, ...]] = {}
    parent = node.get("sets")
    for subset in parent.items() if parent is not None else []:
        reason = set_name_problem(subset.name)
        if reason is not None:
            problems.add(subset.key_position, f"a set cannot be called {quote(subset.name)}: {reason}")
        for element in subset.elements():
            if element.text not in known:
                near = suggestion(element.text, known)
                problems.add(
                    element.position,
                    f"set {node.name}.{subset.name}: {node.name} has no value {quote(element.text)}{near}",
                )
        sets[subset.name] = subset.texts()
    return sets


def _elements(node: Node, key: str) -> list[Node]:
    child = node.get(key)
    return child.elements() if child is not None else []
