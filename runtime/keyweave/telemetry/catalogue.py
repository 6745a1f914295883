"""Every metric in one table: names, units, meanings and attributes. Instruments are made from it; a test compares docs.

Names that begin with `db.` are defined by OpenTelemetry's database conventions; all others are Keyweave's own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

STORE: Final = ("db.system.name", "db.namespace", "server.address", "server.port", "store_driver")
"""Attributes of every metric and span: the kind of database, and the server."""

ENTITY: Final = (*STORE, "db.collection.name")
OPERATION: Final = (*ENTITY, "db.operation.name", "db.response.status_code", "error.type")
POOL: Final = (*STORE, "db.client.connection.pool.name")

PARTITION: Final = (*STORE, "keyweave.group", "keyweave.extent")

EXTENTS: Final = ("most", "mean")
"""Every value of `keyweave.extent`: the number of the partition with the most, and the mean of all. So the number of series does not
grow with that of partitions."""

REASONS: Final = ("expired", "dangling")
"""Every value of `keyweave.reason`."""

DURATION: Final = "db.client.operation.duration"

_DATABASE_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""The bucket boundaries that the database conventions recommend."""

_LATE_SECONDS: Final = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class Kind(enum.Enum):
    """The kind of a metric's instrument."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    OBSERVED_COUNTER = "observable counter"
    OBSERVED_UP_DOWN = "observable up-down counter"
    OBSERVED_GAUGE = "observable gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: its name in OpenTelemetry.
        kind: the kind of its instrument.
        unit: in UCUM, such as `s`, `By` or `{row}`.
        meaning: its description, one sentence.
        attributes: every attribute that a data point may have.
        buckets: recommended boundaries of a histogram.
    """

    name: str
    kind: Kind
    unit: str
    meaning: str
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()


_C, _H = Kind.COUNTER, Kind.HISTOGRAM
_OC, _OU, _OG = Kind.OBSERVED_COUNTER, Kind.OBSERVED_UP_DOWN, Kind.OBSERVED_GAUGE

METRICS: Final[tuple[Metric, ...]] = (
    # The callback of the first gauge refreshes all others: an SDK calls them in the order of registration.
    Metric("keyweave.server.up", _OG, "1", "1 if the server answered the last measurement, else 0.", STORE),
    Metric("keyweave.server.memory.used", _OG, "By", "Memory in use by the server.", STORE),
    Metric("keyweave.server.memory.limit", _OG, "By", "The server's maxmemory; absent without a limit.", STORE),
    Metric("keyweave.server.keys", _OG, "{key}", "Keys in the logical database.", STORE),
    Metric("keyweave.server.clients", _OG, "{client}", "Clients connected to the server.", STORE),
    Metric("keyweave.server.evicted", _OC, "{key}", "Keys that the server evicted at its memory limit.", STORE),
    Metric(
        "keyweave.server.durable",
        _OG,
        "1",
        "1 if the server keeps an append-only file and its last write to it succeeded, else 0.",
        STORE,
    ),
    Metric("keyweave.sweep.overdue", _OG, "{row}", "Rows past their deadline that are not swept yet.", STORE),
    Metric("keyweave.sweep.lag", _OG, "s", "Time since the earliest deadline of such a row.", STORE),
    Metric("keyweave.partition.rows", _OG, "{row}", "Rows of one partition of a group that has several.", PARTITION),
    Metric("keyweave.partition.overdue", _OG, "{row}", "Rows of such a partition past their deadline that are not swept yet.", PARTITION),
    Metric("db.client.connection.count", _OU, "{connection}", "Open connections, by state.", (*POOL, "db.client.connection.state")),
    Metric("db.client.connection.max", _OU, "{connection}", "The most connections that the pool opens.", POOL),
    Metric("db.client.connection.pending_requests", _OU, "{request}", "Operations waiting for a connection.", POOL),
    Metric("db.client.connection.timeouts", _C, "{timeout}", "Operations that timed out waiting for a connection.", POOL),
    Metric(
        "keyweave.connection.wait_time",
        _H,
        "s",
        "Time that operations waited for a connection, if they had to wait.",
        POOL,
        _DATABASE_SECONDS,
    ),
    Metric(DURATION, _H, "s", "Duration of repository operations, retries and pauses included.", OPERATION, _DATABASE_SECONDS),
    Metric("keyweave.conflicts", _C, "{conflict}", "Attempts of writes and transactions that lost to another writer.", ENTITY),
    Metric("keyweave.retries", _C, "{retry}", "Commands sent again after a transient failure.", STORE),
    Metric("keyweave.replays", _C, "{replay}", "Repeated writes that the server had already applied.", STORE),
    Metric("keyweave.lock.wait_time", _H, "s", "Time that transactions waited for a row lock, if they had to wait.", ENTITY, _DATABASE_SECONDS),
    Metric("keyweave.lock.timeouts", _C, "{timeout}", "Waits for a row lock that timed out.", ENTITY),
    Metric("keyweave.lock.hold_time", _H, "s", "Time that transactions held a row lock.", ENTITY, _DATABASE_SECONDS),
    Metric(
        "keyweave.dead.met",
        _C,
        "{entry}",
        "Reads of a row past its deadline by key (`expired`), and of an index entry without a document (`dangling`).",
        (*ENTITY, "keyweave.reason"),
    ),
    Metric("keyweave.dead.healed", _C, "{entry}", "Index entries without a document that were removed.", ENTITY),
    Metric("keyweave.rows.unreadable", _C, "{row}", "Rows that lists left out, because their documents cannot be read.", ENTITY),
    Metric("keyweave.sweep.rows", _C, "{row}", "Expired rows that were removed.", ENTITY),
    Metric("keyweave.sweep.delay", _H, "s", "Time from a row's deadline to its removal.", ENTITY, _LATE_SECONDS),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}

OPERATIONS: Final = frozenset(
    "get get_with find exists get_many get_for_update require get_by find_by page list first one count keys sum min max group_counts "
    "page_with list_with first_with explain create create_many save save_many upsert upsert_many change update increment delete discard "
    "delete_many merge touch tree transact outcome sweep check health".split()
)
"""Every value of `db.operation.name`; inside a transaction each has the prefix `tx.`."""

SPAN_ATTRIBUTES: Final = (
    *OPERATION,
    "keyweave.view",
    "keyweave.outcome",
    "keyweave.partition",
    "keyweave.partitions",
)
