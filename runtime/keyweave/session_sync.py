"""The blocking session: what generated repositories of this flavour run their flows in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from keyweave.announcing import announce
from keyweave.context import Context
from keyweave.effects import Flow
from keyweave.entity import Entity
from keyweave.flows.examining import connect
from keyweave.flows.handshaking import handshake
from keyweave.flows.tending import Pace
from keyweave.opening import prepare
from keyweave.page import Page
from keyweave.record import Record
from keyweave.sweeper_sync import Sweeper
from keyweave.sync import Shell
from keyweave.watching_sync import Runner, report, runner

R = TypeVar("R", bound=Record)
T = TypeVar("T")


class Session:
    """A shell and the context of its flows. Repositories of a transaction share the shell of their store."""

    __slots__ = ("_run", "_sweepers", "context", "run", "shell")

    def __init__(self, shell: Shell, context: Context) -> None:
        self.shell: Final = shell
        self.context: Final = context
        self._run: Final[Runner] = shell.run if context.unit is None else self._run_inside
        self.run: Final = self.runner()
        self._sweepers: list[Sweeper] = []

    def _run_inside(self, flow: Flow[T], *about: str) -> T:
        if self.context.unit is not None:
            self.context.unit.refuse_late_use()
        return self.shell.run(flow, *about)

    def runner(self, entity: Entity[Any] | None = None) -> Runner:
        """What runs the flows of an entity's repository, or of the store; see `keyweave.watching_sync`."""
        return runner(self._run, self.context, entity)

    def within(self, context: Context) -> Session:
        """A session on the same connections with another context."""
        return Session(self.shell, context)

    def sweeper(self, *, interval: float, share: float) -> Sweeper:
        """A sweeper on these connections, not started yet."""
        sweeper = Sweeper(self.shell, self.context, Pace(interval, share))
        self._sweepers.append(sweeper)
        return sweeper

    def close(self) -> None:
        """Stop every sweeper, then close the connections."""
        for sweeper in self._sweepers:
            sweeper.stop()
        self.shell.close()

    def iterate(
        self, next_page: Callable[[str | None], Flow[Page[R]]], run: Runner, *about: str
    ) -> Iterator[R]:
        """Every record of every page, reading a page when the one before is used up."""
        cursor: str | None = None
        while True:
            page = run(next_page(cursor), *about)
            for record in page.records:
                yield record
            cursor = page.cursor
            if cursor is None:
                return


def open_session(package: Any, url: str, *, connection_factory: Any = None, **options: Any) -> Session:
    """Connect to a store; options as for `keyweave.opening.prepare`.

    Raises:
        ConfigurationError: an option makes no sense.
        SchemaMismatchError: the namespace holds an index with another definition.
        StoreUnavailableError: the server cannot be used.
    """
    settings, context = prepare(package, url, **options)
    shell = Shell(settings, connection_factory=connection_factory)
    try:
        server = shell.run(connect(context))
        shell.run(handshake(context))
        report(shell, context)
    except BaseException:
        shell.close()
        raise
    announce(settings, context, server)
    return Session(shell, context)
