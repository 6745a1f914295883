"""The generated package that the campaign writes with: made once in a folder, and imported from there."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, Final

from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render

_SCHEMA: Final = Path(__file__).resolve().parent / "schema"
_NAME: Final = "trial_store"


def generate(folder: Path) -> None:
    """Generate the package into a folder."""
    sources = {path.name: path.read_text(encoding="utf-8") for path in sorted(_SCHEMA.glob("*.yaml"))}
    write(folder, render(load_sources(sources)))


def trial(folder: Path) -> Any:
    """Import the package from the folder in which it was generated. Its flavours are `sync` and `aio`."""
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    package = importlib.import_module(_NAME)
    for flavour in ("sync", "aio"):
        importlib.import_module(f"{_NAME}.{flavour}")
    return package
