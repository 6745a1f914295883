"""The layout of generated Python: what black would make of it, in a small part of black's time.

A template prints each statement on one line. Here long lines are split and blank lines are counted. Only calls, literals,
imports and signatures are split here; a long line of another kind is given to black itself, alone. Tests compare whole
packages with black, so a difference is a mistake of this module.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

WIDTH: Final = 110
"""Columns of generated code."""

_INDENT: Final = 4
_CLOSING: Final = {")": "(", "]": "[", "}": "{"}
_OPERATORS: Final = re.compile(
    r"(?<![\w.])(?:and|or|not|in|is|if|else|for|await)(?!\w)|[|+<>/%@&^~!-]|==|(?<=\S) \*|\* (?=\S)"
)
_DOCSTRING: Final = '"""'
_OPENS_BLOCK: Final = re.compile(r"(?:class|def|async def|if|for) .*:\Z", re.DOTALL)
_DEFINES: Final = ("class ", "def ", "async def ", "@")


class _NotSimpleError(Exception):
    """A statement that only black can split."""


def laid_out(source: str) -> str:
    """The text of a module whose statements take one line each, as black formats it."""
    return _spaced(_statements(source.split("\n")))


def _statements(lines: list[str]) -> Iterator[str]:
    """Each statement on all of its lines, each docstring, and an empty text for each empty line."""
    rest = iter(lines)
    for line in rest:
        text = line.strip()
        if not text.startswith(_DOCSTRING):
            yield _fitted(line.rstrip())
            continue
        found = [line.rstrip()]
        while not found[-1].endswith(_DOCSTRING) or (
            found[-1].strip() == _DOCSTRING == text and len(found) == 1
        ):
            found.append(next(rest).rstrip())
        yield "\n".join(found)


def _spaced(statements: Iterable[str]) -> str:
    """Statements with the blank lines that black puts between them."""
    found: list[str] = []
    blank, before, depth = 0, "", 0
    for statement in statements:
        if not statement:
            blank += 1
            continue
        indent = len(statement) - len(statement.lstrip())
        text = statement.lstrip()
        defines = text.startswith(_DEFINES)
        if not before or before.startswith("@") or _OPENS_BLOCK.match(before):
            blank = 0
        elif indent == 0:
            blank = 2 if defines or depth > 0 else min(blank, 1)
        else:
            blank = 1 if defines else min(blank, 1)
        found += [*[""] * blank, statement]
        blank, before, depth = 0, text, indent
    return "\n".join([*found, ""])


def _fitted(line: str) -> str:
    """One statement on as many lines as it needs."""
    if _fits(line):
        return line
    text = line.lstrip()
    indent = len(line) - len(text)
    try:
        return "\n".join(_split(text, indent))
    except _NotSimpleError:
        return _by_black(text, indent)


def _fits(line: str) -> bool:
    return len(line) <= WIDTH if line.isascii() else 2 * len(line) <= WIDTH


def _split(text: str, indent: int) -> list[str]:
    if not text.isascii():
        raise _NotSimpleError
    if text.startswith(("def ", "async def ")):
        return _signature(text, indent)
    if text.startswith("from "):
        module, _, names = text.partition(" import ")
        return _bracketed(f"{module} import (", names, ")", indent, one_a_line=True)
    if text.startswith("if "):
        return _condition(text, indent)
    if text.startswith("for "):
        raise _NotSimpleError
    return _trailing_bracket(text, indent, "")


def _condition(text: str, indent: int) -> list[str]:
    """An `if` whose condition is several parts with `or` between them, and nothing else."""
    parts = text.removeprefix("if ").removesuffix(":").split(" or ")
    if len(parts) < 3 or any(character in text for character in "()[]{}\"'") or " and " in text:
        raise _NotSimpleError
    inner = " " * (indent + _INDENT)
    whole = inner + " or ".join(parts)
    lines = (
        [whole]
        if _fits(whole)
        else [f"{inner}{'or ' if number else ''}{part}" for number, part in enumerate(parts)]
    )
    return [f"{' ' * indent}if (", *lines, f"{' ' * indent}):"]


def _signature(text: str, indent: int) -> list[str]:
    start = text.index("(")
    end = _pairs(text)[start]
    names = text[start + 1 : end]
    if len(_parts(names)) < 2:
        raise _NotSimpleError
    return _bracketed(text[: start + 1], names, text[end:], indent)


def _trailing_bracket(text: str, indent: int, after: str) -> list[str]:
    """A piece that ends with a bracket, split at that bracket. `after` is the comma behind the piece, if there is one."""
    if text[-1:] not in _CLOSING:
        raise _NotSimpleError
    pairs = _pairs(text)
    start = next(opening for opening, closing in pairs.items() if closing == len(text) - 1)
    head, body = text[: start + 1], text[start + 1 : -1]
    annotated = re.match(r"\w+: list\[Entry\] = \[\Z", head)
    if not body or (not annotated and any(closing < start for closing in pairs.values())):
        raise _NotSimpleError
    literal = not head[:-1] or head[-2] in " =(,:[{"
    one_a_line = literal and len(_parts(body)) > 1
    return _bracketed(head, body.removesuffix(","), text[-1] + after, indent, one_a_line=one_a_line)


def _bracketed(head: str, body: str, tail: str, indent: int, *, one_a_line: bool = False) -> list[str]:
    """What is inside a pair of brackets, indented between them: on one line if it fits, or with a line for each part."""
    first, last = " " * indent + head, " " * indent + tail
    if not _fits(first) or not _fits(last):
        raise _NotSimpleError
    inner = indent + _INDENT
    if " for " in _outside_brackets(body):
        raise _NotSimpleError
    whole = " " * inner + body
    if _fits(whole) and not one_a_line:
        return [first, whole, last]
    parts = _parts(body)
    if len(parts) == 1 and not one_a_line:
        return [first, *_piece(body, inner, ""), last]
    return [first, *(line for part in parts for line in _piece(part, inner, ",")), last]


def _piece(text: str, indent: int, after: str) -> list[str]:
    """A part between commas."""
    line = f"{' ' * indent}{text}{after}"
    if _fits(line):
        return [line]
    plain = _outside_brackets(re.sub(r"^lambda \w+: ", "", text))
    if _OPERATORS.search(plain) or plain.count(".") > 1 or "lambda" in plain:
        raise _NotSimpleError
    return _trailing_bracket(text, indent, after)


def _marks(text: str) -> Iterator[tuple[int, str]]:
    """Place and character of everything in a text that is outside of string literals."""
    quote, escaped = "", False
    for place, character in enumerate(text):
        if quote:
            if escaped:
                escaped = False
            elif character == "\\":
                escaped = True
            elif character == quote:
                quote = ""
        elif character in "\"'":
            quote = character
        else:
            yield place, character


def _pairs(text: str) -> dict[int, int]:
    """Places of the opening brackets with those of the closing ones."""
    found: dict[int, int] = {}
    open_: list[int] = []
    for place, character in _marks(text):
        if character in "([{":
            open_.append(place)
        elif character in _CLOSING:
            found[open_.pop()] = place
    return found


def _parts(text: str) -> list[str]:
    """The parts of a text between its commas, without those inside brackets."""
    depth, start, found = 0, 0, []
    for place, character in _marks(text):
        if character in "([{":
            depth += 1
        elif character in _CLOSING:
            depth -= 1
        elif character == "," and not depth:
            found.append(text[start:place].strip())
            start = place + 1
    return [*found, text[start:].strip()]


def _outside_brackets(text: str) -> str:
    """A text without its string literals and without what is inside its brackets."""
    depth, found = 0, []
    for _, character in _marks(text):
        depth -= character in _CLOSING
        if not depth:
            found.append(character)
        depth += character in "([{"
    return "".join(found)


def _by_black(text: str, indent: int) -> str:
    """A statement as black formats it at a depth."""
    import black
    from black.mode import TargetVersion

    mode = black.Mode(line_length=WIDTH, target_versions={TargetVersion.PY311}, magic_trailing_comma=False)
    depth = indent // _INDENT
    above = "".join(f"{' ' * _INDENT * level}if 1:\n" for level in range(depth))
    block = text.endswith(":") and text.startswith((*_DEFINES, "if ", "for "))
    below = f"{' ' * (indent + _INDENT)}pass\n" if block else ""
    formatted = black.format_str(f"{above}{' ' * indent}{text}\n{below}", mode=mode)
    lines = formatted.rstrip("\n").split("\n")[depth:]
    while not lines[0]:  # black puts a blank line before a definition
        del lines[0]
    return "\n".join(lines[:-1] if block else lines)
