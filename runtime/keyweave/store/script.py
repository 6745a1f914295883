"""Lua scripts, and the digests that identify them on a server."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final


class Script:
    """A Lua script and its digest, which identifies it on the server."""

    __slots__ = ("name", "sha", "text")

    def __init__(self, name: str, text: str) -> None:
        self.name: Final = name
        self.text: Final = text
        self.sha: Final = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


def scripts_of(texts: Mapping[str, str]) -> dict[str, Script]:
    """Return the scripts of a package by name, and `free`: a copy of `apply` for plans that only free memory.

    A server at its memory limit refuses scripts that may write, but it accepts `free`.
    """
    freeing = texts["apply"].replace("#!lua", "#!lua flags=allow-oom", 1)
    return {name: Script(name, text) for name, text in {**texts, "free": freeing}.items()}
