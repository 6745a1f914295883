"""Ranks: where a record is in an order, and how a transaction's own rows are merged into the rows of the server."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, TypeVar

from keyweave.changes.change import PROVISIONAL, score_number
from keyweave.effects import Flow
from keyweave.exchange.deadline import current_time
from keyweave.model.cursor import Position
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, ViewEntry
from keyweave.model.member import split_member, text_member
from keyweave.model.record import Record, memory_of
from keyweave.read.get import buffered_record
from keyweave.read.query import in_text
from keyweave.read.stream import Stream
from keyweave.store.context import Context

R = TypeVar("R", bound=Record)

Rank: TypeAlias = tuple[float, bytes]
"""Score and member: the sort key of every stream. In an order of strings the member holds the value, and the score is 0."""


def rank_of(context: Context, entity: Entity[Any], streams: Sequence[Stream], record: Record) -> Rank:
    """Return the rank of a record that is in one of the streams, and written or read in this transaction."""
    key = entity.key_of(record)
    lists = {(stream.view.name, stream.values) for stream in streams}
    score: Any = streams[0].view.order
    member = key
    for entry in entity.entries(record):
        if type(entry) is ViewEntry and (entry.view, entry.values) in lists:
            score, member = entry.score, entry.member
            break
    change = context.unit.change_of(entity, key) if context.unit is not None else None
    if change is not None:
        return change.provisional_score(score), member.encode()
    return score_number(score, memory_of(record)), member.encode()


def position_at(entity: Entity[Any], order: str, newest: bool, rank: Rank) -> Position:
    """Return the position of a rank."""
    if in_text(entity, order):
        value, key = split_member(rank[1].decode())
        return Position(entity.name, order, newest, "0", key, value)
    return Position(entity.name, order, newest, f"{rank[0]:.17g}", rank[1].decode())


def rank_at(entity: Entity[Any], position: Position) -> Rank:
    """Return the rank of a position."""
    if in_text(entity, position.order):
        return 0.0, text_member(position.value, position.member).encode()
    return float(position.score), position.member.encode()


def between(
    entity: Entity[Any], rank: Rank, start: Position | None, end: Position | None, newest: bool
) -> bool:
    """Return whether a rank comes after `start`, and not after `end`."""
    if start is not None:
        first = rank_at(entity, start)
        if not (rank < first if newest else rank > first):
            return False
    if end is None:
        return True
    last = rank_at(entity, end)
    return rank >= last if newest else rank <= last


def overlay(
    context: Context,
    entity: Entity[R],
    streams: Sequence[Stream],
    limit: int,
    start: Position | None,
    newest: bool,
    records: list[R],
    end: Position | None,
) -> Flow[tuple[list[R], Position | None]]:
    """Merge the transaction's buffered rows into the `records` from the server, in the order of the streams."""
    assert context.unit is not None
    rows = {entity.key_of(record): (rank_of(context, entity, streams, record), record) for record in records}
    for stream in streams:
        moments = stream.view.order in (CREATED, REVISION)
        for entry, change in context.unit.members(entity, stream.view.name, stream.values):
            score = change.provisional_score(entry.score)
            rank = (score, entry.member.encode())
            if stream.ends and moments and score >= PROVISIONAL:
                # The server has not set this moment yet, so it is compared as if it were now.
                score = float((yield from current_time(context, context.partition(entity))))
            if stream.holds(score, rank[1]) and between(entity, rank, start, end, newest):
                rows[change.key] = rank, buffered_record(context, change)
    ordered = sorted(rows.values(), key=lambda row: row[0], reverse=newest)
    if len(ordered) > limit:
        end = position_at(entity, streams[0].view.order, newest, ordered[limit - 1][0])
        ordered = ordered[:limit]
    return [record for _, record in ordered], end
