"""Promises: an error other than an unknown outcome says that nothing was written, so the token is never seen anywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.simulate.judge.rows import Rows

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_promises(run: Run, rows: Rows) -> set[str]:
    """Look for tokens of refused operations in rows, and in what others read. Returns those that are seen."""
    refused = {act.token: act for act in run.history.acts if act.outcome == "refused"}
    if not refused:
        return set()
    undone = {token for token, act in refused.items() if run.history.undone(act)}
    seen: dict[str, str] = {}
    for name, records in rows.items():
        for key, record in records.items():
            for token in _tokens(record):
                seen.setdefault(token, f"{name} {key} holds it")
    for act in run.history.acts:
        for touch in act.touches:
            if touch.read in refused and act.token != touch.read and touch.read not in undone:
                seen.setdefault(touch.read, f"{act.kind} {act.token} read it in {touch.key}")
        for listed in act.lists:
            for token in listed.tokens:
                if token in refused and token != act.token and token not in undone:
                    seen.setdefault(token, f"{act.kind} {act.token} read it in counter {listed.key}")
    for loss in run.history.losses:
        for token in sorted(loss.written):
            if token in undone:
                continue
            seen.setdefault(token, "it was carried out, and lost with a tail")
    for token, where in seen.items():
        if token in refused:
            act = refused[token]
            error = type(act.error).__name__
            checker = "promise, in doubt" if act.doubts else "promise"
            run.complain(checker, f"{act.kind} {token} ended with {error}, but {where}", act)
    return refused.keys() & seen.keys()


def _tokens(record: Any) -> list[str]:
    found = list(getattr(record, "tokens", ()))
    found += [mark.name for mark in getattr(record, "marks", ())]
    token = getattr(record, "token", None)
    return [*found, token] if token is not None else found
