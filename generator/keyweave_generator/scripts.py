"""The Lua library: each script with its header and with everything that it includes.

No script depends on a schema, so all generated packages hold the same texts, and a server knows them by the same digests.

A source file begins with `--@ word text` lines. Those of a script are the only source of its header, so a script cannot
take a key or an argument that its header does not name. A file names the includes that it uses directly; an include may
have includes too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Final

from .stamp import NOTICE

INCLUDE: Final = "include/"
"""The folder of the files that other files include."""

_SUFFIX: Final = ".lua"

_SECTIONS: Final = {
    "key": "KEYS",
    "argument": "ARGV",
    "guard": "Guards",
    "row": "Rows",
    "entry": "Entries",
    "reply": "Replies",
}
"""Sections of a header: word of the source lines -> title."""


class ScriptError(Exception):
    """A script cannot be assembled. The mistake is in the library, not in a schema."""


@cache
def scripts() -> Mapping[str, str]:
    """Every script, ready to be loaded into a server: name -> text, sorted by name."""
    texts = sources()
    return {name: assemble(name, texts) for name in sorted(texts) if not name.startswith(INCLUDE)}


def sources() -> Mapping[str, str]:
    """Every source file of the library: path below `lua/`, without its suffix -> text."""
    return dict(_sources_in(resources.files(__package__) / "lua", ""))


def assemble(name: str, texts: Mapping[str, str]) -> str:
    """One script: its header, its includes and its body.

    Args:
        name: the script.
        texts: the source files, as `sources` gives them.

    Raises:
        ScriptError: an include is missing, or includes itself.
    """
    marks = _marks(texts[name])
    flags = " ".join(text for word, text in marks if word == "flags" and text)
    purpose = " ".join(text for word, text in marks if word == "purpose")
    lines = [
        f"#!lua flags={flags}" if flags else "#!lua",
        f"-- {NOTICE}. Do not edit.",
        f"-- {name}: {purpose}",
    ]
    for word, title in _SECTIONS.items():
        section = [f"--   {text}" for each, text in marks if each == word]
        if section:
            lines += ["--", f"-- {title}", *section]
    for path in includes(name, texts):
        lines += ["", _body(texts[path])]
    return "\n".join([*lines, "", _body(texts[name]), ""])


def includes(name: str, texts: Mapping[str, str]) -> tuple[str, ...]:
    """The paths of all includes of a script: each once, and after the includes that it uses itself.

    Raises:
        ScriptError: an include is missing, or includes itself.
    """
    ordered: dict[str, None] = {}
    _visit(name, texts, (), ordered)
    del ordered[name]
    return tuple(ordered)


def _visit(path: str, texts: Mapping[str, str], above: tuple[str, ...], ordered: dict[str, None]) -> None:
    """Add a file to `ordered`, after its includes. `above` leads from the script to the file."""
    trail = (*above, path)
    if path in above:
        raise ScriptError(
            f"{' -> '.join(trail)}: an include may not include itself, directly or through others"
        )
    if path not in texts:
        raise ScriptError(f"{' -> '.join(trail)}: there is no file {path}{_SUFFIX}")
    for word, text in _marks(texts[path]):
        if word == "include" and INCLUDE + text not in ordered:
            _visit(INCLUDE + text, texts, trail, ordered)
    ordered[path] = None


def _marks(text: str) -> list[tuple[str, str]]:
    """The `--@` lines of a source file: word and text."""
    marks = (line[3:].strip().partition(" ") for line in text.splitlines() if line.startswith("--@"))
    return [(word, rest.strip()) for word, _, rest in marks]


def _body(text: str) -> str:
    """A source file without its `--@` lines."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("--@")).strip()


def _sources_in(folder: Traversable, prefix: str) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _sources_in(entry, f"{prefix}{entry.name}/")
        elif entry.name.endswith(_SUFFIX):
            yield prefix + entry.name.removesuffix(_SUFFIX), entry.read_text(encoding="utf-8")
