"""Ports of loopback for servers that are killed and find the same port free again.

A port is reserved by a lock on a file that all test processes of this machine know, so that two of them never choose the same
port. The kernel releases the lock with the process. Ports are below those that the kernel gives to outgoing connections.
"""

from __future__ import annotations

import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import Final

_RANGE: Final = (10_000, 32_000)
_FOLDER: Final = Path(tempfile.gettempdir()) / f"keyweave-ports-{os.getuid()}"
_RANDOM: Final = random.SystemRandom()


class Port:
    """A reserved port, until `release`.

    Attributes:
        number: of the port.
    """

    def __init__(self, number: int, lock: int) -> None:
        self.number: Final = number
        self._lock: int | None = lock

    def release(self) -> None:
        """Let other processes reserve the port."""
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def reserve_port() -> Port:
    """Reserve a port on which no program listens."""
    _FOLDER.mkdir(mode=0o700, exist_ok=True)
    while True:
        number = _RANDOM.randrange(*_RANGE)
        lock = os.open(_FOLDER / str(number), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if _locked(lock) and _free(number):
            return Port(number, lock)
        os.close(lock)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free(number: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", number)).close()
    except OSError:
        return False
    return True
