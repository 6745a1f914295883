"""The safe expression language of checks, retention and derived values.

An expression is parsed, typed against the fields and written out again as Python. Nothing of its text is copied, so
nothing outside the language can run. Null never raises: a comparison or sum over an absent value is false or zero.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Mapping
from typing import Final

from .expression_compile import Compiler, ExpressionError, guarded
from .expression_terms import simple_terms
from .model import Enum, Expression, Field
from .problems import a, quote

_LONGEST: Final = 1000
_QUOTED: Final = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")


def compile_expression(
    source: str, fields: Mapping[str, Field], enums: Mapping[str, Enum], *, wants: str
) -> Expression:
    """Compile `source` over `fields`.

    Args:
        source: the text of the schema.
        fields: what names mean.
        enums: for members and sets.
        wants: `bool` for a rule or condition, `int` or `float` for a derived value.

    Raises:
        ExpressionError: syntax, an unknown name, or types that do not fit.
    """
    text = source.strip().replace("\n", " ")
    compiler = Compiler(fields, enums, text)
    tree = _parse(text)
    term = compiler.compile(tree)
    if wants == "bool" and term.kind != "bool":
        raise ExpressionError(f"the expression is {a(term.kind)}; it must be true or false")
    if wants == "float" and term.kind not in ("int", "float"):
        raise ExpressionError(f"the expression is {a(term.kind)}; it must be a number")
    if wants == "int" and term.kind != "int":
        raise ExpressionError(f"the expression is {a(term.kind)}; it must be an int, as the field is")
    python = guarded(term) if wants == "bool" and term.nullable else term.python
    if not compiler.used:
        raise ExpressionError("the expression uses no field")
    terms = simple_terms(tree, compiler) if wants == "bool" else None
    used, imported = tuple(compiler.used), tuple(compiler.imported)
    return Expression(text, python, used, imported, terms, compiler.sets)


def _parse(text: str) -> ast.expr:
    if len(text) > _LONGEST:
        raise ExpressionError(f"the expression is longer than {_LONGEST} characters")
    if "#" in _QUOTED.sub("", text):
        raise ExpressionError("an expression cannot contain a comment; use 'doc'")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except SyntaxError as error:
        near = text[max(0, (error.offset or 1) - 1) :][:20]
        raise ExpressionError(f"cannot read the expression near {quote(near or text[-20:])}") from None
    except (ValueError, RecursionError, MemoryError):
        raise ExpressionError("cannot read the expression") from None
