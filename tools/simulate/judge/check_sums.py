"""Sums: whatever was acknowledged counts exactly once, whatever is unknown at most once, and money is neither made nor lost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from tools.simulate.history import Act
from tools.simulate.judge.rows import Rows

if TYPE_CHECKING:
    from tools.simulate.run import Run

_COUNTS: Final = {
    "counter.change": lambda act: [f"Counter:{act.arguments[0]}"],
    "counter.rest": lambda act: [f"Counter:{act.arguments[0]}"],
    "counter.pair": lambda act: [f"Counter:{act.arguments[0]}", f"Counter:{act.arguments[1]}"],
    "counter.audit": lambda act: [f"Counter:{act.arguments[1]}"],
    "counter.merge": lambda act: [f"marks of Counter:{act.arguments[0]}"],
    "account.transfer": lambda act: [f"Account:{act.arguments[0]}", f"Account:{act.arguments[1]}"],
    "account.locked_transfer": lambda act: [f"Account:{act.arguments[0]}", f"Account:{act.arguments[1]}"],
    "account.buy": lambda act: [f"Account:{act.arguments[0]}"],
}
"""Where an operation of each kind leaves its token."""


def check_sums(run: Run, rows: Rows) -> None:
    """Compare the tokens in rows with what clients learned."""
    acts = {act.token: act for act in run.history.acts}
    found: dict[str, Counter[str]] = {}
    for name in ("Counter", "Account"):
        for key, record in rows[name].items():
            found[f"{name}:{key}"] = Counter(record.tokens)
            if name == "Counter":
                found[f"marks of {name}:{key}"] = _marks(record.marks)
                if record.number != len(record.tokens):
                    run.complain("sum", f"counter {key} is {record.number}, with {len(record.tokens)} tokens")
    _twice(run, acts, found)
    _missing(run, found)
    total = sum(record.balance for record in rows["Account"].values())
    if total != 100 * len(rows["Account"]):
        run.complain("total", f"the balances add up to {total}")


def _marks(marks: Iterable[Any]) -> Counter[str]:
    counted: Counter[str] = Counter()
    for mark in marks:
        counted[mark.name] += mark.number
    return counted


def _twice(run: Run, acts: dict[str, Act], found: dict[str, Counter[str]]) -> None:
    for place, tokens in found.items():
        for token, number in tokens.items():
            if token not in acts:
                run.complain("sum", f"{place} has token {token}, which nothing wrote")
            elif number != 1:
                act = acts[token]
                run.complain(
                    "exactly once",
                    f"{act.kind} {token} counts {number} times in {place} ({act.outcome})",
                    act,
                )


def _missing(run: Run, found: dict[str, Counter[str]]) -> None:
    lost = run.history.lost
    for act in run.history.acts:
        if not act.done or act.kind not in _COUNTS or act.token in lost:
            continue
        for place in _COUNTS[act.kind](act):
            if not found.get(place, Counter())[act.token]:
                run.complain(
                    "lost write", f"{act.kind} {act.token} was acknowledged, and {place} lacks it", act
                )
