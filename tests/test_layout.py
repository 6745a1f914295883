"""The folders of tests mirror the packages: each package has a folder of tests of the same name, and the reverse."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TESTS: Final = ROOT / "tests"

MIRRORS: Final = {
    "runtime/keyweave": "tests",
    "generator/keyweave_generator": "tests/generator",
    "engine/compozy_engine": "tests/engine",
}
"""Package -> the folder of its tests. Each subpackage with code has the folder of the same name inside it."""

TESTED_ELSEWHERE: Final = {
    "runtime/keyweave/connection/direct": "the only channel: tests/connection tests it through a shell",
}
"""Packages without a folder of tests of their own, with the place of their tests and the reason."""

NO_MIRROR: Final = {
    "tests/contract": "what every implementation of the engine does",
    "tests/oracle": "the contract on PostgreSQL",
    "tests/parity": "random histories on both implementations",
    "tests/queries": "random queries on Keyweave and on PostgreSQL",
    "tests/differential": "random schemas: a store and a plain model",
    "tests/schemas": "random schemas through the generator",
    "tests/examples": "the applications in examples/ on servers that tests start",
    "tests/durability": "the option durable, and what killed servers lose",
    "tests/isolation": "sessions in every order of their steps",
    "tests/tenants": "the stores of tenants on one pool, and commands for all tenants",
    "tests/stress": "the concurrent tests of the contract, many times",
    "tests/operations": "dashboard, alerts, runbooks and the compose file",
    "tests/packaging": "the wheels",
    "tests/browser": "the studio in a headless Chromium",
    "tests/servers": "the servers that the tests start",
    "tests/pages": "the snippets of the pages",
    "tests/tools": "the benchmarks and the makers of pages in tools/",
    "tests/simulate": "the simulator in tools/simulate",
    "tests/faults": "the campaign of faults in tools/faults",
    "tests/generator/accepted": "a story for each schema in tests/cases/accepted",
}
"""Folders of tests that mirror no package, with what they test."""


def packages(home: str) -> set[str]:
    """The folders with code in and below a package: a module that is not empty, besides `__init__`."""
    return {
        path.parent.relative_to(ROOT).as_posix()
        for path in (ROOT / home).rglob("*.py")
        if path.name != "__init__.py" and path.read_text("utf-8").strip()
    }


def mirrors() -> dict[str, str]:
    """Every package with code -> the folder of tests that mirrors it."""
    return {
        package: package.replace(home, folder, 1)
        for home, folder in MIRRORS.items()
        for package in packages(home)
        if package not in TESTED_ELSEWHERE and "/project/" not in package
    }


def test_every_package_has_a_folder_of_tests() -> None:
    assert len(mirrors()) > 25
    without = {
        package: folder
        for package, folder in mirrors().items()
        if not list((ROOT / folder).glob("test_*.py"))
    }
    assert without == {}


def test_every_folder_of_tests_mirrors_a_package_or_is_listed() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in TESTS.rglob("test_*.py")}
    folders = {folder for folder in folders if not folder.startswith("tests/cases/")}
    assert folders - {*mirrors().values()} == {*NO_MIRROR}


def test_what_is_listed_exists() -> None:
    """An entry that no longer applies would hide the next exception."""
    for folder in (*MIRRORS, *MIRRORS.values(), *TESTED_ELSEWHERE, *NO_MIRROR):
        assert (ROOT / folder).is_dir(), folder
