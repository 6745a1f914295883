"""`make bench`, `make bench-quick`, `make bench-scale` and `make bench-compare`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from tools.bench import crowd, partitions, polling
from tools.bench.cases import chosen
from tools.bench.comparing import differences, reservations, table
from tools.bench.measuring import Effort
from tools.bench.peers import results as peers
from tools.bench.peers.section import section as peers_section
from tools.bench.progress import Steps
from tools.bench.report import pages
from tools.bench.results import Run, Unreadable, read, write
from tools.bench.running import PLANS, profiles, run
from tools.bench.scale import scale, size
from tools.bench.sides import ALCHEMY, BARE_VALKEY, POSTGRES, REDIS8, VALKEY, WIRE_VALKEY
from tools.bench.targets import verdicts
from tools.bench.verifying import Difference

ROOT: Final = Path(__file__).resolve().parents[2]
KEPT: Final = ROOT / ".bench"
DOCS: Final = ROOT / "docs"

_COLUMNS: Final = {
    VALKEY: "Valkey",
    REDIS8: "Redis 8",
    POSTGRES: "PostgreSQL",
    ALCHEMY: "SQLAlchemy",
    BARE_VALKEY: "bare",
    WIRE_VALKEY: "wire",
}
"""Sides of the table on the terminal; the ratios are those of the first one."""

_WIDTH: Final = 120

app = typer.Typer(
    help="Keyweave beside PostgreSQL, SQLAlchemy and the bare bytes, on the engine's contract.",
    epilog=(
        "Examples: `run --kind quick` for everyday use; `run --kind full --docs docs` writes docs/benchmarks.md; "
        "`run --kind quick --cases tasks.get_state,list_children` for some methods; "
        "`compare .bench/old.json .bench/quick.json` shows what a change did."
    ),
    no_args_is_help=True,
    add_completion=False,
)

Cases = Annotated[
    str,
    typer.Option(help="Only cases whose name holds one of these words, separated by commas. Default: all."),
]
Seed = Annotated[int, typer.Option(help="Of the data; the same seed makes the same data.")]
Output = Annotated[
    Path | None, typer.Option(help="Where to keep every single time, as JSON. Default: .bench/KIND.json.")
]
Docs = Annotated[
    Path | None,
    typer.Option(
        help="Write benchmarks.md, its plots and benchmarks/results.json into this folder.", file_okay=False
    ),
]


@app.command("run")
def run_command(
    kind: Annotated[
        str, typer.Option(help="full (100,000 tasks, 12 minutes), quick (60 s) or tiny (a few seconds).")
    ] = "quick",
    cases: Cases = "",
    seed: Seed = 2026,
    throughput: Annotated[bool, typer.Option(help="Measure many callers at once, too.")] = True,
    output: Output = None,
    docs: Docs = None,
) -> None:
    """Compare results on every side, then time every case, interleaved. Exit 2 when two sides do not do the same work."""
    console = _console()
    if kind not in PLANS:
        raise typer.BadParameter(f"must be one of {', '.join(PLANS)}", param_hint="--kind")
    try:
        wanted = chosen(cases)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--cases") from error
    with Steps() as steps:
        try:
            found = asyncio.run(run(kind, wanted, seed, steps, throughput=throughput))
        except (Difference, RuntimeError) as error:
            Console(stderr=True).print(f"bench: {error}", markup=False, highlight=False)
            raise typer.Exit(2) from error
    target = output or KEPT / f"{kind}.json"
    write(found, target, samples=True)
    console.print(_summary(found))
    if docs is not None:
        _write_docs(found, docs)
    missed = sum(not each.met for each in verdicts(found))
    console.print(
        f"bench: {missed} of {len(verdicts(found))} targets missed; {found.seconds:.0f} s; kept in {target}"
    )


@app.command("scale")
def scale_command(
    tasks: Annotated[int, typer.Option(help="How many tasks are many.", min=1_000)] = 1_000_000,
    few: Annotated[int, typer.Option(help="How many tasks are few.", min=100)] = 10_000,
    seconds: Annotated[float, typer.Option(help="How long to time each case.", min=0)] = 2.0,
    cases: Cases = "",
    seed: Seed = 2026,
    output: Output = None,
    docs: Annotated[
        Path | None, typer.Option(help="Keep the numbers for the next report in this folder.")
    ] = None,
) -> None:
    """Time the same calls beside few and beside many rows on one Valkey."""
    effort = Effort(seconds, least=20, most=2_000)
    with Steps() as steps:
        found = asyncio.run(scale(chosen(cases), size(few), size(tasks), seed, effort, steps))
    target = output or KEPT / "scale.json"
    write(found, target, samples=True)
    if docs is not None:
        write(found, docs / "benchmarks" / "scale.json", samples=False)
    shown = Table("method", f"{few:,} tasks", f"{tasks:,} tasks", "ratio")
    for each in found.growth:
        shown.add_row(each.name, f"{each.few.p50:.0f} µs", f"{each.many.p50:.0f} µs", f"{each.ratio:.2f}x")
    _console().print(shown)


@app.command("polling")
def polling_command(
    blocks: Annotated[int, typer.Option(help="Blocks of 100 calls of each side.", min=1)] = 60,
    docs: Annotated[
        Path | None, typer.Option(help="Keep the numbers and renew the page in this folder.")
    ] = None,
) -> None:
    """Time calls with and without busy polling, in turns."""
    found = polling.compare(blocks)
    _console().print("\n".join(polling.section(found)), markup=False)
    if docs is not None:
        polling.keep(found, docs / "benchmarks")
        _write_docs(read(docs / "benchmarks" / "results.json"), docs)


@app.command("partitions")
def partitions_command(
    blocks: Annotated[int, typer.Option(help="Blocks of 20 calls of each side.", min=1)] = 40,
    docs: Annotated[
        Path | None, typer.Option(help="Keep the numbers and renew the page in this folder.")
    ] = None,
) -> None:
    """Time calls on 16 partitions over three masters and on one, in turns. Exit 1 when one misses its target."""
    found = partitions.compare(blocks)
    _console().print("\n".join(partitions.section(found)), markup=False)
    if docs is not None:
        partitions.keep(found, docs / "benchmarks")
        _write_docs(read(docs / "benchmarks" / "results.json"), docs)
    if found.misses:
        Console(stderr=True).print(f"bench: misses its target: {', '.join(found.misses)}", highlight=False)
    raise typer.Exit(1 if found.misses else 0)


@app.command("crowd")
def crowd_command(
    repetitions: Annotated[int, typer.Option(help="Times that each crowd is made on each side.", min=1)] = 3,
    docs: Annotated[
        Path | None, typer.Option(help="Keep the numbers and renew the page in this folder.")
    ] = None,
) -> None:
    """Time crowds of callers that write one row, beside PostgreSQL. Exit 1 when a caller got an error."""
    found = asyncio.run(crowd.compare(repetitions))
    _console().print("\n".join(crowd.section(found)), markup=False)
    if docs is not None:
        crowd.keep(found, docs / "benchmarks")
        _write_docs(read(docs / "benchmarks" / "results.json"), docs)
    raise typer.Exit(1 if any(each.errors for each in found) else 0)


@app.command("peers")
def peers_command(
    kind: Annotated[
        str, typer.Option(help="full (about 90 s), quick (about 15 s) or tiny (a few seconds).")
    ] = "full",
    docs: Annotated[
        Path | None, typer.Option(help="Keep the numbers and renew the page in this folder.")
    ] = None,
) -> None:
    """Compare results with other Python libraries for Redis, then time the calls of each, in turns."""
    from tools.bench.peers import comparison  # imports LangGraph, which no other command needs

    if kind not in comparison.EFFORTS:
        raise typer.BadParameter(f"must be one of {', '.join(comparison.EFFORTS)}", param_hint="--kind")
    found = comparison.run(kind)
    _console().print("\n".join(peers_section(found)), markup=False)
    if docs is not None:
        peers.keep(found, docs / "benchmarks")
        _write_docs(read(docs / "benchmarks" / "results.json"), docs)


@app.command("compare")
def compare_command(
    old: Annotated[Path, typer.Argument(help="JSON of the run before the change.")],
    new: Annotated[Path, typer.Argument(help="JSON of the run after it.")],
    threshold: Annotated[
        float, typer.Option(help="An effect beyond this is shown in colour.", min=1.0)
    ] = 1.15,
) -> None:
    """Show what a change did. Exit 1 when a case got slower beyond the threshold, 2 when a file cannot be read."""
    console = _console()
    try:
        before, after = read(old), read(new)
    except Unreadable as error:
        Console(stderr=True).print(f"bench: {error}", markup=False, highlight=False)
        raise typer.Exit(2) from error
    for reservation in reservations(before, after):
        console.print(f"note: {reservation}", markup=False)
    found = list(differences(before, after))
    console.print(table(found, threshold))
    slower = sum(each.effect > threshold for each in found)
    faster = sum(each.effect < 1 / threshold for each in found)
    console.print(f"bench: {faster} of {len(found)} faster, {slower} slower, by more than {threshold:g}x")
    raise typer.Exit(1 if slower else 0)


@app.command("profile")
def profile_command(
    cases: Annotated[str, typer.Argument(help="Words of the cases to look at, separated by commas.")],
    turns: Annotated[int, typer.Option(help="Calls of each.", min=1)] = 200,
    most: Annotated[int, typer.Option(help="Functions of each.", min=1)] = 25,
    seed: Seed = 2026,
) -> None:
    """Show in which functions the time of calls of Keyweave is used, and what the server has to do for them."""
    console = _console()
    with Steps() as steps:
        found = asyncio.run(profiles(chosen(cases), seed, turns, steps))
    for name, (anatomy, functions) in found.items():
        shown = Table("function", "calls", "own µs", "whole µs", title=f"{name}: {anatomy}")
        for each in functions[:most]:
            shown.add_row(each.function, f"{each.calls:.1f}", f"{each.own:.1f}", f"{each.whole:.1f}")
        console.print(shown)


@app.command("report")
def report_command(
    results: Annotated[Path, typer.Argument(help="JSON of a run.")],
    docs: Annotated[Path, typer.Option(help="The folder to write into.", file_okay=False)] = DOCS,
) -> None:
    """Write the report of a run that was made before."""
    try:
        _write_docs(read(results), docs)
    except Unreadable as error:
        Console(stderr=True).print(f"bench: {error}", markup=False, highlight=False)
        raise typer.Exit(2) from error


def _console() -> Console:
    """Wide enough for a line a method, also where the output goes into a file."""
    return Console(width=max(Console().width, _WIDTH), highlight=False)


def _write_docs(found: Run, docs: Path) -> None:
    kept = docs / "benchmarks" / "scale.json"
    write(found, docs / "benchmarks" / "results.json", samples=False)
    for name, text in pages(
        found,
        read(kept) if kept.exists() else None,
        polling.load(docs / "benchmarks"),
        crowd.load(docs / "benchmarks"),
        peers.load(docs / "benchmarks"),
        partitions.load(docs / "benchmarks"),
    ).items():
        target = docs / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _summary(found: Run) -> Table:
    shown = Table("p50 in µs", *_COLUMNS.values(), "faster", "over bare", "at most")
    shown.columns[0].no_wrap = True
    for case in found.cases:
        timings = [case.of(name) for name in _COLUMNS]
        ours = case.of(VALKEY)
        shown.add_row(
            case.name,
            *(f"{timing.p50:.0f}" if timing is not None else "" for timing in timings),
            f"{ours.faster:.1f}x" if ours is not None and ours.faster is not None else "",
            f"{ours.over_bare:.2f}x" if ours is not None and ours.over_bare is not None else "",
            f"{ours.faster * ours.over_wire:.1f}x" if ours and ours.faster and ours.over_wire else "",
        )
    return shown


if __name__ == "__main__":
    app()
