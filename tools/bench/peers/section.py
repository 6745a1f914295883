"""The section of the page: the fastest library of each call, and what each library promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tools.bench.peers.results import Compared, Guarantees, Peers
from tools.bench.sections import table

EVEN: Final = 1.05
"""Sides whose medians differ by less are even."""

_METHOD: Final = (
    "All sides are blocking, hold the same {stored:,} rows on one server ({server}) with an append-only file, and make the same calls. A row has "
    "a key, a unique value, three indexes ordered by a number, and a document of 600 bytes. Results are compared before anything is timed, "
    "also what lookups, pages and counts return after each write; a side with another result is named and not timed. Then every side makes "
    "each call once a turn, in random order. The fields are p50 / p95 in µs, and behind them the median over all turns of this side's time "
    "divided by Keyweave's in the same turn: above 1.00x, Keyweave is faster. Sides less than 5 % apart are even."
)

_PROMISES: Final = (
    "Counted, not read from documentation. {processes} processes create a row for each of {values} unique values at the same moment, each in "
    "the safest way that the library has, so {values} rows are right. Then they add {added} to a counter of one row. {ended} rows expire; "
    "*visible* are those that a page or a count of an index still has, and *left* are their index entries and unique values on the server, "
    "before and after the library's own clean-up. *Free again* means that a new row may have the unique value of an expired one before any "
    "clean-up. A **bold** figure is wrong."
)

_SAVERS: Final = (
    "The saver of [examples/langgraph](../examples/langgraph/README.md) beside `RedisSaver` of langgraph-checkpoint-redis, blocking, on the same "
    "server and with the same threads: five channels, of which two change in each step. `RedisSaver` needs the server's search and JSON. It "
    "writes the parts of a step by several commands without a transaction, and refuses a filter by metadata of the caller's own. "
    "`KeyweaveSaver` stores each `put` and `put_writes` in one atomic step, for which it reads the thread first, "
    "and filters by any metadata."
)


def section(peers: Peers) -> Iterator[str]:
    """The section of the page."""
    yield "## Beside other Python libraries"
    yield ""
    versions = ", ".join(f"{name} {version}" for name, version in peers.versions.items())
    yield (
        f"{peers.started}, {peers.seconds:.0f} s, {versions}. {_load(peers)} Every side uses the same machine in turns, so ratios are "
        "more reliable than times."
    )
    yield ""
    yield _METHOD.format(stored=peers.stored, server=peers.server)
    yield ""
    for side, reason in peers.missing.items():
        yield f"- **{side}** was left out: {reason}."
    for side, note in peers.notes.items():
        yield f"- **{side}**: {note}."
    yield ""
    yield from _calls(peers.calls)
    yield from _winners("Of the calls", peers.calls)
    yield from _left_out(peers.calls)
    yield "### What they promise"
    yield ""
    yield _PROMISES.format(**_amounts(peers))
    yield ""
    yield from _guarantees(peers.guarantees)
    yield "### LangGraph's checkpoints"
    yield ""
    yield _SAVERS
    yield ""
    yield from _calls(peers.savers)
    yield from _winners("Of the savers' calls", peers.savers)
    yield from _left_out(peers.savers)
    remnants = ", ".join(f"{side} {number}" for side, number in peers.remnants.items())
    yield f"Keys that have a thread's name after it was deleted: {remnants}."
    yield ""


def verdict(call: Compared) -> str:
    """The winner of a call, with the distance to our side, or to the next one if ours has won."""
    ours, *others = call.timed
    if not others:
        return "no other side"
    best = min(others, key=lambda each: each.ratio)
    if best.ratio < 1 / EVEN:
        return f"{best.side}, by {1 / best.ratio:.2f}x"
    if best.ratio <= EVEN:
        return f"{ours.side} and {best.side} even"
    return f"{ours.side}, by {best.ratio:.2f}x"


def winners(calls: Sequence[Compared]) -> dict[str, list[str]]:
    """Sides with the calls that they win or are even in."""
    found: dict[str, list[str]] = {}
    for call in calls:
        ours, *others = call.timed
        best = min(others, key=lambda each: each.ratio, default=None)
        if best is None:
            continue
        if best.ratio >= 1 / EVEN:
            found.setdefault(ours.side, []).append(call.name)
        if best.ratio <= EVEN:
            found.setdefault(best.side, []).append(call.name)
    return found


def _load(peers: Peers) -> str:
    before, after = peers.load
    said = f"The machine's load was {before:g} before and {after:g} after, on {peers.cores} cores"
    if max(peers.load) > peers.cores:
        return f"{said}: the machine was shared with other work, so the times are longer than on a quiet one."
    return f"{said}."


def _calls(calls: Sequence[Compared]) -> Iterator[str]:
    sides = list(dict.fromkeys(each.side for call in calls for each in call.timed))
    rows = []
    for call in calls:
        found = {each.side: each for each in call.timed}
        cells = []
        for side in sides:
            each = found.get(side)
            if each is None:
                cells.append("not timed" if side in call.left_out else "")
            elif side == sides[0]:
                cells.append(f"{each.p50:.0f} / {each.p95:.0f}")
            else:
                cells.append(f"{each.p50:.0f} / {each.p95:.0f}, {each.ratio:.2f}x")
        rows.append((call.name, *cells, verdict(call)))
    yield from table(("call", *sides, "fastest"), rows)


def _winners(what: str, calls: Sequence[Compared]) -> Iterator[str]:
    contested = sum(len(call.timed) > 1 for call in calls)
    parts = [
        f"{side} wins or ties {len(names)} ({', '.join(f'*{name}*' for name in names)})"
        for side, names in winners(calls).items()
    ]
    if parts:
        yield f"{what}, {contested} were made by several sides. {'; '.join(parts)}."
        yield ""


def _left_out(calls: Sequence[Compared]) -> Iterator[str]:
    lines = [f"- {call.name}, {side}: {reason}." for call in calls for side, reason in call.left_out.items()]
    if lines:
        yield "Not timed:"
        yield ""
        yield from lines
        yield ""


def _amounts(peers: Peers) -> dict[str, int]:
    first = peers.guarantees[0]
    return {
        "processes": peers.processes,
        "values": first.values,
        "added": first.added,
        "ended": first.ended,
    }


def _guarantees(found: Sequence[Guarantees]) -> Iterator[str]:
    header = (
        "library",
        "refuses a taken unique value",
        "rows made by the race",
        "counted",
        "visible after expiry",
        "left",
        "left after clean-up",
        "free again",
    )
    rows = [
        (
            each.side,
            _yes(each.refuses),
            _marked(each.rows, each.rows == each.values),
            _marked(each.counted, each.counted == each.added),
            _marked(each.visible, each.visible == 0),
            str(each.entries),
            _marked(each.cleaned, each.cleaned == 0),
            _yes(each.free),
        )
        for each in found
    ]
    yield from table(header, rows)


def _marked(number: int, right: bool) -> str:
    return f"{number:,}" if right else f"**{number:,}**"


def _yes(right: bool) -> str:
    return "yes" if right else "**no**"
