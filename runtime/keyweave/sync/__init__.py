"""The blocking flavour: shell, session, sweeper."""

from __future__ import annotations

from keyweave.sync.shell import Shell

__all__ = ["Shell"]
