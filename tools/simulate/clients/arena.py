"""The generated package of the simulation's own schema, made in a temporary folder when a process first asks for it."""

from __future__ import annotations

import copy
import functools
import importlib
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from keyweave.model.entity import Entity, Package
from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render

SCHEMA: Final = Path(__file__).resolve().parent.parent / "schema"


def arena() -> Package:
    """The package as it is generated now."""
    return generated(SCHEMA, "arena_store")


@functools.cache
def generated(schema: Path, name: str) -> Package:
    """The package of this name, of the schema in a folder, as it is generated now."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(schema.glob("*.yaml"))}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), render(load_sources(sources)))
        sys.path.insert(0, folder)
        try:
            package: Package = importlib.import_module(f"{name}.package").PACKAGE
        finally:
            sys.path.remove(folder)
    return package


def with_scripts(package: Package, scripts: Mapping[str, str]) -> Package:
    """The same package with other texts for some of its scripts."""
    other = copy.copy(package)
    other.scripts = {**package.scripts, **scripts}
    return other


@functools.cache
def kind(name: str) -> Entity[Any]:
    """An entity of the arena."""
    return arena().entities[name]
