"""What a seed chooses for one round."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.faults.kinds.fault import Fault

MARGIN: Final = 1.0
"""Seconds that a call may return after its deadline and one timeout, for scheduling on a busy machine."""

_LIMITS: Final = ((0.2, 0.4), (0.3, 1.0), (0.5, 2.0), (1.0, 3.0))
"""Pairs of `timeout` and `deadline`."""

_GAP: Final = 0.25


@dataclass(frozen=True, slots=True)
class Settings:
    """One round.

    Attributes:
        seed: of everything in the round.
        fsync: the server's `appendfsync`.
        options: of the stores.
        lanes: faults that follow each other; the lanes run side by side.
        replica: whether the server has a replica.
        ahead: seconds by which the clocks of revisions are ahead of the server's clock, as after a step back.
        seconds: how long faults happen.
        writers: their number.
        pause: mean seconds between two calls of a writer.
    """

    seed: int
    fsync: str
    options: dict[str, Any]
    lanes: tuple[tuple[Fault, ...], ...]
    replica: bool
    ahead: int
    seconds: float
    writers: int
    pause: float

    @property
    def bound(self) -> float:
        """Seconds within which every call must return."""
        return float(self.options["deadline"] + self.options["timeout"] + MARGIN)


def settings_of(
    seed: int, faults: Sequence[Fault], *, seconds: float, writers: int, chosen: bool
) -> Settings:
    """Return the settings of a round.

    Args:
        faults: kinds to choose from.
        chosen: whether every kind happens, instead of some that the seed chooses.
    """
    chance = random.Random(seed)
    timeout, deadline = chance.choice(_LIMITS)
    lanes = tuple(
        _lane(chance, [fault for fault in faults if fault.lane == lane], seconds, chosen=chosen)
        for lane in sorted({fault.lane for fault in faults})
    )
    if not any(lanes):
        lanes = ((chance.choice(faults),),)
    happening = {fault.name: fault for lane in lanes for fault in lane}
    options = {
        "timeout": timeout,
        "connect_timeout": timeout,
        "deadline": deadline,
        "pool_size": chance.choice((2, 3, 8)),
        "pool_timeout": timeout,
        "busy_poll": chance.choice((0.0, 0.0002)),
        "lock_ttl": chance.choice((0.2, 0.5, 2.0)),
        "lock_wait": deadline,
        "chunk": chance.choice((4, 50, 500)),
        "sweep_every": chance.choice((4, 16)),
        "remembered": chance.choice((0, 4, 1024)),
        "health_check_interval": chance.choice((0.0, 0.5)),
    }
    return Settings(
        seed=seed,
        fsync=chance.choice(("always", "everysec")),
        options=options,
        lanes=tuple(lane for lane in lanes if lane),
        replica=any(fault.needs_replica for fault in happening.values()),
        ahead=chance.choice((0, 3600)) if "cut_tail" in happening else 0,
        seconds=seconds,
        writers=writers,
        pause=chance.choice((0.002, 0.01)),
    )


def _lane(
    chance: random.Random, faults: Sequence[Fault], seconds: float, *, chosen: bool
) -> tuple[Fault, ...]:
    """Return the faults of a lane, in their order. A failover happens once at most: there is one replica."""
    if chosen:
        return tuple(faults)
    kinds = [fault for fault in faults if chance.random() < fault.share]
    lane: list[Fault] = []
    for _ in range(max(len(kinds), round(seconds / _GAP / 8)) if kinds else 0):
        fault = chance.choice(kinds)
        if not fault.needs_replica or fault not in lane:
            lane.append(fault)
    return tuple(lane)
