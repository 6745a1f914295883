"""Whether rows have moved to other partitions while something read the whole namespace."""

from __future__ import annotations

from typing import Final

from keyweave.effects import Flow
from keyweave.errors import StoreUnavailableError
from keyweave.exchange.handshake import learn_numbers
from keyweave.store.context import Context


class Numbers:
    """The numbers of partitions when something began that only reads.

    Args:
        context: of the namespace.
    """

    def __init__(self, context: Context) -> None:
        self._context: Final = context
        self._before: Final = self._now()

    def _now(self) -> tuple[object, object]:
        return self._context.keyspace.numbers, dict(self._context.keyspace.doublings)

    def require_same(self, what: str) -> Flow[None]:
        """Check that no rows have moved to other partitions since: they may have been left out, or read twice.

        Raises:
            StoreUnavailableError: some have.
        """
        yield from learn_numbers(self._context)
        if self._now() != self._before:
            raise StoreUnavailableError(
                f"rows moved to other partitions during {what}, because keyweave repartition is running; run it again afterwards"
            )
