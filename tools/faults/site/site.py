"""The site of one round: the servers, the proxy and the writers, and the record of what happened to them."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tools.faults.history import Happening, Loss
from tools.faults.site.proxy import Proxy
from tools.faults.site.server import Server

if TYPE_CHECKING:
    from tools.faults.settings import Settings
    from tools.faults.writers.crew import Crew


class Site:
    """What faults of one round act on.

    Args:
        command: the words that start a server.
        folder: for the data of the servers.
        settings: of the round.
        crews: the processes of writers.

    Attributes:
        server: the primary that the proxy leads to.
        replica: its replica, until it is promoted.
        losses: when acknowledged writes may have been lost.
        happenings: what the faults did, and when.
        struck: how often each kind of fault happened.
    """

    def __init__(
        self, command: Sequence[str], folder: Path, settings: Settings, crews: Sequence[Crew]
    ) -> None:
        self.crews: Final = crews
        self.timeout: Final[float] = settings.options["timeout"]
        self.deadline: Final[float] = settings.options["deadline"]
        self.fsync: Final = settings.fsync
        self.losses: list[Loss] = []
        self.happenings: list[Happening] = []
        self.struck: Counter[str] = Counter()
        self.replica: Server | None = None
        self._ending: Final = threading.Event()
        self._lanes: Final = threading.local()
        self._seed: Final = settings.seed
        self._servers: list[Server] = []
        try:
            self.server = self._start(
                Server(command, folder / "primary", settings.fsync, listens=settings.replica)
            )
            if settings.replica:
                self.replica = self._start(Server(command, folder / "replica", settings.fsync, listens=False))
                self.replica.follow(self.server)
            self.proxy: Final = Proxy(self.server.socket, settings.seed)
        except BaseException:
            self._close_servers()
            raise

    def _start(self, server: Server) -> Server:
        self._servers.append(server)
        server.start()
        return server

    def enter_lane(self, name: str) -> None:
        """Let this thread draw from a source of chance of its own, so that lanes do not influence each other."""
        self._lanes.chance = random.Random(f"{self._seed} {name}")

    @property
    def chance(self) -> random.Random:
        """The source of chance of this thread's lane."""
        chance: random.Random = self._lanes.chance
        return chance

    def rest(self, least: float, most: float) -> None:
        """Wait for a time between two numbers of seconds; not at all once the campaign ends."""
        self._ending.wait(self.chance.uniform(least, most))

    def note(self, text: str) -> None:
        """Record something that happened."""
        self.happenings.append(Happening(time.monotonic(), text))

    def information(self, section: str) -> dict[str, Any]:
        """Return a section of the server's INFO."""
        with self.server.client() as client:
            found: dict[str, Any] = client.info(section)
            return found

    def end(self) -> None:
        """Let no fault wait any more."""
        self._ending.set()

    def close(self) -> None:
        """End the servers and the proxy."""
        self.end()
        try:
            self.proxy.close()
        finally:
            self._close_servers()

    def _close_servers(self) -> None:
        for server in self._servers:
            server.close()
