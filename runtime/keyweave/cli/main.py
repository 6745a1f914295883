"""The entry point of the `keyweave` script. It imports nothing optional, so a missing extra is reported in one sentence."""

from __future__ import annotations

import gc
import os
import sys
from importlib.util import find_spec


def main() -> None:
    """Run the `keyweave` command on the process's arguments and exit with its status.

    Raises:
        SystemExit: always: 0 on success, 1 when a command fails or the extra `cli` is not installed,
            2 when the arguments are wrong.
    """
    if sys.argv[1:2] == ["health"]:  # a probe runs every few seconds
        gc.disable()  # all that it allocates lives until it exits, and collections cost it 3 %
        from keyweave.admin.probe import run

        status = run(sys.argv[2:], os.environ)
        if status is not None:
            sys.exit(status)
    missing = [name for name in ("typer", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"keyweave: the command line needs {' and '.join(missing)}, which the extra 'cli' installs:\n"
            "    pip install 'keyweave[cli]'"
        )

    from keyweave.cli.commands import assemble, installed

    assemble(installed(), "".join(sys.argv[1:2]))(prog_name="keyweave")
