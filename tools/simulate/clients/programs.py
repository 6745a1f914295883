"""Every program by its name on the menu."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Final

from tools.simulate.clients import (
    programs_families,
    programs_items,
    programs_many,
    programs_sums,
    programs_tickets,
)
from tools.simulate.clients.actor import Program
from tools.simulate.clients.menu import MENU

_MODULES: Final[tuple[ModuleType, ...]] = (
    programs_items,
    programs_sums,
    programs_families,
    programs_tickets,
    programs_many,
)


def _program(name: str) -> Callable[..., Program]:
    function = "sweep_" if name == "sweep" else name.replace(".", "_")
    found: Callable[..., Program] = next(
        getattr(module, function) for module in _MODULES if hasattr(module, function)
    )
    return found


PROGRAMS: Final[dict[str, Callable[..., Program]]] = {dish.name: _program(dish.name) for dish in MENU}
