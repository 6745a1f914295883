"""Keyweave's runtime, which generated repositories import. It knows no entity and imports no generated code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keyweave.errors import KeyweaveError
from keyweave.model.page import Page
from keyweave.model.record import Record, Value

if TYPE_CHECKING:
    from keyweave.integrity.drift import Report

__version__ = "0.1.0"

__all__ = ["KeyweaveError", "Page", "Record", "Report", "Value", "__version__"]


def __getattr__(name: str) -> Any:
    """Import `Report` on first access, so that a store that is never checked does not load the checker."""
    if name == "Report":
        from keyweave.integrity.drift import Report

        return Report
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
