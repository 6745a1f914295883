"""The tools themselves: what the benchmarks compare and compute, and the pages that are made from code."""

from __future__ import annotations
