"""Commands and replies in words, for a person who reads a schedule."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import Command, ServerError
from keyweave.model.entity import Package
from keyweave.store.script import scripts_of
from tools.simulate.clients.arena import arena

_WIDTH: Final = 160

_GUARDS: Final = frozenset(
    (
        "revision",
        "absent",
        "exists",
        "dead",
        "unchanged",
        "same",
        "missing",
        "gone",
        "free",
        "holds",
        "count",
        "member",
    )
)
"""With one of these words the guards of `apply` begin."""


@functools.cache
def _names() -> dict[str, str]:
    scripts = scripts_of(arena().scripts)
    return {word: name for name, script in scripts.items() for word in (script.sha, script.text)}


def know_scripts(package: Package) -> None:
    """Know the scripts of another package by their names too."""
    for name, script in scripts_of(package.scripts).items():
        _names()[script.sha] = _names()[script.text] = name


def command_in_words(command: Command, *, brief: bool = False) -> str:
    """A command; a script by its name, `apply` by its guards and rows."""
    verb, words = str(command[0]), command[1:]
    if verb not in ("EVALSHA", "EVAL"):
        if brief:
            return verb
        return _cut(" ".join([verb, *[_short(word) for word in words]]))
    name = _names().get(str(words[0]), "a script")
    text = f"{name} (EVAL)" if verb == "EVAL" else name
    count = int(words[1])
    keys, arguments = [_short(word) for word in words[2 : count + 2]], words[count + 2 :]
    if name not in ("apply", "free"):
        return text if brief else _cut(" ".join([text, *keys, "|", *[_short(word) for word in arguments]]))
    if brief:
        return f"{text} op {_short(arguments[0])}"
    again = " again" if arguments[8] == "again" else ""
    return (
        f"{text} op {_short(arguments[0])}{again} as number {_short(arguments[2])}: {_plan(keys, arguments)}"
    )


def _plan(keys: Sequence[str], arguments: Sequence[Any]) -> str:
    """Guards and rows of `apply`, as far as this format is known; else the words."""
    try:
        at = arguments.index("rows")
        first = next((place for place in range(at) if arguments[place] in _GUARDS), at)
        documents = keys[4 : int(arguments[3])]
        guards, rows = " ".join(_short(word) for word in arguments[first:at]), arguments[at + 1 :]
        bodies = " ".join(_short(word) for word in rows)
        return _cut(f"on {', '.join(documents) or 'entries'}; guards {guards}; rows {bodies}", 2 * _WIDTH)
    except (ValueError, IndexError, TypeError):
        return _cut(" ".join(_short(word) for word in arguments))


def answer_in_words(reply: Any) -> str:
    """A reply."""
    if isinstance(reply, ServerError):
        return f"refused: {_cut(reply.message, 60)}"
    if isinstance(reply, list):
        return _cut("[" + ", ".join(answer_in_words(each) for each in reply) + "]")
    return "nil" if reply is None else _short(reply) or "''"


def _short(word: Any) -> str:
    text = word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word)
    if text.startswith("{") and "}:" in text:
        return text.partition("}:")[2]
    return _cut(text, 120)


def _cut(text: str, width: int = _WIDTH) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
