"""What ends an operation whose beliefs about partitions are outdated."""

from __future__ import annotations

from keyweave.errors import StoreUnavailableError
from keyweave.store.context import Context
from keyweave.store.doubling import PartitionsMovedError


def outdated(context: Context) -> Exception:
    """Return the exception of a step that a partition has refused, because its rows move or have moved."""
    if context.doubling is not None:
        return PartitionsMovedError()
    return moving(context)


def moving(context: Context) -> StoreUnavailableError:
    """Return the error of an operation that cannot run, or did not come to an end in time, while partitions are doubled."""
    return StoreUnavailableError(
        f"the partitions of a group on the server at {context.address} are being doubled; try again"
    )
