"""The engine's contract on PostgreSQL, to which Keyweave's results are compared. Nothing here stores data in Keyweave."""

from __future__ import annotations
