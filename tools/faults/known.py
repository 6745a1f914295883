"""Faults of the runtime that are known and not fixed yet, and how the campaign recognizes them.

A violation is recognized by its checker and by what happened in its round. Two faults can break a promise in the same way;
then the more likely one is named.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from tools.faults.judge.evidence import Violation

FAULTS: Final = {
    "V1": "a guard on a row that is only locked counts as proof that a try did not land: applied twice",
    "V2": "an upsert is made again as another plan after its answer was lost: it overwrites acknowledged writes",
    "V3": "a write was carried out, reading the new heads failed, and the error promises that it did not happen",
    "V4": "a permission is missing in the middle of a script: half a plan is stored",
    "V5": "a chunked delete whose removed children reappear does not end",
    "V6": "a call takes longer than its deadline and one timeout",
    "V7": "a revision is handed out twice after a lost tail, with the clock behind",
    "V8": "a first try that was delayed on its way arrives after its retry, or after the caller was told otherwise",
    "V9": "an exception in a thread loses a connection of the pool",
    "V10": "times that are wrong after a replay or a step of the clock",
}

KNOWN: Final = frozenset(FAULTS)
"""Faults that the short form of the campaign tolerates. Remove a name when its fault is fixed."""

_POOL: Final = "pool_sync.py"
"""The innermost frame of a thread that waits for ever, because its pool has lost a connection."""

_UNREACHED: Final = frozenset({"StoreUnavailableError", "StoreTimeoutError", "StoreLoadingError"})
_LATE: Final = frozenset({"delay", "hold", "silence", "cut", "storm", "black_hole", "stop"})
_CUTTING: Final = frozenset({*_LATE, "kill", "kill_clients", "refuse", "failover", "cut_tail"})
_CONTENT: Final = frozenset(
    {
        "lost write",
        "exactly once",
        "drift",
        "half transaction",
        "total",
        "applied again",
        "came back",
        "unique",
        "broken promise",
    }
)


def known_as(violation: Violation, kinds: Collection[str], *, ahead: bool) -> str:
    """Return the name of the fault that a violation shows, or nothing when it is a new one.

    Args:
        kinds: the kinds of faults in the round.
        ahead: whether the clocks of revisions were ahead of the server's clock.
    """
    checker, act = violation.checker, violation.act
    happened = set(kinds)
    if checker == "late":
        return "V6"
    if checker in ("hang", "pool", "recovery"):
        return _stuck(violation, happened)
    if checker == "exactly once" and violation.signature == "counter.audit":
        return "V1"
    if checker == "broken promise" and act is not None:
        return _promise(act.error, act.code, happened)
    repeated = ahead and "cut_tail" in happened
    if (
        checker in ("applied again", "came back")
        and happened & _CUTTING
        and not (repeated and len(happened) == 1)
    ):
        return "V2" if violation.signature == "item.upsert" else "V8"
    if checker in _CONTENT and "permissions" in happened:
        return "V4"
    if checker in _CONTENT and repeated:
        return "V7"
    return "V10" if checker == "drift" and "clock" in violation.signature else ""


def _stuck(violation: Violation, happened: set[str]) -> str:
    waiting = violation.text.rpartition(", ")[2].startswith(_POOL)
    if waiting or (violation.checker != "hang" and violation.signature == "sync"):
        return "V9" if "interrupt" in happened else ""
    return "V5" if violation.signature.startswith("box.") else ""


def _promise(error: str, code: str, happened: set[str]) -> str:
    if code == "ERR" and "permissions" in happened:
        return "V4"
    if error in _UNREACHED or code == "NOPERM":
        return "V3"
    return "V8" if happened & _LATE else ""
