"""Shells of both flavours, as for the tests of connections."""

from __future__ import annotations

from tests.connection.conftest import opened, store

__all__ = ["opened", "store"]
