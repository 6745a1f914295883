"""What a campaign prints on the terminal."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from tools.faults.campaign import Found, Tally, worst, written
from tools.faults.history import Outcome
from tools.faults.judge.evidence import Evidence
from tools.faults.kinds.kinds import KINDS

_MOST_SEEDS: Final = 6


def explanation() -> Table:
    """Return a table of all kinds of faults."""
    table = Table("kind", "what happens", title="Kinds of faults")
    for fault in KINDS.values():
        loses = " Acknowledged writes may be lost." if fault.loses else ""
        table.add_row(fault.name, fault.explanation + loses)
    return table


def line(number: int, evidence: Evidence, found: list[Found]) -> Text:
    """Return one line about a round."""
    slowest = worst(evidence.acts)
    seconds = slowest.ended - slowest.began if slowest is not None else 0.0
    text = Text(
        f"{number:4} seed {evidence.settings.seed}  {written(evidence):6,} acknowledged  "
        f"{evidence.ended(Outcome.UNKNOWN):4,} unknown  {evidence.ended(Outcome.REFUSED):5,} refused  "
        f"worst {seconds:4.1f} s of {evidence.settings.bound:.1f}  "
    )
    counted = Counter(each.violation.checker for each in found)
    words = ", ".join(f"{times} {name}" for name, times in sorted(counted.items()))
    text.append(words or "clean", style="red" if words else "green")
    text.append(f"  {' '.join(sorted(evidence.struck))}", style="dim")
    return text


def summary(tally: Tally) -> Group:
    """Return the tables at the end of a campaign."""
    parts: list[Table | Text] = [_faults(tally), _calls(tally)]
    if tally.found:
        parts.append(_violations(tally.found))
    return Group(*parts)


def _faults(tally: Tally) -> Table:
    table = Table("kind", "times", title=f"Faults of {tally.rounds} rounds")
    for name, number in tally.faults.most_common():
        table.add_row(name, f"{number:,}")
    table.add_row("calls interrupted", f"{tally.interrupted:,}")
    return table


def _calls(tally: Tally) -> Table:
    table = Table("calls", "number")
    table.add_row("acknowledged writes", f"{tally.written:,}")
    table.add_row("of them lost by a fault that may", f"{tally.lost:,}")
    for outcome, number in tally.outcomes.most_common():
        table.add_row(str(outcome), f"{number:,}")
    for settlement, number in sorted(tally.settled.items()):
        table.add_row(f"unknown, settled as {settlement}", f"{number:,}")
    if tally.worst is not None:
        seconds = tally.worst.ended - tally.worst.began
        table.add_row("the machine stalled", f"{tally.stalled:,.1f} s")
        table.add_row("worst latency", f"{seconds:.2f} s: {tally.worst.kind}, {tally.worst.outcome}")
    return table


def _violations(found: list[Found]) -> Table:
    table = Table("checker", "about", "times", "seeds", title="Violations")
    groups: dict[tuple[str, str], Counter[int]] = defaultdict(Counter)
    for each in found:
        group = (each.violation.checker, each.violation.signature)
        groups[group][each.evidence.settings.seed] += 1
    for (checker, signature), seeds in sorted(groups.items()):
        shown = ", ".join(map(str, sorted(seeds)[:_MOST_SEEDS]))
        more = f" and {len(seeds) - _MOST_SEEDS} more" if len(seeds) > _MOST_SEEDS else ""
        table.add_row(checker, signature, f"{seeds.total():,}", shown + more)
    return table


def print_violations(console: Console, found: list[Found]) -> None:
    """Print what happened in the first violation of each kind, with the faults of its round."""
    printed: set[str] = set()
    for each in found:
        if each.violation.checker in printed:
            continue
        printed.add(each.violation.checker)
        evidence, act = each.evidence, each.violation.act
        console.print(
            f"\n{each.violation.checker}: {each.violation.text}\n"
            f"  seed {evidence.settings.seed}; appendfsync {evidence.settings.fsync}; {evidence.settings.options}",
            markup=False,
            soft_wrap=True,
        )
        if act is not None:
            span = f"{act.began - evidence.began:.3f} to {act.ended - evidence.began:.3f}"
            console.print(f"  the call was running from {span} s", markup=False)
        for happening in evidence.happenings:
            console.print(f"  {happening.at - evidence.began:7.3f} s  {happening.text}", markup=False)
