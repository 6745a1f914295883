"""Sharing an error: several callers of one plan each get an error of their own, because raising one modifies it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from keyweave.changes.unsettled import Fate, Unsettled
from keyweave.errors import KeyweaveError, OutcomeUnknownError


def another(error: KeyweaveError) -> KeyweaveError:
    """Return the same error for another row."""
    # A copy would call constructors, which have arguments of their own.
    same = type(error).__new__(type(error), *error.args)
    same.__dict__ |= error.__dict__
    same.__cause__ = error.__cause__
    return same


def unknown_for(error: OutcomeUnknownError, result: Any, fate: Fate | None = None) -> KeyweaveError:
    """Return the error of one caller of a plan whose outcome is unknown; settling it settles those of the others.

    Args:
        result: what the caller would have got.
        fate: what became of the plan, if its callers share it already.
    """
    same = another(error)
    if isinstance(error.unsettled, Unsettled) and isinstance(same, OutcomeUnknownError):
        same.unsettled = replace(error.unsettled, result=result, fate=fate or error.unsettled.fate)
    return same
