"""The cases: a level of durability, the server's setting, and how the server fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Failure: TypeAlias = Literal["kill", "power", "failover"]


@dataclass(frozen=True, slots=True)
class Case:
    """One level under one kind of failure.

    Attributes:
        durable: the option of the store; None for none.
        fsync: `appendfsync` of the server.
        failure: `kill` is SIGKILL; `power` also drops what was not brought to the disk by fsync; `failover` cuts the link to
            the replica, kills the primary within a tenth of a second, and promotes the replica.
        seconds: least and most time for which writers write before the failure.
    """

    durable: str | None
    fsync: str
    failure: Failure
    seconds: tuple[float, float] = (0.1, 0.4)


CASES: Final = {
    "none-kill": Case(None, "everysec", "kill"),
    "none-power": Case(None, "everysec", "power", (0.5, 1.5)),
    "always-power": Case(None, "always", "power"),
    "disk-always-power": Case("disk", "always", "power"),
    "disk-everysec-power": Case("disk", "everysec", "power", (1.0, 2.2)),
    "none-failover": Case(None, "everysec", "failover"),
    "replicas-failover": Case("replicas:1", "everysec", "failover"),
}
