"""Every rule, in the order in which the documentation lists them."""

from __future__ import annotations

from typing import Any, Final

from . import (
    of_check,
    of_entity,
    of_enum,
    of_field,
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

_MODULES: Final = (
    of_package,
    of_entity,
    of_field,
    of_presence,
    of_type,
    of_limit,
    of_enum,
    of_view,
    of_unique,
    of_reference,
    of_check,
    of_merge,
    of_retention,
    of_text,
)

RULES: Final[tuple[Rule[Any], ...]] = tuple(
    value for module in _MODULES for value in vars(module).values() if isinstance(value, Rule)
)
"""What `comparing` asks."""

IGNORE_UNUSED: Final = "IGNORE_UNUSED"
"""The id of what is said about an ignore that matches nothing; no comparison finds it."""

IGNORE_UNUSED_PURPOSE: Final = "An `ignore` of the package file silences nothing."
IGNORE_UNUSED_CATEGORY: Final = Category.SAFE
IGNORE_UNUSED_LEVEL: Final = Level.INFO
IGNORE_UNUSED_EFFECT: Final = Effect(action="Remove it, or correct it.")
