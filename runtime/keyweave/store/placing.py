"""What a store keeps for each partition, and what finds the partition of a row where a group has several."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from keyweave.changes.packed import RowPacker
from keyweave.effects import Flow
from keyweave.keyspace.keys import Partition
from keyweave.store.turns import Turns, WriteQueue

_MOST_HOMES: Final = 100_000
"""Most rows of an entity whose partitions are remembered."""


@dataclass(slots=True)
class Placing:
    """What is kept for one partition; for all of them in a store with one partition of each group.

    Attributes:
        view_prefixes: what the keys of each view begin with, by the name of the entity, then of the view.
        packers: what packs the plans that write one row, by the entity's name; None where plans are not packed.
        writers: callers that write one row, by entity name and key; see `keyweave.write.group`.
    """

    view_prefixes: dict[str, Mapping[str, str]] = field(default_factory=dict)
    packers: dict[str, RowPacker | None] = field(default_factory=dict)
    writers: Turns[WriteQueue] = field(default_factory=lambda: Turns(WriteQueue))


class KnownHomes:
    """The partitions of rows that this process met. A row does not move; another one of its key may be elsewhere later."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[str, dict[str, Partition]] = {}

    def get(self, entity: str, key: str) -> Partition | None:
        """Return where a row was met last, or None."""
        rows = self._found.get(entity)
        return rows.get(key) if rows is not None else None

    def put(self, entity: str, key: str, partition: Partition) -> None:
        """Remember where a row is."""
        rows = self._found.get(entity)
        if rows is None or len(rows) >= _MOST_HOMES:
            rows = self._found[entity] = {}
        rows[key] = partition

    def drop(self, entity: str, key: str) -> None:
        """Forget where a row was."""
        rows = self._found.get(entity)
        if rows is not None:
            rows.pop(key, None)


class Router(Protocol):
    """What runs the flows of repositories in the right partitions; `keyweave.partitioned` is it.

    Attributes:
        moving: whether rows move meanwhile, so that each operation has to run through `row`, `record` and the others.
    """

    moving: bool

    def row(
        self, flow: Callable[..., Flow[Any]], context: Any, entity: Any, key: str, *rest: Any, **options: Any
    ) -> Flow[Any]:
        """Run a flow that concerns the row with one key: `flow(context, entity, key, *rest, **options)`.

        The option `partition_value` is what the caller says that selects the row's partition, or None.
        """

    def known(self, context: Any, entity: Any, partition_value: Any) -> Any:
        """Return the context in the partition of a value, outside a transaction."""

    def for_save(self, context: Any, entity: Any, record: Any) -> Any:
        """Return the context in the partition of a record that is saved, outside a transaction.

        Raises:
            ValidationError: the record was loaded with another value of the field that selects the partition.
        """

    def record(
        self, flow: Callable[..., Flow[Any]], context: Any, entity: Any, record: Any, **options: Any
    ) -> Flow[Any]:
        """Run a flow that writes one record."""

    def several(
        self, flow: Callable[..., Flow[Any]], context: Any, entity: Any, given: Any, **options: Any
    ) -> Flow[list[Any]]:
        """Run a flow that takes several keys or records, and returns something for each of them; options as for `row`."""

    def claim(self, flow: Callable[..., Flow[Any]], context: Any, entity: Any, claim: Any) -> Flow[Any]:
        """Run a flow that looks a unique value up."""

    def query(self, flow: Callable[..., Flow[Any]], context: Any, query: Any, *rest: Any) -> Flow[Any]:
        """Run a flow that answers a query."""

    def groups(
        self, flow: Callable[..., Flow[Any]], context: Any, entity: Any, view: str, values: tuple[Any, ...]
    ) -> Flow[dict[str, int]]:
        """Run the flow that counts the groups of a view."""
