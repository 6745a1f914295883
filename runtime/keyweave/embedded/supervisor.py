"""Runs the embedded server and ends it with its last user. A program of its own: it imports nothing of ours.

    python supervisor.py RUN_FOLDER KEEP SERVER_LOCK SERVER ARGUMENT...

Every process that uses the server holds a shared lock on the users file of RUN_FOLDER, which the kernel drops
however that process ends, SIGKILL included. This program waits for the exclusive lock. Having it means that
nobody uses the server and that nobody can begin to; so it stops the server, and only then lets go.

KEEP is 1 when data must survive (stop with SIGTERM: everything acknowledged reaches the disk) and 0 when it
may go (SIGKILL). SERVER_LOCK is the number of an inherited, locked file that the server alone keeps open: as
long as it is locked, a server is alive.
"""

# Importing pathlib or contextlib would lengthen the time that every server takes to start.
# ruff: noqa: PTH108, PTH106, PTH208, SIM105

from __future__ import annotations

import fcntl
import os
import signal
import sys
from typing import NoReturn

USERS = "users.lock"
GRACE = 30
"""Seconds that a server may take to stop before it is killed."""


class _ServerEndedError(Exception):
    """The server ended unasked."""


class _GraceEndedError(Exception):
    """The server was asked to stop and did not."""


def main() -> int:
    """Start the server, wait until it has no users, stop it, and remove the run folder."""
    folder, keep, lock, *command = sys.argv[1:]
    users = os.open(f"{folder}/{USERS}", os.O_RDWR | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, _on_child)
    try:
        server = _started(int(lock), command)
        fcntl.flock(users, fcntl.LOCK_EX)
        _stop(server, signal.SIGTERM if keep == "1" else signal.SIGKILL)
    except _ServerEndedError:
        _reap()
    finally:
        _remove(folder)
    return 0


def _started(lock: int, command: list[str]) -> int:
    server = os.fork()
    if server == 0:
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.set_inheritable(lock, True)
            _die_with_parent()
            os.execv(command[0], command)  # noqa: S606
        finally:
            os._exit(127)
    os.close(lock)
    return server


def _die_with_parent() -> None:
    """Have the kernel end the server when this program is killed. Linux only: elsewhere its lock remains."""
    try:
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGTERM)
    except (ImportError, OSError, AttributeError):
        pass


def _stop(server: int, number: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGALRM, _on_alarm)
    os.kill(server, number)
    signal.alarm(GRACE)
    try:
        os.waitpid(server, 0)
    except _GraceEndedError:
        os.kill(server, signal.SIGKILL)
        os.waitpid(server, 0)


def _reap() -> None:
    """Not every container has a first process that collects orphans."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass


def _remove(folder: str) -> None:
    """Remove a flat folder."""
    try:
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
        os.rmdir(folder)
    except OSError:
        pass


def _on_child(*_: object) -> NoReturn:
    raise _ServerEndedError


def _on_alarm(*_: object) -> NoReturn:
    raise _GraceEndedError


if __name__ == "__main__":
    sys.exit(main())
