"""Projected: nodes and money for many rows and calls, from the measured costs and stated assumptions."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from tools.scale_model.measure import Costs, Measured

ROWS: Final = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
RATES: Final = (1_000, 10_000, 100_000, 1_000_000)
HOURS: Final = 730
"""Hours of a month."""

MIX: Final = {
    "get by key and value": 0.70,
    "save": 0.20,
    "create a task": 0.07,
    "page of an execution": 0.03,
}
"""The share of each call in the load that is projected."""


class Assumptions(NamedTuple):
    """What the projection assumes.

    Attributes:
        price: of one gigabyte of memory for one hour, in any currency.
        node_gb: memory of a node.
        fill: the part of a node's memory that data takes.
        busy: the part of a core that commands take. The rest is for input and output, and for peaks.
        io: how much longer a node's core works for a call than its commands take: sockets, parsing.
        copies: of the data, with replicas.
    """

    price: float = 0.01
    node_gb: float = 32.0
    fill: float = 0.6
    busy: float = 0.5
    io: float = 2.0
    copies: int = 2


class Projected(NamedTuple):
    """What rows and calls need.

    Attributes:
        rows, rate: that were assumed; the rate is in calls a second.
        gigabytes: of data, without copies.
        masters: nodes with data of their own.
        nodes: masters and replicas.
        limit: what decides the number: `memory` or `processor`.
        partitions: the smallest number that spreads over the masters.
        money: for a month.
    """

    rows: int
    rate: int
    gigabytes: float
    masters: int
    nodes: int
    limit: str
    partitions: int
    money: float


def project(measured: Measured, assumed: Assumptions) -> list[Projected]:
    """Return what every number of rows needs at every rate."""
    micros = server_micros(measured.costs) * assumed.io
    found = []
    for rows in ROWS:
        gigabytes = rows * measured.row_bytes / 1e9
        for rate in RATES:
            by_memory = math.ceil(gigabytes / (assumed.node_gb * assumed.fill))
            by_processor = math.ceil(rate * micros / 1e6 / assumed.busy)
            masters = max(1, by_memory, by_processor)
            nodes = masters * assumed.copies
            # With four partitions for each master, the fullest one has at most a quarter more than its share.
            partitions = 1 if masters == 1 else 1 << math.ceil(math.log2(4 * masters))
            found.append(
                Projected(
                    rows,
                    rate,
                    gigabytes,
                    masters,
                    nodes,
                    "memory" if by_memory >= by_processor else "processor",
                    partitions,
                    nodes * assumed.node_gb * assumed.price * HOURS,
                )
            )
    return found


def server_micros(costs: Costs) -> float:
    """Return the microseconds of commands for one call of the load, with the most partitions that were measured."""
    return sum(share * costs[name][max(costs[name])].server for name, share in MIX.items())
