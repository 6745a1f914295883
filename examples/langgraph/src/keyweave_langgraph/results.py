"""Results of writes of many rows."""

from __future__ import annotations

from collections.abc import Sequence

from keyweave.errors import KeyweaveError


def require_all(results: Sequence[object]) -> None:
    """Raise the first error among the results of a write of many rows.

    Raises:
        KeyweaveError: a row was not written.
    """
    for result in results:
        if isinstance(result, KeyweaveError):
            raise result
