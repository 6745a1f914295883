"""Puts the generated package `compozy_store` into the engine's distribution: it lies outside this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "compozy_store"


class StoreHook(BuildHookInterface[Any]):
    """Includes `generated/compozy_store` of the repository or, in an unpacked sdist, the copy beside this file."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folder to include. An editable installation reads it in place."""
        if version == "editable":
            return
        root = Path(self.root)
        beside = root / PACKAGE
        source = beside if beside.is_dir() else root.parent / "generated" / PACKAGE
        build_data["force_include"][str(source)] = PACKAGE
