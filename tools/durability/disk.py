"""A server whose calls of fsync are written down, so that a loss of power can drop exactly what they had not reached."""

from __future__ import annotations

import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tools.faults.site.server import Server

_SOURCE: Final = Path(__file__).with_name("fsync.c")
_RECORD: Final = struct.Struct("QQ")


def compiled(folder: Path) -> Path:
    """Compile what is loaded into servers, and return the library.

    Raises:
        RuntimeError: there is no C compiler, or it fails.
    """
    compiler = shutil.which("cc")
    if compiler is None:
        raise RuntimeError(
            "durability: losses of power need a C compiler (cc), which writes down the server's fsyncs"
        )
    library = folder / "fsync.so"
    words = [compiler, "-O1", "-shared", "-fPIC", "-nostdlib", "-o", str(library), str(_SOURCE)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"durability: {_SOURCE.name} does not compile: {done.stderr}")
    return library


def watched(command: Sequence[str], library: Path, log: Path) -> list[str]:
    """Return the words that start a server whose fsyncs are written to a log."""
    return ["/usr/bin/env", f"LD_PRELOAD={library}", f"FSYNC_LOG={log}", *command]


def lose_power(server: Server, log: Path) -> int:
    """Kill a server and drop what is not on the disk. Returns how many bytes were dropped."""
    server.kill()
    flushed = dict(_RECORD.iter_unpack(log.read_bytes()))
    server.keep({path: flushed.get(path.stat().st_ino, 0) for path in server.sizes()})
    dropped, _ = server.cut(1.0, max(server.sizes().values()))
    return dropped
