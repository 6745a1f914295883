"""What ends an operation whose beliefs about partitions are outdated."""

from __future__ import annotations

from keyweave.errors import ConfigurationError, StoreUnavailableError
from keyweave.store.context import Context
from keyweave.store.doubling import PartitionsMovedError


def outdated(context: Context) -> Exception:
    """Return the exception of a step that a partition has refused, because its rows move or have moved."""
    if context.doubling is not None:
        return PartitionsMovedError()
    return moving(context)


def refuse_while_moving(context: Context, what: str) -> None:
    """Refuse to begin what writes rows or entries of a whole namespace while partitions are doubled.

    Raises:
        ConfigurationError: they are.
    """
    for group, doubling in context.keyspace.doublings.items():
        raise ConfigurationError(
            f"{what} has to wait: the repartition of the group {group} from {doubling.half} to {doubling.target} is unfinished; "
            f"run: keyweave repartition --group {group} --to {doubling.target}"
        )


def moving(context: Context) -> StoreUnavailableError:
    """Return the error of an operation that cannot run, or did not come to an end in time, while partitions are doubled."""
    return StoreUnavailableError(
        f"the partitions of a group on the server at {context.address} are being doubled; try again"
    )
