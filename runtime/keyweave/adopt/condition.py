"""Conditions of SQL become expressions of the schema, with the meaning of null kept.

A check of SQL holds unless it is false, so that an unknown result passes. A condition of an index selects rows for which it is
true. A comparison with null is false in a schema, so both are written out where a field may be null.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from keyweave.adopt.design import FieldDesign
from keyweave.adopt.sql import (
    Among,
    Call,
    Col,
    Const,
    IsNull,
    IsTruth,
    Junction,
    Node,
    Not,
    Op,
    Unknown,
    UnknownSqlError,
)
from keyweave.adopt.yaml import writable

LONGEST: Final = 1000
_ORDERED: Final = {"int", "float", "decimal", "datetime", "date", "time", "duration"}
_NUMBERS: Final = {"int", "float", "decimal"}
_WORDS: Final = {"=": "==", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_OPPOSITES: Final = {"=": "<>", "<>": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d:\d\d(?:\.\d{1,6})?))?(?:\+00(?::00)?)?\Z")
_SHAPES: Final = {
    "date": re.compile(r"\d{4}-\d\d-\d\d\Z"),
    "time": re.compile(r"\d\d:\d\d:\d\d(\.\d{1,6})?\Z"),
    "uuid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z"),
}
_NUMBER: Final = re.compile(r"-?\d+(\.\d+)?\Z")
_TEXT_CASTS: Final = {"text", "character varying", "bpchar", "character", "varchar"}

Fields = Callable[[str], FieldDesign | None]
"""Returns the field of a column."""


@dataclass(frozen=True, slots=True)
class _Operand:
    text: str
    kind: str
    nullable: tuple[str, ...] = ()
    enum: str = ""
    values: tuple[str, ...] = ()
    arithmetic: bool = False


def where_of(node: Node, fields: Fields) -> str:
    """Return the expression that is true where the condition is true; empty if it always is.

    Raises:
        UnknownSqlError: the language has no words for it, or no row can be in the index.
    """
    found = _Writer(fields).true(node)
    if found is False:
        raise UnknownSqlError("a condition that no row fulfils")
    return "" if found is True else _checked(str(found))


def check_of(node: Node, fields: Fields) -> tuple[str, str]:
    """Return the expression that is true unless the condition is false, and what of the condition it lacks.

    A condition of several parts that must all hold keeps those that the language has words for. The expression is empty if
    nothing is left of it, or if it always holds.
    """
    parts = node.parts if isinstance(node, Junction) and node.word == "and" else (node,)
    kept: list[str | bool] = []
    lacks: list[str] = []
    for part in parts:
        try:
            found = _Writer(fields).not_false(part)
            if found is False:
                raise UnknownSqlError("a condition that no row fulfils")
            kept.append(_checked(found) if isinstance(found, str) else found)
        except UnknownSqlError as error:
            lacks.append(str(error))
    found = _join("and", kept)
    if isinstance(found, str) and len(found) > LONGEST:
        return "", f"a condition of more than {LONGEST:,} characters"
    return found if isinstance(found, str) else "", ", ".join(dict.fromkeys(lacks))


def _checked(text: str) -> str:
    text = text[1:-1] if text.startswith("(") and _closes(text) else text
    if len(text) > LONGEST:
        raise UnknownSqlError(f"a condition of more than {LONGEST:,} characters")
    return text


def _closes(text: str) -> bool:
    """Whether the first bracket is closed by the last character."""
    depth, quoted, escaped = 0, False, False
    for place, letter in enumerate(text):
        if escaped or letter == "\\":
            escaped = not escaped
        elif letter == "'":
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if depth == 0:
                return place == len(text) - 1
    return False


class _Writer:
    """Writes a condition in two ways: true where it is true, and true where it is not false."""

    def __init__(self, fields: Fields) -> None:
        self._fields = fields

    def true(self, node: Node) -> str | bool:
        """The expression that is true where the condition is true."""
        return self._write(node, unknown=False)

    def not_false(self, node: Node) -> str | bool:
        """The expression that is true where the condition is true or unknown."""
        return self._write(node, unknown=True)

    def _write(self, node: Node, *, unknown: bool) -> str | bool:
        if isinstance(node, Junction):
            return _join(node.word, [self._write(part, unknown=unknown) for part in node.parts])
        if isinstance(node, Not):
            return self._write(_negated(node.part), unknown=unknown)
        if isinstance(node, IsNull):
            return self._null(node)
        if isinstance(node, IsTruth):
            return self._truth(node)
        if isinstance(node, Op) and node.word in _WORDS:
            return self._comparison(node, unknown=unknown)
        if isinstance(node, Among):
            return self._among(node, unknown=unknown)
        if isinstance(node, Const) and node.kind == "bool":
            return node.value == "true"
        if isinstance(node, Const) and node.kind == "null":
            return unknown
        operand = self._operand(node)
        if operand.kind != "bool":
            raise UnknownSqlError(f"{operand.text} where true or false is needed")
        return _guarded(f"{operand.text} == true", operand.nullable, unknown=unknown)

    def _null(self, node: IsNull) -> str | bool:
        field = self._fields(node.part.name) if isinstance(node.part, Col) else None
        if field is None:
            raise UnknownSqlError("IS NULL of something that is no column")
        if not field.attributes.get("optional"):
            return node.negated
        return f"{field.name} is {'not ' if node.negated else ''}null"

    def _truth(self, node: IsTruth) -> str | bool:
        part: Node = node.part if node.value else Not(node.part)
        return self.not_false(Not(part)) if node.negated else self.true(part)

    def _comparison(self, node: Op, *, unknown: bool) -> str | bool:
        left, right = self._operand(node.left), self._operand(node.right)
        if "null" in (left.kind, right.kind):
            return unknown
        left, right = _like(left, right), _like(right, left)
        word = _WORDS[node.word]
        _require_alike(left, right)
        if word not in ("==", "!="):
            for each in (left, right):
                if each.kind not in _ORDERED:
                    raise UnknownSqlError(f"the order of {each.text}")
        if not left.nullable and not right.nullable and _is_constant(left) and _is_constant(right):
            raise UnknownSqlError("a comparison of two constants")
        text = f"{left.text} {word} {right.text}"
        nullable = (*left.nullable, *right.nullable)
        if unknown or not (left.arithmetic or right.arithmetic):
            return _guarded(text, nullable, unknown=unknown)
        guards = [f"{name} is not null" for name in dict.fromkeys(nullable)]
        return f"({' and '.join([*guards, text])})" if guards else text

    def _among(self, node: Among, *, unknown: bool) -> str | bool:
        left = self._operand(node.left)
        values = []
        for element in node.elements:
            value = self._operand(element)
            if value.kind == "null" or not _is_constant(value):
                raise UnknownSqlError("a list of something that is no constant")
            value = _like(value, left)
            _require_alike(left, value)
            values.append(value.text)
        if _is_constant(left):
            raise UnknownSqlError("a comparison of constants")
        text = f"{left.text} {'not in' if node.negated else 'in'} [{', '.join(dict.fromkeys(values))}]"
        return _guarded(text, left.nullable, unknown=unknown)

    def _operand(self, node: Node) -> _Operand:
        if isinstance(node, Col):
            return self._column(node)
        if isinstance(node, Const):
            return _constant(node)
        if isinstance(node, Op) and node.word in ("+", "-", "*"):
            return self._arithmetic(node)
        if isinstance(node, Call):
            return self._length(node)
        if isinstance(node, Unknown):
            raise UnknownSqlError(node.reason)
        raise UnknownSqlError("a condition inside an expression")

    def _column(self, node: Col) -> _Operand:
        field = self._fields(node.name)
        if field is None:
            raise UnknownSqlError(f"the column {node.name}")
        if field.managed:
            raise UnknownSqlError(f"{field.name}, which the store sets")
        if field.kind in ("text", "composite", "json") or field.type in ("list", "bytes"):
            raise UnknownSqlError(f"the type of {field.name}")
        kind = "string" if field.kind == "string" else field.kind
        kind = {"local": "datetime"}.get(kind, kind)
        for cast in node.casts:
            widened = kind == "int" and cast in ("numeric", "bigint", "double precision", "integer")
            same = kind == "decimal" and cast == "numeric"
            if not widened and not same and not (kind in ("string", "enum") and cast in _TEXT_CASTS):
                raise UnknownSqlError(f"a cast of {field.name} to {cast}")
        nullable = (field.name,) if field.attributes.get("optional") else ()
        return _Operand(field.name, kind, nullable, field.type if kind == "enum" else "", field.values)

    def _arithmetic(self, node: Op) -> _Operand:
        left, right = self._operand(node.left), self._operand(node.right)
        left, right = _like(left, right), _like(right, left)
        for each in (left, right):
            if each.kind not in _NUMBERS:
                raise UnknownSqlError(f"arithmetic with {each.text}")
        kinds = {left.kind, right.kind}
        if kinds == {"float", "decimal"}:
            raise UnknownSqlError("arithmetic of a float and a numeric")
        kind = "decimal" if "decimal" in kinds else "float" if "float" in kinds else "int"
        nullable = (*left.nullable, *right.nullable)
        return _Operand(f"({left.text} {node.word} {right.text})", kind, nullable, arithmetic=True)

    def _length(self, node: Call) -> _Operand:
        names = {"length", "char_length", "character_length"}
        if node.name not in names or len(node.arguments) != 1:
            raise UnknownSqlError(f"the function {node.name}")
        operand = self._operand(node.arguments[0])
        if operand.kind != "string" or _is_constant(operand):
            raise UnknownSqlError(f"{node.name} of {operand.text}")
        return _Operand(f"len({operand.text})", "int", operand.nullable, arithmetic=True)


def _guarded(text: str, nullable: tuple[str, ...], *, unknown: bool) -> str:
    if not unknown or not nullable:
        return text
    guards = [f"{name} is null" for name in dict.fromkeys(nullable)]
    return f"({' or '.join([*guards, text])})"


def _join(word: str, parts: list[str | bool]) -> str | bool:
    ends = word == "or"
    if any(part is ends for part in parts):
        return ends
    texts = [part for part in parts if isinstance(part, str)]
    if len(texts) < 2:
        return texts[0] if texts else not ends
    inner = [
        f"({text})" if f" {'or' if word == 'and' else 'and'} " in text and not _closes_all(text) else text
        for text in texts
    ]
    return f" {word} ".join(inner)


def _closes_all(text: str) -> bool:
    return text.startswith("(") and _closes(text)


def _negated(node: Node) -> Node:
    """Return the opposite of a condition, which is unknown where the condition is."""
    if isinstance(node, Not):
        return node.part
    if isinstance(node, Junction):
        return Junction("and" if node.word == "or" else "or", tuple(map(_negated, node.parts)))
    if isinstance(node, Op) and node.word in _OPPOSITES:
        return Op(_OPPOSITES[node.word], node.left, node.right)
    if isinstance(node, Among | IsNull | IsTruth):
        return replace(node, negated=not node.negated)
    if isinstance(node, Const) and node.kind == "bool":
        return Const("bool", "false" if node.value == "true" else "true")
    return node if isinstance(node, Const) else Op("=", node, Const("bool", "false"))


def _is_constant(operand: _Operand) -> bool:
    return operand.kind.startswith("constant") or operand.enum == "constant"


def _constant(node: Const) -> _Operand:
    if node.kind == "null":
        return _Operand("null", "null")
    if node.kind == "bool":
        return _Operand(node.value, "constant bool")
    if node.kind == "number":
        if not _NUMBER.match(node.value) or len(node.value) > 18:
            raise UnknownSqlError(f"the number {node.value}")
        return _Operand(node.value, "constant number")
    return _Operand(node.value, "constant text")


def _like(operand: _Operand, other: _Operand) -> _Operand:
    """A constant as the kind of the other operand has it."""
    if not operand.kind.startswith("constant") or other.kind.startswith("constant"):
        return operand
    kind, text = other.kind, operand.text
    if operand.kind == "constant bool":
        written = text if kind == "bool" else ""
    elif operand.kind == "constant number":
        written = text if kind in _NUMBERS else ""
    elif kind in ("string", "enum"):
        known = kind == "string" or text in other.values
        written = _quoted(text) if known and writable(text) and "\n" not in text else ""
    elif kind == "datetime":
        match = _MOMENT.match(text)
        written = f"'{match[1]}T{match[2] or '00:00:00'}Z'" if match else ""
    elif kind in _SHAPES:
        written = _quoted(text) if _SHAPES[kind].match(text) else ""
    else:
        written = text if kind in _NUMBERS and _NUMBER.match(text) else ""
    if not written:
        raise UnknownSqlError(f"the constant {text[:40]!r}")
    return _Operand(written, kind, enum="constant")


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _require_alike(left: _Operand, right: _Operand) -> None:
    enums = {each.enum for each in (left, right)} - {"constant", ""}
    if left.kind == right.kind and len(enums) < 2 and left.kind not in ("bytes", "list"):
        return
    if {left.kind, right.kind} <= _NUMBERS and {left.kind, right.kind} != {"float", "decimal"}:
        return
    raise UnknownSqlError(f"a comparison of {left.text} with {right.text}")
