"""A run as a page of Markdown with plots. The page contains only what the run found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from tools.bench import crowd, partitions
from tools.bench.data import PAYLOADS
from tools.bench.peers.results import Peers
from tools.bench.peers.section import section as peers_section
from tools.bench.plots import bars, lines
from tools.bench.polling import Comparison, section
from tools.bench.results import CaseTimings, Run
from tools.bench.sections import (
    TITLES,
    anatomy,
    durability,
    growth,
    latency,
    limits,
    most_callers,
    p50s,
    payload_series,
    payloads,
    rate_groups,
    table,
    throughput,
)
from tools.bench.targets import GROWTH, KEYWEAVE, OVER_BARE, READS, THROUGHPUT, WRITES, Verdict, verdicts

_BUSY: Final = (
    "**The machine was busy with other work: a load of {load:g} on {cores} cores.** The times of this run are not reliable; run "
    "it again on a quiet machine before you draw conclusions."
)

_METHOD: Final = """## How it is measured

A *side* is one implementation on one server. Every side holds the same data and makes the same calls of the engine's
contract. Before any call is timed, the results of all sides are compared, and so are the rows after each write; one
difference ends the run. Then calls are timed in rounds. In each round every side makes the same call once, one side after
the other, in a new random order, so that the machine's drift affects all sides equally. Ratios are medians of the ratios
inside the rounds. For a writing call, each side prepares its rows before the timed call. A reading call is made once before
it is timed, so that no side is slowed by caches that the side before it emptied. All servers are on this machine, on unix
sockets.

- **PostgreSQL** is asyncpg with a pool, prepared statements, the tables and indexes of the contract, and JSON by msgspec.
  It runs with its defaults for durability: a write is on disk before it is answered.
- **Keyweave** runs on servers that write their append-only file to the disk every second, unless the side says otherwise.
  The section on durability compares equal durability. While one caller waits alone, Keyweave's connection polls for a short
  time before it sleeps; the other clients do not. On an idle machine, waking up is a large part of a short call.
- **SQLAlchemy** is its asyncio ORM on asyncpg and the same tables.
- **Bare bytes** are the bytes that Keyweave sent for the same call, sent by redis-py's asyncio client, which does not decode
  the replies into records: the limit of that client and the wire. Below 1.00x, Keyweave is faster.
- **The wire** is the same bytes, packed in advance and written to an asyncio transport, with the same polling as Keyweave
  and a reader that only detects the end of the last reply. What remains is server, kernel and event loop. No asyncio client
  is much faster with the same commands."""


def pages(
    run: Run,
    scale: Run | None = None,
    polled: Comparison | None = None,
    crowds: tuple[crowd.Crowd, ...] | None = None,
    peers: Peers | None = None,
    partitioned: partitions.Comparison | None = None,
) -> dict[str, str]:
    """The page and its plots, by path below the folder of the documentation.

    Args:
        run: a run with cases.
        scale: a run that compared few rows with many, when there is one.
        polled: calls with and without busy polling, when they were compared.
        crowds: many callers on one row, when they were compared.
        peers: other Python libraries, when they were compared.
        partitioned: several partitions beside one, when they were compared.
    """
    files = {"benchmarks.md": "\n".join([*_page(run, scale, polled, crowds, peers, partitioned), ""])}
    for name, cases in _by_repository(run).items():
        files[f"benchmarks/{name}.svg"] = bars(
            f"{name}: p50 of one caller, logarithmic", "µs", {case.name: p50s(case) for case in cases}
        )
    series = payload_series(run)
    if series:
        ticks = [f"{size / 1024:g} KB" for size in PAYLOADS]
        files["benchmarks/payloads.svg"] = lines("Saving a loaded task, p50 by payload", "µs", ticks, series)
    rates = rate_groups(run)
    if rates:
        files["benchmarks/throughput.svg"] = bars(
            f"Throughput of {most_callers(run)} callers, logarithmic", "calls/s", rates
        )
    return files


def _page(
    run: Run,
    scale: Run | None,
    polled: Comparison | None,
    crowds: tuple[crowd.Crowd, ...] | None,
    peers: Peers | None,
    partitioned: partitions.Comparison | None,
) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield (
        "For developers who want to know how fast each method is: Keyweave beside PostgreSQL, SQLAlchemy and the bare bytes. "
        "`make bench` writes this page; do not edit it. The numbers are in [results.json](benchmarks/results.json)."
    )
    yield ""
    if max(run.load) > run.machine.cores + 1:
        yield _BUSY.format(load=max(run.load), cores=run.machine.cores)
        yield ""
    yield from _machine(run)
    yield from _method(run, peers)
    yield from _targets(run, verdicts(run) + (verdicts(scale) if scale is not None else []))
    yield from limits(run, {False: READS, True: WRITES})
    for name, cases in _by_repository(run).items():
        yield from latency(name, cases)
    yield from anatomy(run)
    yield from durability(run)
    yield from payloads(run)
    yield from throughput(run, THROUGHPUT)
    if scale is not None:
        yield from growth(scale)
    if crowds is not None:
        yield from crowd.section(crowds)
    if partitioned is not None:
        yield from partitions.section(partitioned)
    if polled is not None:
        yield from section(polled)
    if peers is not None:
        yield from peers_section(peers)


def _machine(run: Run) -> Iterator[str]:
    machine = run.machine
    yield "## The run"
    yield ""
    yield from table(
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


def _method(run: Run, peers: Peers | None) -> Iterator[str]:
    yield _METHOD
    yield f"- {_redis_om(run, peers)}"
    yield ""


def _redis_om(run: Run, peers: Peers | None) -> str:
    if peers is not None:
        return (
            "**redis-om, rom and LangGraph's saver** have [a section of their own](#beside-other-python-libraries), with a model "
            "that all of them can hold."
        )
    if run.search_module is None:
        return "**redis-om** was left out: the run had no Redis 8."
    if run.search_module:
        return "**redis-om** was left out: this Redis 8 has the search module that it needs, but no side runs it yet."
    return "**redis-om** was left out: it needs the search module, which this Redis 8 does not have."


def _targets(run: Run, found: Sequence[Verdict]) -> Iterator[str]:
    yield "## Targets"
    yield ""
    yield (
        f"A read is to be {READS:g} times as fast as on PostgreSQL, a write {WRITES:g} times, both at p50 and at p95. A call may take at "
        f"most {OVER_BARE:g} times as long as the bare bytes. With the most callers, Keyweave is to make {THROUGHPUT:g} times as many calls a "
        f"second as PostgreSQL. With a hundred times the rows, a call may take at most {GROWTH:g} times as long."
    )
    yield ""
    targets = list(dict.fromkeys(each.target for each in found))
    rows: list[tuple[str, ...]] = []
    for target in targets:
        for side in KEYWEAVE:
            those = [each for each in found if each.target == target and each.side == side]
            if those:
                rows.append(
                    (target, TITLES[side], f"{sum(each.met for each in those)} of {len(those)}", *_why(those))
                )
    yield from table(("target", "side", "met", "missed, out of reach", "missed, within reach"), rows)
    yield (
        "A missed target is *out of reach* if the wire alone takes too long: no client can meet it with the same commands. It is "
        "*within reach* if a client that takes no time would meet it."
    )
    yield ""
    yield "Every method, on Valkey / on Redis 8. A **bold** ratio misses its target."
    yield ""
    ratios = {(each.case, each.target, each.side): _ratio(each) for each in found}
    rows = []
    for case in run.cases:
        cells = []
        for target in targets:
            pair = [ratios[place] for side in KEYWEAVE if (place := (case.name, target, side)) in ratios]
            cells.append(" / ".join(pair))
        rows.append((f"`{case.name}`", *cells))
    yield from table(("method", *targets), rows)


def _why(verdicts: Sequence[Verdict]) -> tuple[str, str]:
    """How many of the missed targets are out of reach of any client, and how many are within reach."""
    missed = [each.reachable for each in verdicts if not each.met]
    if None in missed:
        return "", ""
    return str(missed.count(False)), str(missed.count(True))


def _ratio(verdict: Verdict) -> str:
    text = f"{verdict.found:.2f}x"
    return text if verdict.met else f"**{text}**"


def _by_repository(run: Run) -> dict[str, list[CaseTimings]]:
    found: dict[str, list[CaseTimings]] = {}
    for case in run.cases:
        found.setdefault(case.name.partition(".")[0], []).append(case)
    return found
