"""Registers: the history of every row that is one is linearizable, also across tails that were lost.

A lost tail begins a new epoch, in which the register holds what survived. What was under way at that moment may take
effect in either.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Set
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from tools.simulate.history import ABSENT, Act, History
from tools.simulate.judge.linearize import FOREVER, Event, linearizable
from tools.simulate.judge.rows import Rows

if TYPE_CHECKING:
    from tools.simulate.run import Run


def check_registers(run: Run, rows: Rows, broken: Set[str]) -> int:
    """Judge every register. Returns how many searches gave up.

    Args:
        broken: tokens of operations that were refused and happened all the same, which is reported as such.
    """
    history: History = run.history
    final = {f"{name}:{key}": record.token for name in ("Item", "Box") for key, record in rows[name].items()}
    touched: dict[str, list[Act]] = defaultdict(list)
    for act in history.acts:
        if act.done or act.maybe or act.token in broken or history.undone(act):
            for key in {touch.key for touch in (*act.touches, *act.earlier)}:
                touched[key].append(act)
    undecided = 0
    bounds = [0, *[loss.tick for loss in history.losses], history.tick()]
    for key in sorted(touched):
        for epoch, (start, end) in enumerate(pairwise(bounds)):
            initial = history.losses[epoch - 1].registers.get(key, ABSENT) if epoch else ABSENT
            events = _events(touched[key], key, start, end)
            if epoch == len(history.losses):
                events.append(Event(end, end + 1, final.get(key, ABSENT), None, True, "the final state"))
            if not any(event.certain for event in events):
                continue
            verdict = linearizable(events, initial)
            if verdict is None:
                undecided += 1
            elif not verdict:
                hidden = _hidden(history, key, start, end)
                alone = [[act] for act in hidden]
                for some in [*alone, hidden] if hidden else []:
                    if linearizable([*events, *_events(some, key, start, end)], initial):
                        _complain_hidden(run, key, some)
                        break
                else:
                    _complain(run, key, events, initial, touched[key])
    return undecided


def _hidden(history: History, key: str, start: int, end: int) -> list[Act]:
    """Operations of an epoch that were refused after a doubt, and may have touched a register all the same."""
    return [
        act
        for act in history.acts
        if act.outcome == "refused"
        and act.doubts
        and start <= act.began < end
        and any(touch.key == key for touch in (*act.touches, *act.earlier))
    ]


def _complain_hidden(run: Run, key: str, hidden: list[Act]) -> None:
    """Report that one of these must have been carried out."""
    for act in hidden:
        error = type(act.error).__name__
        text = f"{act.kind} {act.token} ended with {error}, but only its effect explains what {key} held"
        run.complain("promise, in doubt", text, act)


def _events(acts: list[Act], key: str, start: int, end: int) -> list[Event]:
    """What touched a register in an epoch."""
    events = []
    for act in acts:
        if act.began >= end:
            continue
        ended = act.ended if act.ended is not None and act.done else FOREVER
        if ended < start:
            continue
        within = act.done and act.began > start and ended < end
        for number, touch in enumerate(act.touches if within else [*act.touches, *act.earlier]):
            if touch.key != key or (not within and touch.write is None):
                continue
            label = f"{act.kind} {act.token}.{number}"
            last = ended if within else FOREVER
            events.append(Event(max(act.began, start), last, touch.read, touch.write, within, label))
    return events


def _complain(run: Run, key: str, events: list[Event], initial: str, acts: list[Act]) -> None:
    """Report the shortest beginning of a history that has no explanation."""
    ends = sorted(event.ended for event in events if event.certain)
    for end in ends:
        part = [
            event if event.ended <= end else event._replace(certain=False, ended=FOREVER)
            for event in events
            if event.began <= end
        ]
        part = [event for event in part if event.certain or event.write is not None]
        if linearizable(part, initial) is False:
            break
    else:
        part = events
    text = "; ".join(
        f"{event.label} read {event.read} wrote {event.write}{'' if event.certain else ' (perhaps)'}"
        for event in sorted(part, key=lambda event: (event.began, event.ended))
    )
    involved = {event.label.rpartition(".")[0] for event in part if event.write not in (None, ABSENT)}
    doubtful = {act.kind for act in acts if f"{act.kind} {act.token}" in involved and act.doubts}
    checker = "register"
    if doubtful:
        kind = next((kind for kind in _SUSPECTS if kind in doubtful), "write")
        checker = f"register, {kind} in doubt"
    run.complain(checker, f"{key}, at first {initial}: no order explains: {text}")


_SUSPECTS: Final = ("item.upsert", "box.upsert", "item.create", "item.replace", "account.buy")
"""Kinds of which an exchange that failed may explain a violation, the likeliest first."""
