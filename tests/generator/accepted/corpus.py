"""The accepted cases: a schema each, and the package that is generated from it, in a temporary folder.

A case with a golden tree has the expected package, without the parts that other files already have. The asyncio
flavour is the blocking one under a substitution, and the scripts, which are the same for every schema, stand in
`generated/compozy_store/lua`.
"""

from __future__ import annotations

import importlib
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

from keyweave_generator import render
from keyweave_generator.load import load_sources
from keyweave_generator.model import Schema

CASES: Final = Path(__file__).resolve().parent.parent.parent / "cases" / "accepted"
NAMES: Final = sorted(path.name for path in CASES.iterdir())
GOLDEN: Final = ("complete", "smallest")
"""The cases that have a golden tree."""


def sources(name: str) -> dict[str, str]:
    """The schema of a case: file name -> text."""
    return {path.name: path.read_text("utf-8") for path in sorted((CASES / name / "schema").glob("*.yaml"))}


def golden(name: str) -> Path:
    """The folder of a case that holds its golden tree."""
    return CASES / name / "expected"


@cache
def generated(name: str) -> dict[str, str]:
    """What the generator makes of a case: path -> text."""
    return render.render(load_sources(sources(name)))


def unformatted(schema: Schema) -> dict[str, str]:
    """The package of a schema, for tests that do not read it: formatting takes longest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(render, "laid_out", lambda text: text)
        return render.render(schema)


def written(schema: Schema, home: Path) -> ModuleType:
    """The package of a schema, imported from a folder; its name has to be new in the process."""
    for path, text in render.render(schema).items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text, encoding="utf-8")
    sys.path.insert(0, str(home))
    try:
        return importlib.import_module(schema.package)
    finally:
        sys.path.remove(str(home))


@cache
def package_name(name: str) -> str:
    """Import name of the package of a case."""
    return load_sources(sources(name)).package


class Corpus:
    """The packages of the cases below one folder. Each is written when it is first asked for."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def folder(self, name: str) -> Path:
        """The folder that holds the package of a case, and nothing else."""
        folder = self._home / name
        if not folder.exists():
            for path, text in generated(name).items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(text.encode())
        return folder

    def load(self, name: str) -> ModuleType:
        """The package of a case, with its two flavours imported."""
        package, folder = package_name(name), str(self.folder(name))
        sys.path.insert(0, folder)
        try:
            for flavour in ("sync", "aio"):
                importlib.import_module(f"{package}.{flavour}")
            return importlib.import_module(package)
        finally:
            sys.path.remove(folder)
