"""Strategies of reading rows whose keys the caller does not know: by scripts, or by commands with declared keys.

Redis and Valkey let a script access keys that it finds in an index, so a page takes one round trip. Some managed
services refuse such access. There, the first command returns the keys and the second one reads them. The strategy is
chosen once, when a store is opened. A transaction has its own, because its buffered rows are merged into the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from keyweave.effects import Flow

ReadFlow = Callable[..., Flow[Any]]
"""A flow of `keyweave.read` or `keyweave.commit`, which define its signature and documentation."""


class Strategy(msgspec.Struct, frozen=True):
    """One implementation for each kind of read that has several.

    Attributes:
        family: reads a row and the rows that refer to it, for its removal.
        owner: reads the owner of a unique value, and the owner's row.
        page: reads a part of one stream with its rows.
        merge: reads a part of several streams, as one, with its rows.
        lists: reads every row of each of several lists.
        row_and_list: reads a row and every row of a list.
        first_and_list: reads the first row of a view and every row of a list; returns None when it cannot.
        select: reads the rows that several views have in common; None when the server does not intersect views.
        probe: reads the rows of a view that have a qualifying referring row; returns None when it cannot.
        levels: reads the levels of a tree, as far as one exchange can.
        list_with_lock: whether a list may be read in the exchange that acquires a lock.
        by_script: whether scripts may access keys that they find in an index.
        inside: the strategy of a transaction; None for the same strategy.
    """

    family: ReadFlow
    owner: ReadFlow
    page: ReadFlow
    merge: ReadFlow
    lists: ReadFlow
    row_and_list: ReadFlow
    first_and_list: ReadFlow
    select: ReadFlow | None
    probe: ReadFlow
    levels: ReadFlow
    list_with_lock: bool
    by_script: bool = False
    inside: Strategy | None = None


def _no_read(*_: Any, **__: Any) -> Flow[Any]:
    raise AssertionError("this context reads no rows")


NO_READS: Final = Strategy(
    family=_no_read,
    owner=_no_read,
    page=_no_read,
    merge=_no_read,
    lists=_no_read,
    row_and_list=_no_read,
    first_and_list=_no_read,
    select=None,
    probe=_no_read,
    levels=_no_read,
    list_with_lock=False,
)
"""The strategy of a context that only examines a server."""
