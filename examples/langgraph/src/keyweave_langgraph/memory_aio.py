"""The asyncio long-term store: `keyweave_langgraph.memory` with `await`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
)

from agent_state import Item as Row
from agent_state import ItemNotFoundError
from agent_state.aio import Store
from keyweave.errors import ConflictError
from keyweave_langgraph import items
from keyweave_langgraph.results import require_all

_BATCH = 200


class AsyncKeyweaveStore(BaseStore):
    """Long-term memory of LangGraph in a store of `agent_state`. Any number of them, in any process, may share the store.

    A search returns the items that were put last first. It has no ranking: `query` and `index` have no effect, as in
    LangGraph's own stores without an index. Every method may raise `keyweave.errors.StoreUnavailableError` or a subclass.

    Args:
        store: an open store, which is not closed.
        ttl: the default time to live in minutes, and whether reads renew it. An item past its end is never returned.
        serde: encodes values that are no plain JSON; LangGraph's own by default.
    """

    __slots__ = ("_loop", "_serde", "_store", "ttl_config")

    supports_ttl = True

    def __init__(
        self, store: Store, *, ttl: TTLConfig | None = None, serde: SerializerProtocol | None = None
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._store = store
        self._serde = serde or JsonPlusSerializer()
        self.ttl_config = ttl

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations: reads first, then puts, the last one of each item. Each item is written in one atomic step.

        Raises:
            InvalidNamespaceError: a label is empty, no string, or contains a dot; nothing was written.
            ValueError: a filter, condition or operation is unknown; nothing was written.
        """
        asked = list(ops)
        results: list[Result] = [None] * len(asked)
        renewed: dict[items.ItemKey, Row] = {}
        puts: dict[items.ItemKey, PutOp] = {}
        gets = [items.item_key(op.namespace, op.key) for op in asked if isinstance(op, GetOp)]
        rows = iter(await self._store.items.get_many(gets))
        for position, op in enumerate(asked):
            if isinstance(op, GetOp):
                row = next(rows)
                results[position] = None if row is None else items.item_of(self._serde, row)
                if row is not None and op.refresh_ttl:
                    renewed[items.row_key(row)] = row
            elif isinstance(op, SearchOp):
                matching = await self._search(op)
                found: list[SearchItem] = [items.found_item(self._serde, row) for row in matching]
                results[position] = found
                if op.refresh_ttl:
                    renewed |= {items.row_key(row): row for row in matching}
            elif isinstance(op, ListNamespacesOp):
                keys = await self._store.items.by_prefix(items.fixed_prefix(op)).keys()
                results[position] = items.namespaces((namespace for namespace, _ in keys), op)
            elif isinstance(op, PutOp):
                puts[items.item_key(op.namespace, op.key)] = op
            else:
                raise ValueError(f"unknown operation {type(op).__name__}")
        now = datetime.now(UTC)
        new = [items.item_row(self._serde, op, now) for op in puts.values() if op.value is not None]
        gone = [key for key, op in puts.items() if op.value is None]
        await self._renew([row for key, row in renewed.items() if row.ttl is not None and key not in puts])
        require_all([*await self._store.items.upsert_many(new), *await self._store.items.delete_many(gone)])
        return results

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Carry out operations for code that runs in another thread than the store's event loop, such as a blocking node.

        Raises:
            RuntimeError: the thread is the event loop's own, which would wait for itself.
        """
        if _running_loop() is self._loop:
            raise RuntimeError(
                "a blocking call in the event loop of the store: await the method whose name begins with a"
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(list(ops)), self._loop).result()

    async def _search(self, op: SearchOp) -> list[Row]:
        wanted = op.offset + op.limit
        matching: list[Row] = []
        handle = self._store.items.by_prefix(items.namespace_text(op.namespace_prefix))
        async for batch in handle.batches(_BATCH if op.filter else max(1, min(wanted, _BATCH))):
            matching += [row for row in batch if items.is_wanted(self._serde, row, op)]
            if len(matching) >= wanted:
                break
        return matching[op.offset : wanted]

    async def _renew(self, rows: list[Row]) -> None:
        now = datetime.now(UTC)
        for row in rows:
            items.renew(row, now)
            try:
                await self._store.items.save(row)
            except (ConflictError, ItemNotFoundError):
                continue  # another read has renewed it, or a put has replaced or deleted it


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
