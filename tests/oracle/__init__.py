"""The engine's contract on PostgreSQL: what "unchanged" is measured against. Nothing here stores through Keyweave."""

from __future__ import annotations
