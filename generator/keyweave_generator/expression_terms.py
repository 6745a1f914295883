"""The simple terms of a condition: comparisons of a field with constants, from which a reader can conclude."""

from __future__ import annotations

import ast

from .expression_compile import COMPARE, Compiler
from .literal import literal
from .model import SimpleTerm


def simple_terms(tree: ast.expr, compiler: Compiler) -> tuple[SimpleTerm, ...] | None:
    """The terms of a condition that was compiled, all of which must hold; None if it is anything but such a list."""
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    found = [_simple(part, compiler) for part in parts]
    terms = tuple(term for term in found if term is not None)
    return terms if len(terms) == len(found) else None


def _simple(node: ast.expr, compiler: Compiler) -> SimpleTerm | None:
    if isinstance(node, ast.Name):
        return SimpleTerm(node.id, "==", ("True",))
    if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.left, ast.Name):
        return None
    word, right = COMPARE[type(node.ops[0])], node.comparators[0]
    field = compiler.compile(node.left)
    if not field.python.startswith("record."):
        return None
    if word in ("is", "is not"):
        return SimpleTerm(node.left.id, f"{word} null", ())
    elements = right.elts if isinstance(right, ast.List | ast.Tuple | ast.Set) else [right]
    values: list[str] = []
    for element in elements:
        term = compiler.alike(element, compiler.compile(element), field)
        if "record." in term.python:
            return None
        if term.kind == "set" and isinstance(element, ast.Attribute) and term.enum is not None:
            values += map(literal, term.enum.sets[element.attr])
        else:
            values.append(term.python)
    return SimpleTerm(node.left.id, word, tuple(values))
