"""The command: `python -m tools.faults`, or `make faults ROUNDS=100 SEED=7`."""

from __future__ import annotations

import secrets
import signal
import sys
import time
from types import FrameType
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from tools.faults.campaign import SERVERS, Tally, campaign
from tools.faults.kinds.fault import Fault
from tools.faults.kinds.kinds import KINDS
from tools.faults.report import explanation, line, print_violations, summary
from tools.faults.settings import settings_of

_WIDTH: Final = 160
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
_AGAIN: Final = 0.05

app = typer.Typer(add_completion=False)


@app.command(
    epilog=(
        "Examples: `--rounds 100` for a release; `--rounds 1 --seed 1234` plays one round of a report again, as far as real "
        "time allows; `--only kill,cut --rounds 10` tries two kinds; `--list` explains every kind."
    )
)
def main(
    rounds: Annotated[int, typer.Option(help="How many rounds to play, each about 8 s.", min=1)] = 100,
    seed: Annotated[
        int | None, typer.Option(help="Of the first round; the next rounds count on. Default: a new one.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="Kinds of faults, separated by commas; all of them happen in every round.")
    ] = "",
    server: Annotated[
        str, typer.Option(help=f"{' or '.join(SERVERS)}; redis8 is brought by `make redis8`.")
    ] = SERVERS[0],
    seconds: Annotated[float, typer.Option(help="How long faults happen in a round.", min=0.1)] = 4.0,
    writers: Annotated[int, typer.Option(help="Writers, on four processes.", min=4)] = 16,
    kinds: Annotated[bool, typer.Option("--list", help="Explain every kind of fault, and end.")] = False,
) -> None:
    """Play rounds of faults on real servers, and check every promise of the store after each.

    A round starts a server with an append-only file and 16 writers, half of them threads and half asyncio tasks, which reach it
    through a proxy. A seed chooses the faults. After the round, checkers compare the rows with what the writers learned:
    indexes agree with documents, what was acknowledged happened exactly once, what was refused did not happen, transactions
    are whole, totals are constant, unique values have one owner, calls return in time, and pools are complete.

    Everything is on this machine, in a temporary folder, and ends with the command, also after Ctrl-C. Exits with 1 when a
    promise was broken.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    if kinds:
        console.print(explanation())
        return
    if server not in SERVERS:
        raise typer.BadParameter(f"must be one of {', '.join(SERVERS)}", param_hint="--server")
    chosen = _chosen(only)
    first = secrets.randbelow(1 << 30) if seed is None else seed
    again = f"make faults ROUNDS={rounds} SEED={first}"
    console.print(f"faults: {rounds} rounds from seed {first}; again with {again}")
    _listen()
    tally, interrupted, began = Tally(), False, time.monotonic()
    try:
        _play(console, tally, server, range(first, first + rounds), chosen or tuple(KINDS.values()),
              seconds=seconds, writers=writers, chosen=bool(chosen))  # fmt: skip
    except KeyboardInterrupt:
        interrupted = True
    except RuntimeError as error:
        console.print(str(error), markup=False)
        raise typer.Exit(2) from None
    print_violations(console, tally.found)
    console.print(summary(tally))
    failures = len(tally.found)
    verdict = f"{failures} violations" if failures else "every promise held"
    early = f" of {rounds}, ended early" if interrupted else ""
    took = time.monotonic() - began
    console.print(
        f"faults: {tally.rounds} rounds{early} in {took:,.0f} s, {tally.written:,} acknowledged writes, {verdict}"
    )
    if failures or interrupted:
        raise typer.Exit(1 if failures else 130)


def _play(
    console: Console,
    tally: Tally,
    server: str,
    seeds: range,
    faults: tuple[Fault, ...],
    *,
    seconds: float,
    writers: int,
    chosen: bool,
) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with campaign(server) as running, Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("rounds", total=len(seeds))
        for number, seed in enumerate(seeds, 1):
            settings = settings_of(seed, faults, seconds=seconds, writers=writers, chosen=chosen)
            evidence = running.play(settings)
            found = tally.add(evidence)
            progress.console.print(line(number, evidence, found), soft_wrap=True)
            progress.advance(bar)


def _chosen(only: str) -> tuple[Fault, ...]:
    names = [name for name in only.split(",") if name]
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise typer.BadParameter(f"no kind {unknown[0]!r}; there are {', '.join(KINDS)}", param_hint="--only")
    return tuple(KINDS[name] for name in names)


def _listen() -> None:
    """Let signals end the campaign."""
    for number in _ENDING:
        signal.signal(number, _interrupt)
    sys.unraisablehook = _raise_again


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the campaign. A second signal must not interrupt what ends the processes."""
    for each in _ENDING:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def _raise_again(unraisable: Any) -> None:
    """Interrupt the campaign again, a moment later, when a destructor has ignored the exception of a signal."""
    if unraisable.exc_type is KeyboardInterrupt:
        _listen()
        signal.setitimer(signal.ITIMER_REAL, _AGAIN)
    else:
        sys.__unraisablehook__(unraisable)


if __name__ == "__main__":
    app()
