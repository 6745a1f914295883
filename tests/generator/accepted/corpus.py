"""The accepted cases: a schema each, and the tree that is generated from it, which is imported as it stands."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

CASES = Path(__file__).resolve().parent.parent.parent / "cases" / "accepted"
NAMES = sorted(path.name for path in CASES.iterdir())


def sources(name: str) -> dict[str, str]:
    """The schema of a case: file name -> text."""
    return {path.name: path.read_text("utf-8") for path in sorted((CASES / name / "schema").glob("*.yaml"))}


def expected(name: str) -> Path:
    """The folder of a case that holds the generated package."""
    return CASES / name / "expected"


def package_name(name: str) -> str:
    """Import name of the package of a case."""
    (folder,) = (path for path in expected(name).iterdir() if path.is_dir())
    return folder.name


def load_package(name: str) -> ModuleType:
    """The generated package of a case, with its two flavours imported."""
    package = package_name(name)
    sys.path.insert(0, str(expected(name)))
    try:
        for flavour in ("sync", "aio"):
            importlib.import_module(f"{package}.{flavour}")
        return importlib.import_module(package)
    finally:
        sys.path.remove(str(expected(name)))
