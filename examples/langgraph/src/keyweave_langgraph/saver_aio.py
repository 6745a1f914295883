"""The asyncio checkpoint saver: `keyweave_langgraph.saver` with `await`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint import base
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    CheckpointMetadata,
    CheckpointTuple,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from msgspec.structs import replace

from agent_state import Checkpoint, CheckpointNotFoundError, TaskWrites, Thread, ThreadNotFoundError
from agent_state.aio import Store, Transaction
from keyweave.errors import AlreadyExistsError, ConflictError, ReferenceViolationError
from keyweave.query import one_of
from keyweave_langgraph import checkpoints, history
from keyweave_langgraph.checkpoints import Place, key_of
from keyweave_langgraph.results import require_all

_BATCH = 20
"""Checkpoints that a list reads at a time, with the values of their channels."""


class AsyncKeyweaveSaver(BaseCheckpointSaver[str]):
    """Checkpoints of LangGraph in a store of `agent_state`. Any number of savers and processes may share the store.

    Every method may raise `keyweave.errors.StoreUnavailableError` or a subclass. A write that raised another error than
    `OutcomeUnknownError` has changed nothing, unless its description says that it has several steps.

    Args:
        store: an open store. The saver does not close it.
        expire: whether new threads end after a time without use. The time is the store's retention of `Thread`.
        refresh_on_read: whether `aget_tuple` counts as a use of such a thread; `aput` always does.
        serde: encodes values, metadata and writes; LangGraph's own by default.
    """

    def __init__(
        self,
        store: Store,
        *,
        expire: bool = False,
        refresh_on_read: bool = True,
        serde: SerializerProtocol | None = None,
    ) -> None:
        super().__init__(serde=serde)
        self._store = store
        self._expire = expire
        self._refresh = refresh_on_read

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or the latest one of its thread and namespace; None if there is none."""
        place = Place.of(config)
        while True:
            row = await self._find(place)
            found = await self._tuples([] if row is None else [row])
            if found or row is None:
                # Asked last: what belongs to a thread that is there now was there all the time.
                return found[0] if found and await self._use(place.thread) else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002 - LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The checkpoints that match, latest first. Listing a thread does not count as a use of it.

        Args:
            config: a thread, and possibly a namespace and a checkpoint; None for all threads.
            filter: values that the metadata has.
            before: only checkpoints that are older than the one that this names.
            limit: their greatest number.
        """
        filters = checkpoints.filters_of(config, filter, before)
        handle = self._store.checkpoints.where(**filters).order_by("checkpoint_id").reverse().scan()
        left = float("inf") if limit is None else limit
        if left <= 0:
            return
        async for batch in handle.batches(_BATCH if filter else int(min(left, _BATCH))):
            rows = await self._tuples(checkpoints.matching(self.serde, batch, filter, before))
            names = sorted({found.config["configurable"]["thread_id"] for found in rows})
            threads = {
                thread.thread_id for thread in await self._store.threads.get_many(names) if thread is not None
            }
            for found in rows:
                if found.config["configurable"]["thread_id"] in threads:
                    yield found
                    left -= 1
                    if left <= 0:
                        return

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: base.Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Store a checkpoint and the values of the changed channels, and renew the thread's deadline, in one atomic step."""
        row = checkpoints.checkpoint_row(self.serde, config, checkpoint, metadata)
        values = checkpoint["channel_values"]
        changed = checkpoints.value_rows(self.serde, row, values, new_versions)

        async def write(tx: Transaction) -> None:
            thread = await tx.threads.find(row.thread_id)
            if thread is None:
                await _begin(tx, row.thread_id, self._expire)
            elif thread.temporary:
                await tx.threads.save(thread)
            if thread is None or not await _has_parent(tx, row):
                # What this step has not changed may have ended, or may have been removed, with the step before it.
                await tx.channel_values.upsert_many(
                    checkpoints.value_rows(self.serde, row, values, row.channels)
                )
            else:
                for value in changed:
                    await _put(tx.channel_values, value)
            await _put(tx.checkpoints, row)

        await self._store.transact(write)
        return Place(row.thread_id, row.checkpoint_ns, row.checkpoint_id).config()

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task has written, in one atomic step. Storing it again changes nothing."""
        place = Place.of(config)
        checkpoint_id: str = config["configurable"]["checkpoint_id"]
        new = checkpoints.encode_writes(self.serde, writes)

        async def write(tx: Transaction) -> None:
            row = TaskWrites(
                thread_id=place.thread,
                checkpoint_ns=place.namespace,
                checkpoint_id=checkpoint_id,
                task_id=task_id,
                task_path=task_path,
                writes=checkpoints.merged_writes([], new),
            )
            try:
                await tx.task_writes.create(row)
            except ReferenceViolationError:
                await _begin(tx, place.thread, self._expire)
                await tx.task_writes.create(row)
            except AlreadyExistsError:
                present = await tx.task_writes.get(place.thread, place.namespace, checkpoint_id, task_id)
                present.writes = checkpoints.merged_writes(present.writes, new)
                await tx.task_writes.save(present)

        await self._store.transact(write)

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete a thread with everything that belongs to it. More than 500 rows are deleted in several steps, the thread last."""
        await self._store.threads.discard(str(thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Delete the checkpoints that these runs have made, with their writes and what only they used, in several steps."""
        runs = {str(run) for run in run_ids}
        threads = {row.thread_id for run in sorted(runs) async for row in self._store.checkpoints.by_run(run)}
        for thread in sorted(threads):
            await self._remove(thread, lambda rows: [row for row in rows if row.run_id in runs])

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy a thread with its history, in several steps: the checkpoints last, oldest first."""
        source, target, store = str(source_thread_id), str(target_thread_id), self._store
        if source == target or not await store.threads.exists(source):
            return
        if not await store.threads.exists(target):
            await store.threads.upsert(Thread(thread_id=target, temporary=self._expire))
        async for values in store.channel_values.by_thread(source).batches():
            require_all(
                await store.channel_values.upsert_many(replace(row, thread_id=target) for row in values)
            )
        async for tasks in store.task_writes.by_thread(source).batches():
            require_all(await store.task_writes.upsert_many(replace(row, thread_id=target) for row in tasks))
        async for rows in store.checkpoints.by_thread(source).reverse().batches():
            require_all(await store.checkpoints.upsert_many(replace(row, thread_id=target) for row in rows))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove history: `keep_latest` keeps the latest checkpoint of each namespace and what it needs, `delete` nothing.

        A thread is pruned in several steps, each of which leaves a complete history.

        Raises:
            ValueError: there is no such strategy.
        """
        if strategy not in ("keep_latest", "delete"):
            raise ValueError(f"unknown strategy {strategy!r}: must be keep_latest or delete")
        for thread in dict.fromkeys(str(thread) for thread in thread_ids):
            if strategy == "delete":
                await self.adelete_thread(thread)
            else:
                await self._remove(thread, lambda rows: history.outdated(self.serde, rows))

    def get_next_version(self, current: str | None, channel: None) -> str:
        """A later version of a channel."""
        return checkpoints.next_version(current)

    async def _find(self, place: Place) -> Checkpoint | None:
        if place.checkpoint is not None:
            return await self._store.checkpoints.find(place.thread, place.namespace, place.checkpoint)
        return await self._store.checkpoints.by_namespace(place.thread, place.namespace).first()

    async def _tuples(self, rows: builtins.list[Checkpoint]) -> builtins.list[CheckpointTuple]:
        """Return checkpoints with their values and writes, without those that have been removed in the meantime."""
        keys = list(dict.fromkeys(checkpoints.value_keys(rows)))
        found = zip(keys, await self._store.channel_values.get_many(keys), strict=True)
        values = {key: value for key, value in found if value is not None}
        tasks: dict[checkpoints.CheckpointKey, builtins.list[TaskWrites]] = {key_of(row): [] for row in rows}
        for (thread, namespace), group in groupby(sorted(tasks), lambda key: key[:2]):
            ids = one_of(*(key[2] for key in group))
            query = self._store.task_writes.where(
                thread_id=thread, checkpoint_ns=namespace, checkpoint_id=ids
            )
            async for task in query:
                tasks[key_of(task)].append(task)
        if len(values) < len(keys):
            # A checkpoint is removed before its values.
            present = await self._store.checkpoints.get_many([key_of(row) for row in rows])
            rows = [row for row, now in zip(rows, present, strict=True) if row == now]
        return [checkpoints.tuple_of(self.serde, row, values, tasks[key_of(row)]) for row in rows]

    async def _use(self, thread_id: str) -> bool:
        """Return whether a thread is there, and renew its deadline."""
        thread = await self._store.threads.find(thread_id)
        if thread is not None and thread.temporary and self._refresh:
            try:
                await self._store.threads.save(thread)
            except ThreadNotFoundError:
                return False
            except ConflictError:
                pass  # another use came first
        return thread is not None

    async def _remove(
        self, thread: str, choose: Callable[[builtins.list[Checkpoint]], builtins.list[Checkpoint]]
    ) -> None:
        """Delete the checkpoints that `choose` returns, with their writes and values that no other checkpoint has."""
        store = self._store
        # Values come first: one that a later put stores is not among them.
        values = await store.channel_values.by_thread(thread).keys()
        tasks = await store.task_writes.by_thread(thread).keys()
        rows = await store.checkpoints.by_thread(thread).list()
        removed = {key_of(row) for row in choose(rows)}
        require_all(await store.checkpoints.delete_many(sorted(removed)))
        # Read again: until then, a child of a removed checkpoint could be stored that has some of its values.
        kept = await store.checkpoints.by_thread(thread).list()
        require_all(await store.task_writes.delete_many(key for key in tasks if key[:3] in removed))
        require_all(await store.channel_values.delete_many(history.unused(values, kept)))
        if not kept:
            await store.transact(lambda tx: _end_if_empty(tx, thread))


async def _begin(tx: Transaction, thread_id: str, temporary: bool) -> None:
    """Create a thread, unless another writer has done so since it was looked up."""
    with suppress(AlreadyExistsError):
        await tx.threads.create(Thread(thread_id=thread_id, temporary=temporary))


async def _put(repository: Any, row: Any) -> None:
    """Store a row: a new one without an exchange of its own, because the commit checks it."""
    try:
        await repository.create(row)
    except AlreadyExistsError:
        await repository.upsert(row)


async def _has_parent(tx: Transaction, row: Checkpoint) -> bool:
    """Return whether a row's parent is there, and stays until the commit; True for a row without a parent."""
    if row.parent_id is None:
        return True
    try:
        await tx.checkpoints.require(row.thread_id, row.checkpoint_ns, row.parent_id)
    except CheckpointNotFoundError:
        return False
    return True


async def _end_if_empty(tx: Transaction, thread_id: str) -> None:
    thread = await tx.threads.find(thread_id)
    if (
        thread is None
        or await tx.checkpoints.by_thread(thread_id).exists()
        or await tx.task_writes.by_thread(thread_id).exists()
    ):
        return
    await tx.threads.delete(thread_id)
