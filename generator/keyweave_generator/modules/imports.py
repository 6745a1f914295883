"""The imports of one generated module, collected while its texts are made."""

from __future__ import annotations

import sys
from collections.abc import Set
from dataclasses import dataclass, field
from typing import Final

from .runtime import MODULE_OF

_WHOLE: Final = ""
"""Represents the module itself among the names that are imported from it."""


@dataclass(slots=True)
class Imports:
    """Collects the names that a module uses, and prints the statements that import them.

    Each method that adds a name returns it as the module writes it, so that it can be used inside a piece of text.

    Attributes:
        classes: the module of the schema's enums and classes, such as `..models`; empty if it is this module.
        flavour: the flavour of the module, `sync` or `aio`; empty if it has none.
        taken: names that the schema gives to things of the module; what is imported steps aside.
        reserved: names that the module itself uses; imported enums and classes of the schema step aside.
    """

    classes: str = ""
    flavour: str = ""
    taken: frozenset[str] = frozenset()
    reserved: frozenset[str] = frozenset()
    _names: dict[str, set[tuple[str, str]]] = field(default_factory=dict)

    def use(self, module: str, name: str, *, alias: str = "") -> str:
        """Add `from module import name as alias`."""
        alias = alias or (f"{name}_" if name in self.taken else "")
        self._names.setdefault(module, set()).add((name, alias))
        return alias or name

    def module(self, module: str) -> str:
        """Add `import module`."""
        alias = f"{module}_" if module in self.taken else ""
        self._names.setdefault(module, set()).add((_WHOLE, alias))
        return alias or module

    def builtin(self, name: str) -> str:
        """A name that Python has without an import, unless the schema gives it to something of the module."""
        return self.use("builtins", name) if name in self.taken else name

    def runtime(self, name: str) -> str:
        """Add a name of the runtime, from the module that defines it."""
        module = MODULE_OF[name].format(flavour=self.flavour)
        plain = name.removeprefix("_")
        return self.use(module, plain, alias=name if name != plain else "")

    def aliased(self, name: str) -> str:
        """Add a function of the runtime under a name that no argument of a generated method has."""
        return self.use(MODULE_OF[name], name, alias=f"{name}_")

    def schema_class(self, name: str) -> str:
        """Add an enum or a class of the schema."""
        if not self.classes:
            return name
        return self.use(self.classes, name, alias=f"{name}_" if name in self.reserved else "")

    def __str__(self) -> str:
        groups: dict[int, list[str]] = {}
        for module in sorted(self._names, key=self._module_order):
            groups.setdefault(_group(module), []).extend(_statements(module, self._names[module]))
        return "\n\n".join(["from __future__ import annotations", *map("\n".join, groups.values())])

    def _module_order(self, module: str) -> tuple[int, int, str]:
        """By group, then from the outermost package inwards, then by name. Both flavours have one order."""
        name = module.lstrip(".")
        neutral = name.replace(f"keyweave.{self.flavour}.", "keyweave.{flavour}.")
        return (_group(module), len(name) - len(module), neutral)


def _statements(module: str, names: Set[tuple[str, str]]) -> list[str]:
    whole = [
        f"import {module} as {alias}" if alias else f"import {module}" for name, alias in names if not name
    ]
    aliased = sorted(f"from {module} import {name} as {alias}" for name, alias in names if name and alias)
    plain = sorted((name for name, alias in names if name and not alias), key=_name_order)
    return [*whole, *aliased, *([f"from {module} import {', '.join(plain)}"] if plain else [])]


def _group(module: str) -> int:
    """The standard library, then other packages, the runtime, and the generated package itself."""
    top = module.partition(".")[0]
    if not top:
        return 3
    if top == "keyweave":
        return 2
    return 0 if top in sys.stdlib_module_names else 1


def _name_order(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions and modules."""
    if name.isupper() and len(name) > 1:
        return (0, name)
    return (1 if name[:1].isupper() else 2, name)
