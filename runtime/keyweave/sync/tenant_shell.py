"""The blocking shell of a tenant's store: the channel of its store, and a handshake of its own at the first run."""

from __future__ import annotations

from collections.abc import Callable

from keyweave.exchange.handshake import handshake
from keyweave.store.context import Context
from keyweave.sync.lazy_shell import LazyShell
from keyweave.sync.shell import Shell


class TenantShell(LazyShell):
    """Runs flows on the channel of another shell. Closing it closes nothing.

    Args:
        shell: the shell of the store.
        opened: the context of the store.
        context: the context of the tenant.
    """

    def __init__(self, shell: Shell, opened: Context, context: Context) -> None:
        def begin(own: Shell, until: float | None) -> Callable[[], None]:
            shell.ready(until)
            context.learn_server(opened)
            own.run(handshake(context), until=until)
            return _finish

        super().__init__(shell.channel, begin)

    def _prepare(self, until: float | None) -> None:
        # Nothing is left to do once. So no lock is taken, which a forked child could inherit while another thread holds it.
        self._begin(Shell(self.channel), until)
        self._is_ready = True

    def close(self) -> None:
        """Do nothing: the channel belongs to the store."""


def _finish() -> None:
    """Nothing is left to do after the handshake."""
