"""The asyncio flavour: shell, session, sweeper."""

from __future__ import annotations

from keyweave.aio.shell import Shell

__all__ = ["Shell"]
