"""Ends what a campaign leaves behind, however it ends, SIGKILL included. A program of its own: it imports nothing of Keyweave.

    python guard.py FOLDER

Waits until its stdin ends, as it does when the campaign closes it or is gone. Then it kills every process whose working
directory is below FOLDER, and removes FOLDER. Works where there is a /proc.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path


def main() -> None:
    """Wait, then end processes and remove the folder."""
    folder = Path(sys.argv[1]).resolve()
    sys.stdin.buffer.read()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            inside = folder in (process / "cwd").readlink().parents
        except OSError:
            continue  # it has ended, or belongs to another user
        if inside:
            os.kill(int(process.name), signal.SIGKILL)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
