"""What a fault is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.faults.site.site import Site


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of fault.

    Attributes:
        name: for people and for `--only`.
        lane: `server`, `network` or `writers`; faults of one lane follow each other.
        strike: makes it happen and ends it. Bounded in time.
        share: how often a seed chooses it.
        loses: whether acknowledged writes may be lost.
        needs_replica: whether it needs a replica.
    """

    name: str
    lane: str
    strike: Callable[[Site], None]
    share: float = 0.3
    loses: bool = False
    needs_replica: bool = False

    @property
    def explanation(self) -> str:
        """What happens, in one line."""
        return (self.strike.__doc__ or "").partition("\n")[0]
