"""Checkpoints as rows and back. Nothing here reads or writes the store, so both savers share it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint import base
from langgraph.checkpoint.base import CheckpointMetadata, CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from agent_state import ChannelValue, ChannelWrite, Checkpoint, TaskWrites
from agent_state.filters import CheckpointFilters
from keyweave.query import at_most

CheckpointKey = tuple[str, str, str]
"""The key of a checkpoint: thread, namespace, checkpoint."""

ValueKey = tuple[str, str, str, str]
"""The key of a channel value: thread, namespace, channel, version."""


class Place(NamedTuple):
    """What a configuration points at.

    Attributes:
        thread: the thread's id.
        namespace: the subgraph; empty for the graph itself.
        checkpoint: a checkpoint's id, or None for the latest one.
    """

    thread: str
    namespace: str
    checkpoint: str | None

    @classmethod
    def of(cls, config: RunnableConfig) -> Place:
        """Return what `config` points at.

        Raises:
            ValueError: it has no thread.
        """
        given = config.get("configurable", {})
        if not given.get("thread_id"):
            raise ValueError("the configuration has no thread_id")
        return cls(
            str(given["thread_id"]), str(given.get("checkpoint_ns") or ""), given.get("checkpoint_id") or None
        )

    def config(self) -> RunnableConfig:
        """Return the configuration that points here."""
        place = {"thread_id": self.thread, "checkpoint_ns": self.namespace}
        return {
            "configurable": place | ({} if self.checkpoint is None else {"checkpoint_id": self.checkpoint})
        }


def checkpoint_row(
    serde: SerializerProtocol,
    config: RunnableConfig,
    checkpoint: base.Checkpoint,
    metadata: CheckpointMetadata,
) -> Checkpoint:
    """Return the row of a checkpoint, which names the versions of its channels' values instead of holding them."""
    place = Place.of(config)
    values, versions = checkpoint["channel_values"], checkpoint["channel_versions"]
    described: dict[str, Any] = dict(base.get_checkpoint_metadata(config, metadata))
    kind, state = serde.dumps_typed({**checkpoint, "channel_values": {}})
    metadata_kind, packed = serde.dumps_typed(described)
    run = described.get("run_id")
    return Checkpoint(
        thread_id=place.thread,
        checkpoint_ns=place.namespace,
        checkpoint_id=checkpoint["id"],
        parent_id=place.checkpoint,
        run_id=None if run is None else str(run),
        channels={name: str(versions[name]) for name in values if name in versions},
        kind=kind,
        state=state,
        metadata_kind=metadata_kind,
        metadata=packed,
    )


def value_rows(
    serde: SerializerProtocol, row: Checkpoint, values: Mapping[str, Any], changed: Iterable[str]
) -> list[ChannelValue]:
    """Return the rows of the values of those channels in `changed` that have one."""
    rows = []
    for name in sorted(set(changed) & row.channels.keys()):
        kind, value = serde.dumps_typed(values[name])
        rows.append(
            ChannelValue(
                thread_id=row.thread_id,
                checkpoint_ns=row.checkpoint_ns,
                channel=name,
                version=row.channels[name],
                kind=kind,
                value=value,
            )
        )
    return rows


def key_of(row: Checkpoint | TaskWrites) -> CheckpointKey:
    """Return the key of a checkpoint, or of the checkpoint that a task belongs to."""
    return row.thread_id, row.checkpoint_ns, row.checkpoint_id


def value_keys(rows: Iterable[Checkpoint]) -> Iterator[ValueKey]:
    """The keys of all channel values that checkpoints have."""
    for row in rows:
        for channel, version in row.channels.items():
            yield row.thread_id, row.checkpoint_ns, channel, version


def metadata_of(serde: SerializerProtocol, row: Checkpoint) -> CheckpointMetadata:
    """Return the metadata that was put with a checkpoint."""
    metadata: CheckpointMetadata = serde.loads_typed((row.metadata_kind, row.metadata))
    return metadata


def filters_of(
    config: RunnableConfig | None, wanted: Mapping[str, Any] | None, before: RunnableConfig | None
) -> CheckpointFilters:
    """Return the filters by which the store can narrow a list. `matching` compares the rest."""
    filters: CheckpointFilters = {}
    if config is not None:
        place = Place.of(config)
        filters["thread_id"] = place.thread
        if config["configurable"].get("checkpoint_ns") is not None:
            filters["checkpoint_ns"] = place.namespace
        if place.checkpoint is not None:
            filters["checkpoint_id"] = place.checkpoint
    if wanted and isinstance(wanted.get("run_id"), str):
        filters["run_id"] = wanted["run_id"]
    older = base.get_checkpoint_id(before) if before is not None else None
    if older and "checkpoint_id" not in filters:
        filters["checkpoint_id"] = at_most(older)
    return filters


def matching(
    serde: SerializerProtocol,
    rows: Iterable[Checkpoint],
    wanted: Mapping[str, Any] | None,
    before: RunnableConfig | None,
) -> list[Checkpoint]:
    """Return the rows that are older than `before` and whose metadata has each wanted value."""
    older = base.get_checkpoint_id(before) if before is not None else None
    found = [row for row in rows if not older or row.checkpoint_id < older]
    return [row for row in found if not wanted or _has(metadata_of(serde, row), wanted)]


def _has(metadata: CheckpointMetadata, wanted: Mapping[str, Any]) -> bool:
    present: Mapping[str, Any] = dict(metadata)
    return all(present.get(name) == value for name, value in wanted.items())


def tuple_of(
    serde: SerializerProtocol,
    row: Checkpoint,
    values: Mapping[ValueKey, ChannelValue],
    tasks: Iterable[TaskWrites],
) -> CheckpointTuple:
    """Return a checkpoint as LangGraph reads it: with the values of its channels and its pending writes in their order."""
    place = Place(row.thread_id, row.checkpoint_ns, row.checkpoint_id)
    checkpoint: base.Checkpoint = serde.loads_typed((row.kind, row.state))
    found = ((key[2], values.get(key)) for key in value_keys([row]))
    checkpoint["channel_values"] = {
        name: serde.loads_typed((value.kind, value.value)) for name, value in found if value is not None
    }
    pending = sorted(
        (base.writes_sort_key(task.task_path, task.task_id, write.index), task.task_id, write)
        for task in tasks
        for write in task.writes
    )
    return CheckpointTuple(
        config=place.config(),
        checkpoint=checkpoint,
        metadata=metadata_of(serde, row),
        parent_config=place._replace(checkpoint=row.parent_id).config() if row.parent_id else None,
        pending_writes=[
            (task, write.channel, serde.loads_typed((write.kind, write.value))) for _, task, write in pending
        ],
    )


def encode_writes(serde: SerializerProtocol, writes: Sequence[tuple[str, Any]]) -> list[ChannelWrite]:
    """Return the writes of a task as they are stored."""
    encoded = []
    for position, (channel, given) in enumerate(writes):
        kind, value = serde.dumps_typed(given)
        index = base.WRITES_IDX_MAP.get(channel, position)
        encoded.append(ChannelWrite(index=index, channel=channel, kind=kind, value=value))
    return encoded


def merged_writes(present: Sequence[ChannelWrite], new: Sequence[ChannelWrite]) -> list[ChannelWrite]:
    """Return the writes of a task after it has written again.

    A repeated write to an ordinary channel is the same write and stays; a special channel, such as that of an error, takes
    the new value.
    """
    writes = {write.index: write for write in present}
    for write in new:
        if write.index < 0 or write.index not in writes:
            writes[write.index] = write
    return [writes[index] for index in sorted(writes)]


def next_version(current: str | None) -> str:
    """Return a later version of a channel.

    The number orders versions, which LangGraph compares as text. The random part keeps two branches of a thread apart, which count from the same number and
    must not share a value.
    """
    number = 0 if current is None else int(str(current).split(".")[0])
    return f"{number + 1:010}.{secrets.token_hex(6)}"
