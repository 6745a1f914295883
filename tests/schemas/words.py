"""Names for random schemas: ordinary nouns, and those that Python, the runtime and generated code use themselves."""

from __future__ import annotations

import builtins
import keyword
import random
import re
import sys
from importlib import resources
from typing import Final

from keyweave_generator.modules.runtime import MODULE_OF, TYPES
from keyweave_generator.names import ARGUMENT_NAMES, MODULE_NAMES, STORE_NAMES, snake_case

NOUNS: Final = (
    "address agent amount batch bill book box branch bus calendar car category city class_name color company count "
    "country currency customer day device document email event factor file flag folder format gauge group hash host "
    "hour image index input item job key kind label language length level lines location member message meter month "
    "note number offer option order output owner page parent part payment person phone picture pipe plan point "
    "policy position price process product project property quota range rate reason record region report result role "
    "room route rule sale schedule score section session shelf shop size slot source stage state stock story street "
    "subject summary table tag task tax team text ticket time title token topic total track type unit url usage user "
    "value vendor version view visit volume wallet warehouse week weight window word year zone"
).split()

_TEMPLATES: Final = "\n".join(
    path.read_text(encoding="utf-8")
    for path in (resources.files("keyweave_generator") / "templates").iterdir()
)

TAKEN: Final = sorted(
    {
        *keyword.kwlist,
        *keyword.softkwlist,
        *dir(builtins),
        *sys.stdlib_module_names,
        *MODULE_OF,
        *TYPES,
        *ARGUMENT_NAMES,
        *MODULE_NAMES,
        *STORE_NAMES,
        *re.findall(r"[A-Za-z_][A-Za-z0-9_]*", _TEMPLATES),
        *"models errors package filters entities sync aio lua manifest keyspace init py typed revision created".split(),
        *"self cls record changed left right value values claim entry each name number group folder struct".split(),
        *"__init__ __slots__ __class__ _private a_ a__b _ a1 x Id ID IDs ÄRGER é 日本 naïve 1st".split(),
    }
)
"""Names that something of a generated package has."""


def lower(draw: random.Random) -> str:
    """A name for a field, view, set, check, constraint or group; one in fifty has no allowed form."""
    word = draw.choice(TAKEN) if draw.random() < 0.5 else draw.choice(NOUNS)
    if draw.random() < 0.02:
        return word
    if keyword.iskeyword(word):
        return lower(draw)
    plain = re.sub(r"[^a-z0-9_]", "", snake_case(word)).strip("_0123456789")
    plain = re.sub(r"__+", "_", plain) or "x"
    if draw.random() < 0.15:
        plain = f"{plain}_{draw.choice(NOUNS)}"
    return plain[:60].strip("_")


def pascal(draw: random.Random) -> str:
    """A name for an entity, enum or record; one in fifty has no allowed form."""
    word = draw.choice(TAKEN) if draw.random() < 0.5 else draw.choice(NOUNS)
    if draw.random() < 0.02:
        return word
    if draw.random() < 0.1:
        word += draw.choice(["Error", "Repository", "Filter", "_item"])
    parts = [re.sub(r"[^A-Za-z0-9]", "", part) for part in word.split("_")]
    made = "".join(part[:1].upper() + part[1:] for part in parts if part)
    return made[:60] if made[:1].isalpha() else f"X{made}"[:60]


VALUES: Final = [
    "1",
    "-1",
    "é",
    "日本",
    "",
    " ",
    "a b",
    "A",
    "a",
    "None",
    "true",
    "mro",
    '"',
    "'",
    "\\",
    "a\nb",
    "#",
    "%",
    ":",
]
"""Values of enums and texts that names, quotes or keys could trip over."""
