"""Promises: an error other than an unknown outcome says that nothing was written, so the token is never seen anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tools.simulate.judge.rows import Rows

if TYPE_CHECKING:
    from tools.simulate.history import Act
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
        for token, key, where in _read(act):
            if token in refused and token not in undone and not _together(act, refused[token], key):
                seen.setdefault(token, f"{act.kind} {act.token} read it in {where}")
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


def _read(act: Act) -> Iterator[tuple[str, str, str]]:
    """Tokens of other operations that an operation read, the row that has them, and where that is in words."""
    for touch in act.touches:
        if touch.read is not None and touch.read != act.token:
            yield touch.read, touch.key, touch.key
    for listed in act.lists:
        for token in listed.tokens:
            if token != act.token:
                yield token, listed.key, f"counter {listed.key}"


def _together(reader: Act, refused: Act, key: str) -> bool:
    """Whether an operation may have read in a row what another one of its process never wrote.

    Callers that write one row together work on states that are not written yet. If their plan fails, each of them fails.
    """
    rows = {touch.key for touch in (*refused.touches, *refused.earlier)} | {
        each.key for each in refused.lists
    }
    return key in rows and reader.who[0] == refused.who[0] and not reader.done


def _tokens(record: Any) -> list[str]:
    found = list(getattr(record, "tokens", ()))
    found += [mark.name for mark in getattr(record, "marks", ())]
    token = getattr(record, "token", None)
    return [*found, token] if token is not None else found
