"""The calls that are compared and timed, the same for every side."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tools.bench.peers.rows import OWNERS, STATES, row, rows
from tools.bench.peers.side import Side

MANY: Final = 100
"""Rows of a bulk insert."""

_NEW: Final = 1_000_000
"""New rows have numbers from here on, so that they are first on their pages."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One call on every side.

    Attributes:
        number: of the turn; the same on every side.
        stored: how many rows were there before.
    """

    number: int
    stored: int

    @property
    def old(self) -> int:
        """The number of a row that is there. Turns walk through all rows."""
        return (self.number * 7919) % self.stored

    @property
    def new(self) -> range:
        """Numbers of rows that are not there yet."""
        first = _NEW + self.number * MANY
        return range(first, first + MANY)


def _nothing(side: Side, turn: Turn) -> None:
    """Nothing has to be prepared, or removed."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call.

    Attributes:
        name: how reports call it.
        make: what is timed; gets what `prepare` returned.
        result: the result of `make` in a form that can be compared, with what the side holds afterwards.
        prepare: what comes before, untimed.
        undo: what comes after, untimed, so that every turn meets the same rows.
    """

    name: str
    make: Callable[[Side, Turn, Any], Any]
    result: Callable[[Side, Turn, Any], Any]
    prepare: Callable[[Side, Turn], Any] = _nothing
    undo: Callable[[Side, Turn], None] = _nothing


def _row_of(side: Side, turn: Turn, found: Any) -> Any:
    return side.plain(found)


def _page_of(side: Side, turn: Turn, found: Any) -> Any:
    return [side.plain(each) for each in found]


def _count_of(side: Side, turn: Turn, found: Any) -> Any:
    return found


def _written(side: Side, turn: Turn, found: Any) -> Any:
    """The new row by key, by its unique value, first on its pages, and the sizes of those."""
    side.forget()
    new = row(turn.new[0])
    return [
        side.plain(side.get(new.number)),
        side.plain(side.by_slug(new.slug)),
        *_pages(side, {"owner": new.owner, "state": new.state, "kind": new.kind}),
    ]


def _updated(side: Side, turn: Turn, found: Any) -> Any:
    side.forget()
    return [
        side.plain(side.get(turn.new[0])),
        *(_pages(side, {"state": state}) for state in STATES),
    ]


def _deleted(side: Side, turn: Turn, found: Any) -> Any:
    side.forget()
    gone = row(turn.new[0])
    return [
        side.get(gone.number) is None,
        side.by_slug(gone.slug) is None,
        *_pages(side, {"owner": gone.owner, "state": gone.state, "kind": gone.kind}),
    ]


def _visited(side: Side, turn: Turn, found: Any) -> Any:
    side.forget()
    return side.plain(side.get(turn.new[0]))


def _pages(side: Side, values: dict[str, str]) -> list[Any]:
    found: list[Any] = []
    for field, value in values.items():
        found.append([side.plain(each).number for each in side.page(field, value)])
        found.append(side.count(field, value))
    return found


def _create(side: Side, turn: Turn) -> Any:
    record = side.create(row(turn.new[0]))
    side.forget()
    return record


def _loaded(side: Side, turn: Turn) -> Any:
    _create(side, turn)
    return side.get(turn.new[0])


def _delete(side: Side, turn: Turn) -> None:
    side.delete(turn.new[0])
    side.forget()


def _delete_many(side: Side, turn: Turn) -> None:
    for number in turn.new:
        side.delete(number)
    side.forget()


def _other_state(turn: Turn) -> str:
    return STATES[(turn.new[0] + 1) % len(STATES)]


def _forgotten(side: Side, turn: Turn) -> None:
    side.forget()


def _owner(turn: Turn) -> str:
    return f"owner-{turn.number % OWNERS}"


CALLS: Final = (
    Call("create", lambda side, turn, _: side.create(row(turn.new[0])), _written, undo=_delete),
    Call("get by key", lambda side, turn, _: side.get(turn.old), _row_of, _forgotten),
    Call(
        "get by unique value",
        lambda side, turn, _: side.by_slug(f"slug-{turn.old}"),
        _row_of,
        _forgotten,
    ),
    Call(
        "page of 50, newest first",
        lambda side, turn, _: side.page("owner", _owner(turn)),
        _page_of,
        _forgotten,
    ),
    Call("count", lambda side, turn, _: side.count("owner", _owner(turn)), _count_of),
    Call(
        "update one indexed field",
        lambda side, turn, record: side.update(record, _other_state(turn)),
        _updated,
        _loaded,
        _delete,
    ),
    Call(
        "increment",
        lambda side, turn, _: side.visit(turn.new[0]),
        _visited,
        _create,
        _delete,
    ),
    Call("delete", lambda side, turn, _: side.delete(turn.new[0]), _deleted, _create),
    Call(
        f"create {MANY} at once",
        lambda side, turn, _: side.bulk(rows(turn.new)),
        _written,
        undo=_delete_many,
    ),
)
