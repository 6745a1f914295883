"""How reads reach rows whose keys the caller does not know: by scripts that find them, or by declared keys alone.

A server of one's own lets a script touch keys that it finds in an index, so a page takes one trip. Some services refuse
that: there the keys come back first and are asked for by a second command. The strategy is chosen once, when a store is
opened, from what the server answered then; a transaction has its own, because its buffered rows join what is read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keyweave.effects import Flow

ReadFlow = Callable[..., Flow[Any]]
"""A flow of `keyweave.read` or `keyweave.commit`, where its signature and its documentation stand."""


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way for each kind of read that has two.

    Attributes:
        family: a row with everything that refers to it, for its removal.
        owner: the owner of a unique value, with its row.
        page: a part of a view with its rows.
        lists: every row of each of several lists.
        row_and_list: a row with every row of a list.
        first_and_list: the first row of a view with every row of a list; None where another way is needed.
        select: the rows that several views have in common; None where the server does not put views together.
        probe: the rows of a view that a referring row qualifies; None where another way is needed.
        levels: the levels of a tree that can be read at once.
        list_with_lock: a list may be read in the exchange that takes a lock.
        inside: the strategy of a transaction; None for the same.
    """

    family: ReadFlow
    owner: ReadFlow
    page: ReadFlow
    lists: ReadFlow
    row_and_list: ReadFlow
    first_and_list: ReadFlow
    select: ReadFlow | None
    probe: ReadFlow
    levels: ReadFlow
    list_with_lock: bool
    inside: Strategy | None = None
