"""Parses the conditions that PostgreSQL prints for checks and partial indexes. What it does not know raises `UnknownSqlError`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, TypeAlias


class UnknownSqlError(ValueError):
    """A part of SQL that has no place in the language of schemas; the text names it."""


@dataclass(frozen=True, slots=True)
class Col:
    """A column, with the types to which it is cast, innermost first."""

    name: str
    casts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Const:
    """A constant: `text`, `number`, `bool` or `null`."""

    kind: str
    value: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function, or `ARRAY` with its elements."""

    name: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """An operator between two parts: a comparison, `+`, `-` or `*`."""

    word: str
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Among:
    """`left = ANY (array)`, or with `negated` `left <> ALL (array)`."""

    left: Node
    elements: tuple[Node, ...]
    negated: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """`part IS NULL`, or with `negated` `part IS NOT NULL`."""

    part: Node
    negated: bool


@dataclass(frozen=True, slots=True)
class IsTruth:
    """`part IS TRUE`, `IS NOT TRUE`, `IS FALSE` or `IS NOT FALSE`."""

    part: Node
    value: bool
    negated: bool


@dataclass(frozen=True, slots=True)
class Junction:
    """Parts joined by `and` or `or`."""

    word: str
    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The opposite of a part."""

    part: Node


@dataclass(frozen=True, slots=True)
class Unknown:
    """A part that was read, and for which the language has no words."""

    reason: str


Node: TypeAlias = Unknown | Col | Const | Call | Op | Among | IsNull | IsTruth | Junction | Not

_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<text>[eE]?'(?:[^']|'')*')|(?P<quoted>"(?:[^"]|"")*")|(?P<number>\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)"""
    r"""|(?P<word>[A-Za-z_\u0080-\U0010ffff][\w$]*)|(?P<sign>::|<>|<=|>=|[-+*/%<>=~!@#^&|?]+|[()\[\],.:]))""",
    re.DOTALL,
)
_COMPARISONS: Final = {"=", "<>", "<", "<=", ">", ">="}
_TYPE_WORDS: Final = {"varying", "precision", "with", "without", "time", "zone"}
_DEEPEST: Final = 60


def parse(text: str) -> Node:
    """Parse a condition or another expression.

    Raises:
        UnknownSqlError: it has a part that is not known.
    """
    parser = _Parser(_tokens(text))
    node = parser.disjunction()
    if parser.peek()[0]:
        raise UnknownSqlError(f"near {parser.peek()[1]!r}")
    return node


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, place = [], 0
    text = text.rstrip()
    while place < len(text):
        match = _TOKEN.match(text, place)
        if match is None or match.end() == place:
            raise UnknownSqlError(f"near {text[place : place + 20]!r}")
        kind = match.lastgroup or ""
        tokens.append((kind, match[kind]))
        place = match.end()
    return tokens


class _Parser:
    """Recursive descent, in the order in which operators bind."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        """The next token, or one behind it; empty at the end."""
        place = self._place + ahead
        return self._tokens[place] if place < len(self._tokens) else ("", "")

    def disjunction(self) -> Node:
        """Parts joined by OR."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UnknownSqlError("it is nested too deeply")
        parts = [self._conjunction()]
        while self._word("OR"):
            parts.append(self._conjunction())
        self._depth -= 1
        return parts[0] if len(parts) == 1 else Junction("or", tuple(parts))

    def _conjunction(self) -> Node:
        parts = [self._negation()]
        while self._word("AND"):
            parts.append(self._negation())
        return parts[0] if len(parts) == 1 else Junction("and", tuple(parts))

    def _negation(self) -> Node:
        if self._word("NOT"):
            return Not(self._negation())
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._sum()
        while True:
            kind, word = self.peek()
            if kind == "sign" and word in _COMPARISONS:
                self._place += 1
                if self._word("ANY"):
                    left = self._among(left, word, "=", negated=False)
                elif self._word("ALL"):
                    left = self._among(left, word, "<>", negated=True)
                else:
                    left = Op(word, left, self._sum())
            elif kind == "word" and word.upper() == "IS":
                self._place += 1
                left = self._is(left)
            elif kind == "sign" and word not in ")],":
                self._place += 1
                self._sum()
                left = Unknown(f"the operator {word}")
            else:
                return left

    def _is(self, left: Node) -> Node:
        negated = self._word("NOT")
        if self._word("NULL"):
            return IsNull(left, negated)
        for word, value in (("TRUE", True), ("FALSE", False)):
            if self._word(word):
                return IsTruth(left, value, negated)
        raise UnknownSqlError(f"IS {self.peek()[1]}")

    def _among(self, left: Node, word: str, wanted: str, *, negated: bool) -> Node:
        if word != wanted:
            raise UnknownSqlError(f"{word} {'ALL' if negated else 'ANY'}")
        self._expect("(")
        array = self.disjunction()
        self._expect(")")
        if not isinstance(array, Call) or array.name != "ARRAY" or not array.arguments:
            raise UnknownSqlError("ANY of something that is no list")
        return Among(left, array.arguments, negated)

    def _sum(self) -> Node:
        left = self._product()
        while self.peek() in (("sign", "+"), ("sign", "-")):
            word = self.peek()[1]
            self._place += 1
            left = Op(word, left, self._product())
        return left

    def _product(self) -> Node:
        left = self._unary()
        while self.peek() == ("sign", "*"):
            self._place += 1
            left = Op("*", left, self._unary())
        return left

    def _unary(self) -> Node:
        if self.peek() == ("sign", "-"):
            self._place += 1
            part = self._unary()
            if isinstance(part, Const) and part.kind == "number":
                return Const("number", f"-{part.value}")
            raise UnknownSqlError("a sign before something that is no number")
        return self._casts(self._primary())

    def _casts(self, node: Node) -> Node:
        while self.peek() == ("sign", "::"):
            self._place += 1
            name = self._type()
            if isinstance(node, Col):
                node = Col(node.name, (*node.casts, name))
            elif not isinstance(node, Const) and not (isinstance(node, Call) and node.name == "ARRAY"):
                raise UnknownSqlError(f"a cast to {name}")
            elif isinstance(node, Const) and node.kind == "text" and name in _NUMERIC:
                node = Const("number", node.value)
            elif isinstance(node, Const) and name == "boolean" and node.value in ("t", "true", "f", "false"):
                node = Const("bool", "true" if node.value in ("t", "true") else "false")
        return node

    def _type(self) -> str:
        parts = [self._name()]
        while self.peek() == ("sign", "."):
            self._place += 1
            parts.append(self._name())
        words = [parts[-1]]
        while self.peek()[0] == "word" and self.peek()[1] in _TYPE_WORDS:
            words.append(self.peek()[1])
            self._place += 1
        if self.peek() == ("sign", "("):
            while self.peek() != ("sign", ")"):
                if not self.peek()[0]:
                    raise UnknownSqlError("a type without an end")
                self._place += 1
            self._place += 1
            while self.peek()[0] == "word" and self.peek()[1] in _TYPE_WORDS:
                words.append(self.peek()[1])
                self._place += 1
        while self.peek() == ("sign", "[") and self.peek(1) == ("sign", "]"):
            self._place += 2
        return " ".join(words)

    def _name(self) -> str:
        kind, text = self.peek()
        self._place += 1
        if kind == "quoted":
            return text[1:-1].replace('""', '"')
        if kind == "word":
            return text
        raise UnknownSqlError(f"near {text!r}")

    def _primary(self) -> Node:
        kind, text = self.peek()
        if kind == "text":
            self._place += 1
            if text[0] in "eE":
                raise UnknownSqlError("a text with escapes")
            return Const("text", text[1:-1].replace("''", "'"))
        if kind == "number":
            self._place += 1
            return Const("number", text)
        if (kind, text) == ("sign", "("):
            self._place += 1
            node = self.disjunction()
            self._expect(")")
            return node
        if kind == "word" and text.upper() in ("TRUE", "FALSE", "NULL"):
            self._place += 1
            word = text.lower()
            return Const("null" if word == "null" else "bool", word)
        if kind == "word" and text == "ARRAY" and self.peek(1) == ("sign", "["):
            self._place += 2
            return Call("ARRAY", self._arguments("]"))
        if kind == "word" and text.lower() in ("case", "select", "row", "exists", "operator"):
            raise UnknownSqlError(text.upper())
        name = self._name()
        while self.peek() == ("sign", "."):
            self._place += 1
            name = self._name()
        if self.peek() == ("sign", "("):
            self._place += 1
            return Call(name, self._arguments(")"))
        return Col(name)

    def _arguments(self, end: str) -> tuple[Node, ...]:
        found: list[Node] = []
        while self.peek() != ("sign", end):
            found.append(self.disjunction())
            if self.peek() != ("sign", end):
                self._expect(",")
        self._place += 1
        return tuple(found)

    def _word(self, word: str) -> bool:
        kind, text = self.peek()
        if kind == "word" and text.upper() == word:
            self._place += 1
            return True
        return False

    def _expect(self, sign: str) -> None:
        if self.peek() != ("sign", sign):
            raise UnknownSqlError(f"near {self.peek()[1]!r}")
        self._place += 1


_NUMERIC: Final = {"integer", "bigint", "smallint", "numeric", "double precision", "real"}
