"""Every rule, in the order in which the documentation lists them."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import Any, Final

from . import (
    of_check,
    of_entity,
    of_enum,
    of_field,
    of_generation,
    of_limit,
    of_merge,
    of_package,
    of_presence,
    of_reference,
    of_retention,
    of_text,
    of_type,
    of_unique,
    of_view,
)
from .finding import Category, Effect, Level
from .rule import Rule

SECTIONS: Final[Mapping[str, ModuleType]] = {
    "The package": of_package,
    "Entities": of_entity,
    "Fields and names": of_field,
    "Optional, default, managed": of_presence,
    "Types": of_type,
    "Limits and values": of_limit,
    "Enums": of_enum,
    "Views": of_view,
    "Unique constraints": of_unique,
    "Generations of indexes": of_generation,
    "References and trees": of_reference,
    "Checks": of_check,
    "Merges": of_merge,
    "Retention": of_retention,
    "Texts and order": of_text,
}
"""The modules of rules, by the title of their section in the documentation."""


def rules_of(module: ModuleType) -> tuple[Rule[Any], ...]:
    """The rules of a module, in the order in which they are written."""
    return tuple(value for value in vars(module).values() if isinstance(value, Rule))


RULES: Final[tuple[Rule[Any], ...]] = tuple(rule for module in SECTIONS.values() for rule in rules_of(module))
"""Every rule."""

IGNORE_UNUSED: Final = "IGNORE_UNUSED"
"""The rule of an ignore that matches no finding. No pair of parts shows it, so `compare` does not apply it."""

IGNORE_UNUSED_PURPOSE: Final = "An `ignore` of the package file matches no finding."
IGNORE_UNUSED_CATEGORY: Final = Category.SAFE
IGNORE_UNUSED_LEVEL: Final = Level.INFO
IGNORE_UNUSED_EFFECT: Final = Effect(action="Remove it, or correct it.")
