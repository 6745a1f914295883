"""Writers that create rows until their server is gone, and remember which ones were acknowledged."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from compozy_store import Role, User
from compozy_store.sync import Store
from keyweave.errors import DurabilityError, KeyweaveError

WRITERS: Final = 8
_DEADLINE: Final = 5.0


class Crew:
    """Threads that create users in one store.

    Args:
        socket: of the server.
        durable: the option of the store.

    Attributes:
        acknowledged: ids of rows whose creation returned.
        unconfirmed: ids of those that raised DurabilityError.
    """

    def __init__(self, socket: Path, durable: str | None) -> None:
        self._store: Final = Store.open(f"unix://{socket}", durable=durable, deadline=_DEADLINE)
        self._ending: Final = threading.Event()
        self._threads: Final = [threading.Thread(target=self._run, args=(name,)) for name in range(WRITERS)]
        self.acknowledged: Final[list[str]] = []
        self.unconfirmed: Final[list[str]] = []

    def __enter__(self) -> Crew:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._store.close()  # a closed store ends the retries of its writers
        for thread in self._threads:
            thread.join()

    def _run(self, name: int) -> None:
        number = 0
        while not self._ending.is_set():
            key = f"{name}-{number}"
            number += 1
            try:
                self._store.users.create(user(key))
            except DurabilityError:
                self.unconfirmed.append(key)
            except KeyweaveError:
                return
            else:
                self.acknowledged.append(key)


def user(key: str) -> User:
    """Return a row."""
    return User(id=key, email=f"{key}@example.org", role=Role.USER)


def missing(socket: Path, keys: list[str]) -> list[str]:
    """Return those of these rows that are not on a server."""
    with Store.open(f"unix://{socket}") as store:
        return [key for key, row in zip(keys, store.users.get_many(keys), strict=True) if row is None]


def seconds_per_write(socket: Path, durable: str | None, count: int) -> float:
    """Return the median time of a write of a single writer, in seconds."""
    with Store.open(f"unix://{socket}", durable=durable) as store:
        times = sorted(_times(store, count))
    return times[len(times) // 2]


def _times(store: Store, count: int) -> Iterator[float]:
    for number in range(count):
        began = time.perf_counter()
        store.users.create(user(f"cost-{number}"))
        yield time.perf_counter() - began


@contextmanager
def writing(socket: Path, durable: str | None, seconds: float) -> Iterator[Crew]:
    """Let writers write for some time before the block, and until its end."""
    with Crew(socket, durable) as crew:
        time.sleep(seconds)
        yield crew
