"""The tables and plots of a report: what a run measured, one section for each question."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tools.bench.data import PAYLOADS
from tools.bench.results import CaseTimings, Rate, Run
from tools.bench.sides import ALCHEMY, ALWAYS, BARE_VALKEY, POSTGRES, REDIS8, RELAXED, VALKEY, WIRE_VALKEY
from tools.bench.targets import KEYWEAVE, Verdict, verdicts, wire_limits

TITLES: Final = {
    VALKEY: "Keyweave, Valkey",
    REDIS8: "Keyweave, Redis 8",
    ALWAYS: "Keyweave, Valkey, every write on disk",
    POSTGRES: "PostgreSQL",
    RELAXED: "PostgreSQL, synchronous_commit=off",
    ALCHEMY: "SQLAlchemy",
    BARE_VALKEY: "bare bytes, Valkey",
    WIRE_VALKEY: "wire, Valkey",
}

_REASONS: Final = """Reasons for the limits:

- If the limit is bold, the commands themselves take too long: the server's work and the round trips. A write is one script, which
  checks every guard and key before it writes the first one, and an append to a file before the answer. For a new task it changes about
  ten sorted sets; PostgreSQL changes about as many B-trees.
- If the limit is not bold, *may take* is the time that the target leaves to Python, and *client* is the time that Keyweave takes with
  warm caches; between the calls of other sides it takes up to twice as long. A write's 30 to 60 µs are checks, JSON encoding and
  decoding, index entries, the arguments of the plan, packing, and the record's memory; no single function takes a fifth of the time
  (`python -m tools.bench profile` shows them). A read's 10 to 15 µs are mostly the event loop. If *may take* is less than that, only
  compiled code can meet the target.
- A row that another process wrote is read before it is replaced, because the client knows which index entries a document implies, and
  the server does not. This takes two round trips. So does the delete of a user that it wrote, with its keys.
- The time of a list is mostly the decoding of its documents. PostgreSQL's side takes about as long for it: both make the same records
  from the same JSON. The bare bytes and the wire make no records, so the longest list has the largest ratio to them.
- A document of 64 KB is encoded, then decoded again or compared with the loaded document before it is sent, so that no value is stored
  that would be read back differently. This is the difference from the bare bytes.
- Many callers share one Python process on one core; the server and PostgreSQL use the other core. If the wire's throughput is below
  the target too, callers wait for the server's script."""

_COLUMNS: Final = (VALKEY, REDIS8, POSTGRES, ALCHEMY, BARE_VALKEY, WIRE_VALKEY)
_PLOTTED: Final = (VALKEY, REDIS8, POSTGRES, ALCHEMY)


def latency(name: str, cases: Sequence[CaseTimings]) -> Iterator[str]:
    """The latency of one caller, on every side."""
    yield f"## {name}: one caller"
    yield ""
    yield "p50 / p95 / p99 in µs. The ratios are for Keyweave on Valkey, then on Redis 8."
    yield ""
    rows = []
    for case in cases:
        sides = [case.of(side) for side in _COLUMNS]
        ours = [timing for timing in (case.of(side) for side in KEYWEAVE) if timing is not None]
        rows.append(
            (
                f"`{case.name}`",
                *(f"{each.p50:.0f} / {each.p95:.0f} / {each.p99:.0f}" if each else "" for each in sides),
                ", ".join(f"{each.faster:.1f}x" for each in ours if each.faster is not None),
                ", ".join(f"{each.over_bare:.2f}x" for each in ours if each.over_bare is not None),
                ", ".join(f"{each.over_wire:.2f}x" for each in ours if each.over_wire is not None),
            )
        )
    header = ("method", *(TITLES[side] for side in _COLUMNS))
    yield from table((*header, "faster than PostgreSQL", "over bare bytes", "over the wire"), rows)
    yield f"![{name}](benchmarks/{name}.svg)"
    yield ""


def limits(run: Run, wanted: Mapping[bool, float]) -> Iterator[str]:
    """The ratios that the wire allows, for the methods that miss a target.

    Args:
        wanted: how many times faster than PostgreSQL a call is to be, by whether it writes.
    """
    rows = []
    for case in run.cases:
        ours, wire, baseline = case.of(VALKEY), case.of(WIRE_VALKEY), case.of(POSTGRES)
        if ours is None or wire is None or baseline is None or ours.faster is None or ours.over_wire is None:
            continue
        least = wanted[case.writes]
        pairs = tuple(zip((ours.faster, baseline.p95 / ours.p95), wire_limits(case, VALKEY), strict=True))
        if all(found >= least for found, _ in pairs):
            continue
        budget = ours.p50 * (ours.faster / least - 1 / ours.over_wire)
        times = [f"{baseline.p50:.0f}", f"{ours.p50:.0f}", f"{wire.p50:.0f}", f"{budget:.0f}"]
        if case.anatomy is not None:
            times += [f"{case.anatomy.client:.0f}", f"{case.anatomy.server:.0f}"]
        rows.append(
            (
                f"`{case.name}`",
                f"{least:g}x",
                *(word for found, limit in pairs for word in (f"{found:.1f}x", _limit(limit, least))),
                *times,
            )
        )
    if not rows:
        return
    yield "## Missed targets and their limits"
    yield ""
    yield (
        "The methods that miss their PostgreSQL target on Valkey. *Limit* is the ratio that a client would reach if it took no time: "
        "PostgreSQL's time divided by the wire's time, with the same commands. If the limit is **bold**, no client can meet the target "
        "with the same number of round trips. The other columns are in µs: p50 of PostgreSQL, Keyweave and the wire; *may take*, the "
        "time that the target leaves to a client beside the wire; *client*, the time that Keyweave's call takes if replies are "
        "available at once; *server*, the server's work for the call."
    )
    yield ""
    header = (
        "method",
        "wanted",
        "p50",
        "limit",
        "p95",
        "limit",
        "PostgreSQL",
        "Keyweave",
        "wire",
        "may take",
    )
    yield from table((*header, "client", "server"), rows)
    yield _REASONS
    yield ""
    yield from _if_shorter(run)


_SHORTER: Final = (1.0, 1.28, 1.77, 2.0, 3.0, math.inf)
"""By how much the time beside the wire is divided. A compiled build was measured to gain 1.28 with the connection, 1.77 up to it, at most."""


def _if_shorter(run: Run) -> Iterator[str]:
    """How many targets would be met if the client were faster."""
    groups: dict[tuple[str, str], list[Verdict]] = {}
    for verdict in verdicts(run):
        if verdict.limit is not None:
            groups.setdefault((verdict.target, verdict.side), []).append(verdict)
    if not groups:
        return
    yield (
        "How many targets would be met if everything beside the wire (Python, the event loop, what the caches lost) took a part of its time "
        "only. A [compiled build](how-a-write-works.md#what-a-compiled-build-would-gain) was measured to gain at most 1.28x with the "
        "connection and 1.77x up to it."
    )
    yield ""
    header = ["as measured", *(f"1/{factor:g}" for factor in _SHORTER[1:-1]), "0"]
    rows = [
        (
            target,
            TITLES[side],
            *(str(sum(each.met_if_shorter(factor) is True for each in found)) for factor in _SHORTER),
        )
        for (target, side), found in groups.items()
    ]
    yield from table(("target", "side", *header), rows)


def _limit(limit: float | None, wanted: float) -> str:
    if limit is None:
        return ""
    text = f"{limit:.1f}x"
    return text if limit >= wanted else f"**{text}**"


def anatomy(run: Run) -> Iterator[str]:
    """The round trips, bytes and work of each call."""
    taken = [case for case in run.cases if case.anatomy is not None]
    if not taken:
        return
    yield "## Where the time goes"
    yield ""
    yield (
        "One call of Keyweave on Valkey: round trips, commands, bytes sent and received, µs of the server's work, and µs that the client "
        "takes if replies are available at once. The rest of p50 is the kernel, and the time that client and server wait for each other."
    )
    yield ""
    rows = []
    for case in taken:
        anatomy, ours = case.anatomy, case.of(VALKEY)
        assert anatomy is not None
        numbers = anatomy.trips, anatomy.commands, anatomy.sent, anatomy.received
        p50 = f"{ours.p50:.0f}" if ours is not None else ""
        times = f"{anatomy.server:.0f}", f"{anatomy.client:.0f}", p50
        rows.append((f"`{case.name}`", *(f"{number:,}" for number in numbers), *times))
    yield from table(("method", "trips", "commands", "sent", "received", "server", "client", "p50"), rows)


def durability(run: Run) -> Iterator[str]:
    """Writes compared with writes of the same durability."""
    writes = [case for case in run.cases if case.writes and case.of(ALWAYS) and case.of(RELAXED)]
    if not writes:
        return
    yield "## Writes of equal durability"
    yield ""
    yield (
        "p50 in µs. Left: a machine that fails can lose the last second of writes. Right: every write is on disk before it is "
        "answered; with one caller this is mostly the time of the disk, on both sides."
    )
    yield ""
    rows = []
    for case in writes:
        second = [case.of(side) for side in (VALKEY, RELAXED)]
        disk = [case.of(side) for side in (ALWAYS, POSTGRES)]
        words = [f"`{case.name}`"]
        for ours, theirs in (second, disk):
            if ours is not None and theirs is not None:
                words += [f"{ours.p50:.0f}", f"{theirs.p50:.0f}", f"{theirs.p50 / ours.p50:.1f}x"]
        rows.append(tuple(words))
    yield from table(
        (
            "method",
            "Keyweave, everysec",
            "PostgreSQL, synchronous_commit=off",
            "faster",
            "Keyweave, always",
            "PostgreSQL, defaults",
            "faster",
        ),
        rows,
    )


def payloads(run: Run) -> Iterator[str]:
    """The time of a save by payload."""
    series = payload_series(run)
    if not series:
        return
    yield "## Saving by payload"
    yield ""
    yield "p50 in µs of `tasks.upsert_state` with a task that was loaded before."
    yield ""
    ticks = [f"{size / 1024:g} KB" for size in PAYLOADS]
    yield from table(
        ("side", *ticks), [(name, *(f"{value:.0f}" for value in values)) for name, values in series.items()]
    )
    yield "![Saving by payload](benchmarks/payloads.svg)"
    yield ""


def payload_series(run: Run) -> dict[str, list[float]]:
    """p50 of a save by payload, for each side; empty where a payload was not measured."""
    names = [f"tasks.upsert_state (loaded before, {size / 1024:g} KB)" for size in PAYLOADS]
    cases = [case for name in names if (case := run.case(name)) is not None]
    if len(cases) < len(names):
        return {}
    series = {}
    for side in (VALKEY, REDIS8, BARE_VALKEY, POSTGRES, RELAXED):
        timings = [timing for case in cases if (timing := case.of(side)) is not None]
        if len(timings) == len(cases):
            series[TITLES[side]] = [timing.p50 for timing in timings]
    return series


def throughput(run: Run, wanted: float) -> Iterator[str]:
    """Calls a second of several callers; the target is `wanted` times PostgreSQL's."""
    if not run.rates:
        return
    levels = sorted({rate.callers for rate in run.rates})
    yield "## Throughput"
    yield ""
    yield (
        f"Calls a second with {', '.join(map(str, levels))} callers at once, all in one Python process. The process has one core, which "
        "is most of what is measured here. The ratio is that of Keyweave on Valkey, then on Redis 8, to PostgreSQL, with the most "
        "callers. *Processor* is the processor time of one call in the callers' process, in µs, with Keyweave on Valkey and with "
        "PostgreSQL, and the share of time for which that process worked: near 100 %, the process is the limit, not the servers. "
        "*Limit* is the ratio of the wire alone, which sends the same bytes with almost no client work; if it is **bold**, no asyncio "
        "client can meet the target."
    )
    yield ""
    sides = (VALKEY, REDIS8, ALWAYS, POSTGRES, ALCHEMY, WIRE_VALKEY)
    rows = []
    for name in dict.fromkeys(rate.case for rate in run.rates):
        cells = []
        for side in sides:
            found = [run.rate(name, side, callers) for callers in levels]
            cells.append(" / ".join(f"{rate.per_second:,.0f}" for rate in found if rate is not None))
        baseline = run.rate(name, POSTGRES, levels[-1])
        ours = [run.rate(name, side, levels[-1]) for side in KEYWEAVE]
        ratios = [f"{rate.per_second / baseline.per_second:.1f}x" for rate in ours if rate and baseline]
        wire = run.rate(name, WIRE_VALKEY, levels[-1])
        limit = _limit(wire.per_second / baseline.per_second, wanted) if wire and baseline else ""
        busy = [_busy(rate) for rate in (ours[0], baseline) if rate is not None and rate.processor]
        rows.append((f"`{name}`", *cells, ", ".join(ratios), limit, " / ".join(busy)))
    yield from table(("method", *(TITLES[side] for side in sides), "ratio", "limit", "processor"), rows)
    yield "![Throughput](benchmarks/throughput.svg)"
    yield ""


def _busy(rate: Rate) -> str:
    return f"{rate.processor:.0f} ({rate.processor * rate.per_second / 10_000:.0f} %)"


def most_callers(run: Run) -> int:
    """The highest number of callers that was measured."""
    return max((rate.callers for rate in run.rates), default=0)


def rate_groups(run: Run) -> dict[str, dict[str, float]]:
    """Calls a second with the most callers, by case and side."""
    groups: dict[str, dict[str, float]] = {}
    for rate in run.rates:
        if rate.callers == most_callers(run) and rate.side in _PLOTTED:
            groups.setdefault(rate.case, {})[TITLES[rate.side]] = rate.per_second
    return groups


def growth(scale: Run) -> Iterator[str]:
    """How the number of rows affects latency."""
    few, many = scale.data["few tasks"], scale.data["many tasks"]
    yield "## Growth"
    yield ""
    yield (
        f"p50 in µs of Keyweave on one Valkey, in a store with {few:,} tasks and in one with {many:,} tasks, in turns; seed {scale.seed}, "
        f"{scale.started}. Cases whose result grows with the data are left out."
    )
    yield ""
    yield from table(
        ("method", f"{few:,} tasks", f"{many:,} tasks", "ratio"),
        [
            (f"`{each.name}`", f"{each.few.p50:.0f}", f"{each.many.p50:.0f}", f"{each.ratio:.2f}x")
            for each in scale.growth
        ],
    )


def p50s(case: CaseTimings) -> dict[str, float]:
    """p50 of a case by side, for a plot."""
    timings = ((side, case.of(side)) for side in _PLOTTED)
    return {TITLES[side]: timing.p50 for side, timing in timings if timing is not None}


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A table and the empty line after it."""
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join(['---'] * len(header))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
