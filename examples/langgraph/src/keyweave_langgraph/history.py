"""Which checkpoints of a thread pruning keeps, and which channel values nothing uses any more."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from langgraph.checkpoint.serde.base import SerializerProtocol

from agent_state import Checkpoint
from keyweave_langgraph.checkpoints import ValueKey, metadata_of, value_keys


def outdated(serde: SerializerProtocol, rows: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the checkpoints of a thread that its latest ones do not need.

    The latest of each namespace stays. A delta channel has no value of its own in most checkpoints: it is rebuilt from the
    writes since its last snapshot. So the ancestors back to that snapshot stay as well.
    """
    by_place = {(row.checkpoint_ns, row.checkpoint_id): row for row in rows}
    latest: dict[str, Checkpoint] = {}
    for row in rows:
        if row.checkpoint_ns not in latest or row.checkpoint_id > latest[row.checkpoint_ns].checkpoint_id:
            latest[row.checkpoint_ns] = row
    needed = set()
    for row in latest.values():
        open_deltas = set(metadata_of(serde, row).get("counters_since_delta_snapshot", {}))
        ancestor: Checkpoint | None = row
        while ancestor is not None:
            needed.add((ancestor.checkpoint_ns, ancestor.checkpoint_id))
            open_deltas -= ancestor.channels.keys()
            if not open_deltas:
                break
            ancestor = by_place.get((ancestor.checkpoint_ns, ancestor.parent_id or ""))
    return [row for place, row in by_place.items() if place not in needed]


def unused(values: Iterable[ValueKey], rows: Iterable[Checkpoint]) -> list[ValueKey]:
    """Return the keys of those channel values that no checkpoint in `rows` has."""
    used = set(value_keys(rows))
    return [key for key in values if key not in used]
