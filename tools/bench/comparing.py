"""Two runs side by side: the effect of a change.

The speed of a machine differs between runs. What a change did is therefore read from ratios inside each run: to
PostgreSQL, which did not change, and to the bare bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from tools.bench.results import Run
from tools.bench.targets import KEYWEAVE


@dataclass(frozen=True, slots=True)
class Difference:
    """One case on one side, before and after.

    Attributes:
        case: its name.
        side: which Keyweave.
        old, new: p50 in microseconds.
        effect: how many times as long a call takes after the change, PostgreSQL's drift taken out; without PostgreSQL in
            both runs, as it is.
    """

    case: str
    side: str
    old: float
    new: float
    effect: float


def differences(old: Run, new: Run) -> Iterator[Difference]:
    """Every case that both runs have, in the order of the new one."""
    for case in new.cases:
        before = old.case(case.name)
        for side in KEYWEAVE:
            first, second = before.of(side) if before is not None else None, case.of(side)
            if first is None or second is None:
                continue
            effect = second.p50 / first.p50
            if first.faster is not None and second.faster is not None:
                effect = first.faster / second.faster
            yield Difference(case.name, side, first.p50, second.p50, round(effect, 3))


def reservations(old: Run, new: Run) -> list[str]:
    """The reasons for which the comparison may be wrong."""
    found = []
    if old.kind != new.kind:
        found.append(f"a {old.kind} run is compared with a {new.kind} one: the data differ")
    if old.seed != new.seed:
        found.append(f"the seeds differ: {old.seed} and {new.seed}")
    if (old.machine.processor, old.machine.cores) != (new.machine.processor, new.machine.cores):
        found.append("the machines differ")
    for name, version in new.machine.versions.items():
        if old.machine.versions.get(name, version) != version:
            found.append(f"{name} was {old.machine.versions[name]} and is {version}")
    return found


def table(found: list[Difference], threshold: float) -> Table:
    """The differences, those beyond `threshold` in colour."""
    shown = Table(
        "method", "side", "p50 old", "p50 new", "effect", title="effect: time after the change / before"
    )
    for each in found:
        style = "red" if each.effect > threshold else "green" if each.effect < 1 / threshold else ""
        words = each.case, each.side, f"{each.old:.0f} µs", f"{each.new:.0f} µs", f"{each.effect:.2f}x"
        shown.add_row(*words, style=style)
    return shown
