"""The asyncio shell of a tenant's store: the channel of its store, and a handshake of its own at the first run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keyweave.aio.lazy_shell import LazyShell
from keyweave.aio.shell import Shell
from keyweave.exchange.handshake import handshake
from keyweave.store.context import Context


class TenantShell(LazyShell):
    """Runs flows on the channel of another shell, and so on its event loop. Closing it closes nothing.

    Args:
        shell: the shell of the store.
        opened: the context of the store.
        context: the context of the tenant.
    """

    def __init__(self, shell: Shell, opened: Context, context: Context) -> None:
        async def begin(own: Shell, until: float | None) -> Callable[[], Awaitable[None]]:
            await shell.ready(until)
            context.learn_server(opened)
            await own.run(handshake(context), until=until)
            return _finish

        super().__init__(shell.channel, begin)

    async def aclose(self) -> None:
        """Do nothing: the channel belongs to the store."""


async def _finish() -> None:
    """Nothing is left to do after the handshake."""
