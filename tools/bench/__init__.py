"""Benchmarks; `make bench-core` runs them. They print, and judge only that both sides do the same work."""

from __future__ import annotations
