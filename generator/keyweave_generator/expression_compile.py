"""The compiler of expressions: a syntax tree, typed against the fields, becomes Python.

It refuses everything that the language does not have.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from operator import eq, ge, gt, le, lt, ne
from typing import Any, Final

from .constant import CONSTANTS, Constant, constant, origin, python
from .literal import literal, number, tuple_of
from .model import Enum, Field, TypeKind
from .problems import a, quote, suggestion

_DEEPEST: Final = 40
NUMBERS: Final = {"int", "float", "decimal"}
SET_FIELD: Final = "set field"
"""The kind of a field that is a set; `set` is the kind of a set of an enum's values."""
EXACT: Final = "decimal"
"""The kind whose arithmetic and comparisons are exact."""
_CONSTANTS: Final = {**CONSTANTS, "datetime": "a moment such as '2026-01-31T08:30:00Z'"}
_ORDERED: Final = {"int", "float", "decimal", "string", "datetime", "date", "time", "duration"}
_EXACTLY: Final[dict[type[ast.operator], str]] = {
    ast.Add: "add",
    ast.Sub: "subtract",
    ast.Mult: "multiply",
}
COMPARE: Final[dict[type[ast.cmpop], str]] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
    ast.Is: "is",
    ast.IsNot: "is not",
}
_COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "==": eq,
    "!=": ne,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
}
ARITHMETIC: Final[dict[type[ast.operator], str]] = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}


class ExpressionError(ValueError):
    """An expression that cannot be used; the text names the part and the reason."""


@dataclass(frozen=True, slots=True)
class Term:
    """A typed part: its Python, its kind, the enum it belongs to, and the fields that may be null in it.

    `literal` is the value of a text, number or truth value, and `written` is how the schema writes a text or number.
    """

    python: str
    kind: str
    enum: Enum | None = None
    nullable: tuple[str, ...] = ()
    literal: object = None
    written: str = ""


def guarded(term: Term) -> str:
    """Return the Python of a condition that is false when a field in it is null."""
    guards = [f"record.{name} is not None" for name in dict.fromkeys(term.nullable)]
    return f"({' and '.join([*guards, term.python])})"


def _false_for_null(comparison: str, word: str, *terms: Term) -> str:
    """Return a comparison that is false if a term is null. Python itself says so if a value is compared with `==` or `in`."""
    nullable = tuple(name for term in terms for name in term.nullable)
    one_value = len(terms) == 1 or not all(term.nullable for term in terms)
    if not nullable or (one_value and word in ("==", "is", "in")):
        return f"({comparison})"
    return guarded(Term(comparison, "bool", None, nullable))


class Compiler:
    """Walks a syntax tree and refuses everything that the language does not have."""

    def __init__(self, fields: Mapping[str, Field], enums: Mapping[str, Enum], text: str = "") -> None:
        self._fields = fields
        self._enums = enums
        self._text = text
        self._depth = 0
        self.used: dict[str, None] = {}
        self.imported: dict[tuple[str, str], None] = {}
        self.sets: dict[str, tuple[str, ...]] = {}

    def compile(self, node: ast.expr) -> Term:
        """Return the typed part of a node. Raises ExpressionError where the language does not have it."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ExpressionError("the expression is nested too deeply")
        try:
            return self._term(node)
        finally:
            self._depth -= 1

    def _term(self, node: ast.expr) -> Term:
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node.id)
        if isinstance(node, ast.Attribute):
            return self._member(node)
        if isinstance(node, ast.BoolOp):
            word = " and " if isinstance(node.op, ast.And) else " or "
            return Term(f"({word.join(self._condition(part) for part in node.values)})", "bool")
        if isinstance(node, ast.UnaryOp):
            return self._unary(node)
        if isinstance(node, ast.BinOp):
            return self._arithmetic(node)
        if isinstance(node, ast.Compare):
            return self._comparison(node)
        if isinstance(node, ast.Call):
            return self._length(node)
        raise ExpressionError(f"{quote(_text(node))} is not part of the expression language")

    def _condition(self, node: ast.expr) -> str:
        term = self.compile(node)
        if term.kind != "bool":
            raise ExpressionError(f"{quote(_text(node))} is {a(term.kind)}, where true or false is needed")
        return guarded(term) if term.nullable else term.python

    def _constant(self, node: ast.Constant) -> Term:
        value = node.value
        if isinstance(value, bool):
            return Term(repr(value), "bool", literal=value)
        if isinstance(value, int | float):
            if value != value or abs(value) > 2**63:
                raise ExpressionError(f"{quote(value)} is too large")
            written = ast.get_source_segment(self._text, node) or repr(value)
            kind = "float" if isinstance(value, float) else "int"
            return Term(number(value), kind, literal=value, written=written)
        if isinstance(value, str):
            return Term(literal(value), "string", literal=value, written=value)
        if value is None:
            return Term("None", "null")
        raise ExpressionError(f"{quote(_text(node))} is not part of the expression language")

    def _name(self, name: str) -> Term:
        if name in ("null", "true", "false"):
            value = {"null": None, "true": True, "false": False}[name]
            return Term(repr(value), "null" if value is None else "bool", literal=value)
        if name not in self._fields:
            raise ExpressionError(f"no field {quote(name)}{suggestion(name, self._fields)}")
        field = self._fields[name]
        if field.managed is not None:
            raise ExpressionError(f"{quote(name)} is set by the store, after the rules are evaluated")
        self.used[name] = None
        kind, enum = field.type.kind.value, None
        if field.type.kind is TypeKind.ENUM:
            enum = self._enums.get(field.type.name)
        elif field.type.kind is TypeKind.SCALAR:
            kind = {"id": "string"}.get(field.type.name, field.type.name)
        elif field.type.kind is TypeKind.SET:
            kind = SET_FIELD
        nullable = (name,) if field.optional else ()
        return Term(f"record.{name}", kind, enum, nullable)

    def _member(self, node: ast.Attribute) -> Term:
        if not isinstance(node.value, ast.Name) or node.value.id not in self._enums:
            owner = node.value.id if isinstance(node.value, ast.Name) else _text(node.value)
            raise ExpressionError(f"no enum {quote(owner)}{suggestion(owner, self._enums)}")
        enum = self._enums[node.value.id]
        if node.attr in enum.sets:
            values = self.sets[f"{enum.name}.{node.attr}"] = enum.sets[node.attr]
            return Term(tuple_of(map(literal, values)), "set", enum)
        value = next((each for each in enum.values if node.attr in (each, enum.member(each))), None)
        if value is not None:
            return Term(literal(value), "enum", enum)
        near = suggestion(node.attr, [*enum.sets, *enum.values])
        raise ExpressionError(f"{enum.name} has no set or value {quote(node.attr)}{near}")

    def _unary(self, node: ast.UnaryOp) -> Term:
        if isinstance(node.op, ast.Not):
            return Term(f"(not {self._condition(node.operand)})", "bool")
        term = self.compile(node.operand)
        if not isinstance(node.op, ast.USub) or term.kind not in NUMBERS:
            raise ExpressionError(f"{quote(_text(node))} is not part of the expression language")
        if term.kind == EXACT:
            return Term(f"{self._exact()}.minus({self._number(term)})", EXACT)
        if term.literal is not None:
            return Term(f"(-{term.python})", term.kind, literal=-term.literal, written=f"-{term.written}")  # type: ignore[operator]
        return Term(f"(-{self._number(term)})", term.kind)

    def _arithmetic(self, node: ast.BinOp) -> Term:
        word = ARITHMETIC.get(type(node.op))
        if word is None:
            raise ExpressionError(
                f"{quote(_text(node))}: only +, - and * are part of the expression language"
            )
        left, right = self.compile(node.left), self.compile(node.right)
        for part, term in ((node.left, left), (node.right, right)):
            if term.kind not in NUMBERS:
                raise ExpressionError(f"{quote(_text(part))} is {a(term.kind)}, not a number")
        if EXACT in (left.kind, right.kind):
            left, right = self.alike(node.left, left, right), self.alike(node.right, right, left)
            if "float" in (left.kind, right.kind):
                raise ExpressionError(
                    f"{quote(_text(node))}: a float is not exact, so it does not mix with a decimal"
                )
            exact = f"{self._exact()}.{_EXACTLY[type(node.op)]}"
            return Term(f"{exact}({self._number(left)}, {self._number(right)})", EXACT)
        kind = "float" if "float" in (left.kind, right.kind) else "int"
        return Term(f"({self._number(left)} {word} {self._number(right)})", kind)

    def _exact(self) -> str:
        """The exact arithmetic of the runtime."""
        self.imported["keyweave.model.exact", "EXACT"] = None
        return "EXACT"

    def alike(self, node: ast.expr, term: Term, other: Term) -> Term:
        """Return a text or number as a constant of the other term's kind, where that kind has such constants."""
        numeric = isinstance(term.literal, int | float) and not isinstance(term.literal, bool)
        if other.kind not in _CONSTANTS or not term.written or (numeric and other.kind != EXACT):
            return term
        if numeric and "e" in term.written.lower():
            raise ExpressionError(f"{quote(_text(node))}: write a decimal without an exponent")
        value = constant(other.kind, term.written.replace("_", "") if numeric else term.written)
        if value is None:
            raise ExpressionError(f"{quote(_text(node))} is not {_CONSTANTS[other.kind]}")
        return Term(self._constant_of(value), other.kind)

    def _constant_of(self, value: Constant) -> str:
        module, name = origin(value)
        self.imported[module, name] = None
        if name == "datetime":
            self.imported[module, "UTC"] = None
        return python(value, name)

    def _number(self, term: Term) -> str:
        return f"({term.python} or 0)" if term.nullable else term.python

    def _comparison(self, node: ast.Compare) -> Term:
        parts: list[str] = []
        left = node.left
        for operator, right in zip(node.ops, node.comparators, strict=True):
            parts.append(self._compare(left, operator, right))
            left = right
        return Term(parts[0] if len(parts) == 1 else f"({' and '.join(parts)})", "bool")

    def _compare(self, left: ast.expr, operator: ast.cmpop, right: ast.expr) -> str:
        word = COMPARE[type(operator)]
        if isinstance(right, ast.List | ast.Tuple | ast.Set):
            return self._among(left, word, right)
        one, two = self.compile(left), self.compile(right)
        one, two = self.alike(left, one, two), self.alike(right, two, one)
        if "null" in (one.kind, two.kind):
            return self._null_test(left, one, word, two)
        if word in ("is", "is not"):
            raise ExpressionError("'is' compares with null only; use == or !=")
        if word in ("in", "not in"):
            return self._in_set(left, one, word, right, two)
        self._check_same(left, one, right, two)
        if word in ("<", "<=", ">", ">="):
            for part, term in ((left, one), (right, two)):
                if term.kind not in _ORDERED:
                    raise ExpressionError(f"{quote(_text(part))} is {a(term.kind)} and has no order")
        if one.literal is not None and two.literal is not None:
            # A type checker would call the comparison pointless, as it is.
            return repr(bool(_COMPARED[word](one.literal, two.literal)))
        if isinstance(two.literal, bool):
            word = "is" if word == "==" else "is not"
        if any(_has_one_value(term) for term in (one, two)):
            # A type checker knows the only value, and calls any comparison of it with a text pointless.
            texts = [f"str({term.python})" if _has_one_value(term) else term.python for term in (one, two)]
            nullable = (*one.nullable, *two.nullable)
            return guarded(Term(f"{texts[0]} {word} {texts[1]}", "bool", None, nullable))
        return _false_for_null(f"{one.python} {word} {two.python}", word, one, two)

    def _null_test(self, left: ast.expr, one: Term, word: str, two: Term) -> str:
        if word not in ("is", "is not") or two.kind != "null":
            raise ExpressionError("null is tested with 'is null' or 'is not null'")
        if one.kind == "null" or not one.python.startswith("record."):
            raise ExpressionError(f"{quote(_text(left))} is not a field, so it cannot be null")
        if not one.nullable:
            raise ExpressionError(f"{quote(_text(left))} is not optional, so it is never null")
        return f"({one.python} {word} None)"

    def _in_set(self, left: ast.expr, one: Term, word: str, right: ast.expr, two: Term) -> str:
        if two.kind != "set" or two.enum is None:
            raise ExpressionError(
                f"{quote(_text(right))} is not a set; write a list or a set such as Status.terminal"
            )
        if one.kind != "enum" or one.enum is None or one.enum.name != two.enum.name:
            raise ExpressionError(f"{quote(_text(left))} is not {a(two.enum.name)}")
        return _false_for_null(f"{one.python} {word} {two.python}", word, one, two)

    def _among(self, left: ast.expr, word: str, right: ast.List | ast.Tuple | ast.Set) -> str:
        if word not in ("in", "not in"):
            raise ExpressionError("a list is used with 'in' or 'not in'")
        one = self.compile(left)
        values = []
        for element in right.elts:
            term = self.compile(element)
            names = (part.id for part in ast.walk(element) if isinstance(part, ast.Name))
            if term.kind in ("null", "set") or any(name in self._fields for name in names):
                raise ExpressionError(f"{quote(_text(element))}: a list holds plain values")
            term = self.alike(element, term, one)
            self._check_same(left, one, element, term)
            values.append(term.python)
        if not values:
            raise ExpressionError("the list is empty")
        return _false_for_null(f"{one.python} {word} {tuple_of(values)}", word, one)

    def _check_same(self, left: ast.expr, one: Term, right: ast.expr, two: Term) -> None:
        for term, other, node in ((one, two, right), (two, one, left)):
            if term.enum is not None and isinstance(other.literal, str):
                if other.literal not in term.enum.values:
                    near = suggestion(other.literal, term.enum.values)
                    raise ExpressionError(f"{term.enum.name} has no value {quote(other.literal)}{near}")
                return
            if term.kind in ("list", SET_FIELD, "map", "record", "json", "set", "bytes"):
                raise ExpressionError(f"{quote(_text(node))}: {a(term.kind)} can only be compared with null")
        same = one.kind == two.kind and (
            one.enum is None or two.enum is None or one.enum.name == two.enum.name
        )
        if not same and not {one.kind, two.kind} <= NUMBERS:
            raise ExpressionError(
                f"cannot compare {quote(_text(left))} ({one.kind}) with {quote(_text(right))} ({two.kind})"
            )

    def _length(self, node: ast.Call) -> Term:
        if (
            not isinstance(node.func, ast.Name)
            or node.func.id != "len"
            or len(node.args) != 1
            or node.keywords
        ):
            raise ExpressionError(f"{quote(_text(node))}: the only function is len(field)")
        term = self.compile(node.args[0])
        if term.kind not in ("string", "bytes", "list", SET_FIELD, "map") or not re.match(
            r"record\.", term.python
        ):
            raise ExpressionError(
                f"len takes a string, bytes, list, set or map field, not {quote(_text(node.args[0]))}"
            )
        return Term(f"len({term.python} or ())" if term.nullable else f"len({term.python})", "int")


def _has_one_value(term: Term) -> bool:
    """Whether a term is a field of an enum that has one value."""
    return term.enum is not None and len(term.enum.values) == 1 and term.python.startswith("record.")


def _text(node: ast.expr) -> str:
    try:
        return ast.unparse(node)
    except (RecursionError, ValueError):
        return "..."
