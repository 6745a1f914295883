"""Rows of a query that each partition reads by itself, a part at a time, merged in their order."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

from keyweave.effects import Flow
from keyweave.exchange.together import together
from keyweave.keyspace.keys import Partition
from keyweave.model.cursor import Position
from keyweave.partitioned.inside import inside
from keyweave.read.execute import Answer, answer_to, read_rows, sort_key
from keyweave.read.plan import checked
from keyweave.read.query import Query
from keyweave.read.rank import Rank, position_at
from keyweave.store.context import Context

SURPLUS: Final = 1.5
"""How many documents are read first for each row of a page, because partitions do not have equal shares of it."""


class _Source:
    """What one partition has of a query: rows that were read and not merged yet, and where the next ones begin."""

    def __init__(self, context: Context, query: Query, start: Position | None) -> None:
        self.context: Final = context
        self.query: Final = query
        self.start = start
        self.whole = False
        self.read = 0
        self.rows: deque[tuple[Rank, Any]] = deque()
        self.answer: Answer | None = None

    @property
    def blocks(self) -> bool:
        """Whether a row that comes first may be among those that were not read."""
        return not self.rows and not self.whole

    def more(self, limit: int) -> Flow[None]:
        """Read up to `limit` rows."""
        if self.answer is None:
            self.answer = yield from answer_to(self.context, self.query, checked(self.query))
        found, self.start = yield from read_rows(self.context, self.answer, limit, self.start)
        self.whole = self.start is None
        self.read += len(found)
        self.rows += [(sort_key(self.context, self.query, row), row) for row in found]


def merged(
    context: Context, partitions: Sequence[Partition], query: Query, limit: int, start: Position | None
) -> Flow[tuple[list[tuple[Context, Any]], Position | None]]:
    """Return up to `limit` rows after a position, each with the context of its partition, and the next position."""
    newest, entity = query.descending, query.entity
    sources = [_Source(inside(context, each), query, start) for each in partitions]
    found: dict[str, tuple[Context, Any]] = {}
    step = min(limit, max(1, math.ceil(limit * SURPLUS / len(sources))))
    last: Rank | None = None
    while len(found) < limit:
        waiting = [source for source in sources if source.blocks]
        if waiting:
            yield from together(
                context, [source.more(min(limit, max(step, source.read))) for source in waiting]
            )
            step = max(1, math.ceil((limit - len(found)) / len(sources)))
            continue
        heads = [source for source in sources if source.rows]
        if not heads:
            return list(found.values()), None
        first = (max if newest else min)(heads, key=lambda source: source.rows[0][0])
        last, row = first.rows.popleft()
        found.pop(entity.key_of(row), None)  # it changed while others were read
        found[entity.key_of(row)] = first.context, row
    assert last is not None
    left = any(source.rows or not source.whole for source in sources)
    return list(found.values()), position_at(entity, query.order, newest, last) if left else None
