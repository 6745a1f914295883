"""Where a row is in the indexes, by key: what the generated `index_places` returns."""

from __future__ import annotations

from typing import TypeAlias

from keyweave.model.entry import ClaimEntry, Score

Sets: TypeAlias = tuple[str, str, Score, list[str]]
"""Sorted sets in one order: the order as views name it, the row's member in them, its score, and the keys."""

Places: TypeAlias = tuple[list[Sets], list[ClaimEntry]]
"""The sorted sets that have a row, by order, in the order in which the entity's views first name them; and its claims."""
