"""A run as a page of Markdown with plots. The page says only what the run found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tests.bench.data import PAYLOADS
from tests.bench.plots import bars, lines
from tests.bench.results import CaseTimings, Run
from tests.bench.sides import ALCHEMY, ALWAYS, BARE_VALKEY, POSTGRES, REDIS8, RELAXED, VALKEY
from tests.bench.targets import KEYWEAVE, OVER_BARE, READS, THROUGHPUT, WRITES, Verdict, verdicts

TITLES: Final = {
    VALKEY: "Keyweave, Valkey",
    REDIS8: "Keyweave, Redis 8",
    ALWAYS: "Keyweave, Valkey, every write on disk",
    POSTGRES: "PostgreSQL",
    RELAXED: "PostgreSQL, synchronous_commit=off",
    ALCHEMY: "SQLAlchemy",
    BARE_VALKEY: "bare bytes, Valkey",
}

_METHOD: Final = """## How it is measured

Every side holds the same data and is told the same calls of the engine's contract. Before anything is timed, the results
of all sides are compared, and what writes left behind; one difference ends the run. Then calls are timed in rounds: in
each round every side makes the same call once, one after the other, in an order that is drawn anew, so that the
machine's drift meets all of them alike. Ratios are medians of the ratios inside the rounds. A writing call finds its
rows prepared anew, untimed, for each side; a reading call is made once before it is timed, so that no side pays for
caches that its neighbour emptied. All servers are on this machine, on unix sockets.

- **PostgreSQL** is asyncpg with a pool, prepared statements, the tables and indexes of the contract, and JSON by msgspec.
  It runs with its defaults for durability: a write is on disk before it is answered.
- **Keyweave** keeps an append-only file that reaches the disk every second, unless it says otherwise. The section on
  durability compares like with like.
- **SQLAlchemy** is its asyncio ORM on asyncpg and the same tables.
- **Bare bytes** are the bytes that Keyweave sent for the same call, sent by redis-py's asyncio client, which makes
  nothing of the replies: the limit of that client and the wire. Below 1.00x Keyweave's own connection is faster."""

_PLOTTED: Final = (VALKEY, REDIS8, POSTGRES, ALCHEMY)


def pages(run: Run, scale: Run | None = None) -> dict[str, str]:
    """The page and its plots, by path below the folder of the documentation.

    Args:
        run: a run with cases.
        scale: a run that compared few rows with many, when there is one.
    """
    files = {"benchmarks.md": "\n".join([*_page(run, scale), ""])}
    for name, cases in _by_repository(run).items():
        files[f"benchmarks/{name}.svg"] = bars(
            f"{name}: p50 of one caller, logarithmic", "µs", {case.name: _p50s(case) for case in cases}
        )
    payloads = _payload_series(run)
    if payloads:
        ticks = [f"{size / 1024:g} KB" for size in PAYLOADS]
        files["benchmarks/payloads.svg"] = lines(
            "Saving a loaded task, p50 by payload", "µs", ticks, payloads
        )
    rates = _rate_groups(run)
    if rates:
        files["benchmarks/throughput.svg"] = bars(
            f"Throughput of {_most_callers(run)} callers, logarithmic", "calls/s", rates
        )
    return files


def _page(run: Run, scale: Run | None) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield "Written by `make bench`; do not edit. The numbers are in [results.json](benchmarks/results.json)."
    yield ""
    yield from _machine(run)
    yield from _method(run)
    yield from _targets(verdicts(run) + (verdicts(scale) if scale is not None else []))
    for name, cases in _by_repository(run).items():
        yield from _latency(name, cases)
    yield from _anatomy(run)
    yield from _durability(run)
    yield from _payloads(run)
    yield from _throughput(run)
    if scale is not None:
        yield from _growth(scale)


def _machine(run: Run) -> Iterator[str]:
    machine = run.machine
    yield "## Where and what"
    yield ""
    yield from _table(
        ("what", "value"),
        [
            ("run", f"{run.kind}, {run.started}, {run.seconds:.0f} s, seed {run.seed}"),
            (
                "machine",
                f"{machine.processor}, {machine.cores} cores, {machine.memory_gb} GB, {machine.system}",
            ),
            ("load before and after", f"{run.load[0]} and {run.load[1]}"),
            ("versions", ", ".join(f"{name} {version}" for name, version in machine.versions.items())),
            ("data", _amounts(run.data)),
            *((name, setting) for name, setting in run.settings.items()),
            ("results compared before timing", str(run.compared)),
        ],
    )


def _amounts(data: dict[str, int]) -> str:
    rows = f"{data['executions']:,} executions of {data['workflows']} workflows, {data['tasks']:,} tasks, {data['users']} users"
    return f"{rows}; outputs of 0.5 KB, 5 % of 4 KB, 1 % of 64 KB"


def _method(run: Run) -> Iterator[str]:
    yield _METHOD
    yield f"- {_redis_om(run)}"
    yield ""


def _redis_om(run: Run) -> str:
    if run.search_module is None:
        return "**redis-om** was left out: the run had no Redis 8."
    if run.search_module:
        return "**redis-om** was left out, although this Redis 8 has the search module that it needs: no side runs it yet."
    return "**redis-om** was left out: it needs the search module, and this Redis 8 does not have it."


def _targets(found: Sequence[Verdict]) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield (
        f"At p50 and at p95 a read {READS:g} times and a write {WRITES:g} times as fast as PostgreSQL; at most "
        f"{OVER_BARE:g} times the bare bytes; with the most callers {THROUGHPUT:g} times PostgreSQL's calls a second."
    )
    yield ""
    rows = []
    for target in dict.fromkeys(each.target for each in found):
        for side in KEYWEAVE:
            those = [each for each in found if each.target == target and each.side == side]
            if those:
                rows.append((target, TITLES[side], f"{sum(each.met for each in those)} of {len(those)}"))
    yield from _table(("target", "side", "met"), rows)
    missed = [each for each in found if not each.met]
    if missed:
        yield "Missed:"
        yield ""
        yield from _table(
            ("target", "method", "side", "found", "wanted"),
            [
                (each.target, f"`{each.case}`", TITLES[each.side], f"{each.found:.2f}x", f"{each.wanted:g}x")
                for each in missed
            ],
        )


def _latency(name: str, cases: Sequence[CaseTimings]) -> Iterator[str]:
    yield f"## {name}: one caller"
    yield ""
    yield "p50 / p95 / p99 in µs. The ratios are those of Keyweave on Valkey, then on Redis 8."
    yield ""
    rows = []
    for case in cases:
        sides = [case.of(side) for side in (VALKEY, REDIS8, POSTGRES, ALCHEMY, BARE_VALKEY)]
        ours = [timing for timing in (case.of(side) for side in KEYWEAVE) if timing is not None]
        rows.append(
            (
                f"`{case.name}`",
                *(f"{each.p50:.0f} / {each.p95:.0f} / {each.p99:.0f}" if each else "" for each in sides),
                ", ".join(f"{each.faster:.1f}x" for each in ours if each.faster is not None),
                ", ".join(f"{each.over_bare:.2f}x" for each in ours if each.over_bare is not None),
            )
        )
    header = ("method", *(TITLES[side] for side in (VALKEY, REDIS8, POSTGRES, ALCHEMY, BARE_VALKEY)))
    yield from _table((*header, "faster than PostgreSQL", "over bare bytes"), rows)
    yield f"![{name}](benchmarks/{name}.svg)"
    yield ""


def _anatomy(run: Run) -> Iterator[str]:
    taken = [case for case in run.cases if case.anatomy is not None]
    if not taken:
        return
    yield "## Where the time goes"
    yield ""
    yield (
        "One call of Keyweave on Valkey: round trips, commands, bytes sent and received, µs that the server worked, µs of "
        "processor time of the caller. What is left of p50 is waiting for each other."
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
    yield from _table(("method", "trips", "commands", "sent", "received", "server", "client", "p50"), rows)


def _durability(run: Run) -> Iterator[str]:
    writes = [case for case in run.cases if case.writes and case.of(ALWAYS) and case.of(RELAXED)]
    if not writes:
        return
    yield "## Writes, durability alike"
    yield ""
    yield (
        "p50 in µs. Left: a machine that fails may take the last second with it. Right: every write is on disk before it is "
        "answered; with one caller that is the time of the disk, on both."
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
    yield from _table(
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


def _payloads(run: Run) -> Iterator[str]:
    series = _payload_series(run)
    if not series:
        return
    yield "## Saving by payload"
    yield ""
    yield "p50 in µs of `tasks.upsert_state` with a task that was loaded before."
    yield ""
    ticks = [f"{size / 1024:g} KB" for size in PAYLOADS]
    yield from _table(
        ("side", *ticks), [(name, *(f"{value:.0f}" for value in values)) for name, values in series.items()]
    )
    yield "![Saving by payload](benchmarks/payloads.svg)"
    yield ""


def _payload_series(run: Run) -> dict[str, list[float]]:
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


def _throughput(run: Run) -> Iterator[str]:
    if not run.rates:
        return
    levels = sorted({rate.callers for rate in run.rates})
    yield "## Throughput"
    yield ""
    yield (
        f"Calls a second with {', '.join(map(str, levels))} callers at once, all of one Python process, whose one core is "
        "most of what is measured here. The ratio is Keyweave on Valkey, then on Redis 8, to PostgreSQL, with the most callers."
    )
    yield ""
    sides = (VALKEY, REDIS8, ALWAYS, POSTGRES, ALCHEMY)
    rows = []
    for name in dict.fromkeys(rate.case for rate in run.rates):
        cells = []
        for side in sides:
            found = [run.rate(name, side, callers) for callers in levels]
            cells.append(" / ".join(f"{rate.per_second:,.0f}" for rate in found if rate is not None))
        baseline = run.rate(name, POSTGRES, levels[-1])
        ours = [run.rate(name, side, levels[-1]) for side in KEYWEAVE]
        ratios = [f"{rate.per_second / baseline.per_second:.1f}x" for rate in ours if rate and baseline]
        rows.append((f"`{name}`", *cells, ", ".join(ratios)))
    yield from _table(("method", *(TITLES[side] for side in sides), "ratio"), rows)
    yield "![Throughput](benchmarks/throughput.svg)"
    yield ""


def _most_callers(run: Run) -> int:
    return max((rate.callers for rate in run.rates), default=0)


def _rate_groups(run: Run) -> dict[str, dict[str, float]]:
    groups: dict[str, dict[str, float]] = {}
    for rate in run.rates:
        if rate.callers == _most_callers(run) and rate.side in _PLOTTED:
            groups.setdefault(rate.case, {})[TITLES[rate.side]] = rate.per_second
    return groups


def _growth(scale: Run) -> Iterator[str]:
    few, many = scale.data["few tasks"], scale.data["many tasks"]
    yield "## Growth"
    yield ""
    yield (
        f"p50 in µs of Keyweave on one Valkey, beside {few:,} and beside {many:,} tasks, in turns; seed {scale.seed}, "
        f"{scale.started}. Cases whose result grows with the data are left out."
    )
    yield ""
    yield from _table(
        ("method", f"{few:,} tasks", f"{many:,} tasks", "ratio"),
        [
            (f"`{each.name}`", f"{each.few.p50:.0f}", f"{each.many.p50:.0f}", f"{each.ratio:.2f}x")
            for each in scale.growth
        ],
    )


def _by_repository(run: Run) -> dict[str, list[CaseTimings]]:
    found: dict[str, list[CaseTimings]] = {}
    for case in run.cases:
        found.setdefault(case.name.partition(".")[0], []).append(case)
    return found


def _p50s(case: CaseTimings) -> dict[str, float]:
    timings = ((side, case.of(side)) for side in _PLOTTED)
    return {TITLES[side]: timing.p50 for side, timing in timings if timing is not None}


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"|{'|'.join(['---'] * len(header))}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
