"""Ids for new rows: KSUIDs, which sort by the second in which they were made."""

from __future__ import annotations

from keyweave.model.ids import ksuid


def new_id() -> str:
    """A fresh KSUID: 27 base-62 characters."""
    return ksuid()
