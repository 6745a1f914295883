"""What the comparison with other libraries found, kept as one JSON document. Times are in microseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

KEPT: Final = "peers.json"
"""Name of the file that holds the latest comparison, beside the other results."""


class Timed(msgspec.Struct, frozen=True):
    """A side's calls.

    Attributes:
        side: its name.
        p50, p95: of one call.
        ratio: the median over all turns of this side's time divided by Keyweave's in the same turn.
    """

    side: str
    p50: float
    p95: float
    ratio: float


class Compared(msgspec.Struct, frozen=True):
    """A call on all sides.

    Attributes:
        name: of the call.
        turns: how many times each side made it.
        timed: the sides whose results are alike.
        left_out: sides that were not timed, with the reason.
    """

    name: str
    turns: int
    timed: tuple[Timed, ...]
    left_out: dict[str, str]


class Guarantees(msgspec.Struct, frozen=True):
    """What a side promises, counted.

    Attributes:
        side: its name.
        refuses: whether a second row with a unique value is refused when the first one was written before.
        values, rows: unique values for which all processes tried to create a row at once, and rows that were made.
        added, counted: increments of one row that all processes made at once, and what the row counts.
        ended: rows that expired.
        visible: how many of them a page or a count of an index still has.
        entries, cleaned: index entries and unique values of those rows on the server, before and after the library's clean-up.
        free: whether a new row may have the unique value of an expired one.
    """

    side: str
    refuses: bool
    values: int
    rows: int
    added: int
    counted: int
    ended: int
    visible: int
    entries: int
    cleaned: int
    free: bool


class Peers(msgspec.Struct, frozen=True):
    """A whole comparison.

    Attributes:
        started: UTC, ISO 8601.
        seconds: how long it took.
        server: name, version and modules.
        versions: of the libraries.
        load: of the machine over a minute, before and after.
        cores: of the machine.
        stored: rows that each side held.
        processes: of the races.
        notes: what the page says about each side.
        missing: sides that were left out, with the reason.
        calls: of the mappers.
        savers: calls of LangGraph's savers.
        guarantees: of the mappers.
        remnants: keys of a thread that a saver leaves after it has deleted it, by side.
    """

    started: str
    seconds: float
    server: str
    versions: dict[str, str]
    load: tuple[float, float]
    cores: int
    stored: int
    processes: int
    notes: dict[str, str]
    missing: dict[str, str]
    calls: tuple[Compared, ...]
    savers: tuple[Compared, ...]
    guarantees: tuple[Guarantees, ...]
    remnants: dict[str, int]


def load(folder: Path) -> Peers | None:
    """The comparison that a folder keeps, or None."""
    path = folder / KEPT
    return msgspec.json.decode(path.read_bytes(), type=Peers) if path.exists() else None


def keep(peers: Peers, folder: Path) -> None:
    """Write a comparison for the next report."""
    text = msgspec.json.format(msgspec.json.encode(peers), indent=1)
    (folder / KEPT).write_bytes(text + b"\n")
