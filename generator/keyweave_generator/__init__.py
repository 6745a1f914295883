"""Keyweave's generator: YAML schemas become typed repositories and Lua scripts. Nothing here runs in production."""

from __future__ import annotations

__all__: list[str] = []
