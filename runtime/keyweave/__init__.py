"""Keyweave's runtime: what generated repositories stand on. It knows no entity and imports no generated code."""

from __future__ import annotations

from keyweave.checking import Report
from keyweave.errors import KeyweaveError
from keyweave.page import Page
from keyweave.record import Record, Value

__version__ = "0.1.0"

__all__ = ["KeyweaveError", "Page", "Record", "Report", "Value", "__version__"]
