"""A folder for servers, which end with the process that started them, however it ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_GUARD: Final = Path(__file__).resolve().parent / "guard.py"


@contextmanager
def guarded(prefix: str) -> Iterator[Path]:
    """Yield a new temporary folder; at the end, kill the processes that work below it, and remove it.

    The same happens if this process is killed: a program of its own watches it.

    Args:
        prefix: of the folder's name.
    """
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    guard = subprocess.Popen([sys.executable, _GUARD, folder], stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield folder
    finally:
        guard.communicate()
