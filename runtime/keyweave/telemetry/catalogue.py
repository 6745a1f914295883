"""Every metric, in one table: names, units, meaning and attributes. Instruments are made from it, docs are held to it.

Names that begin with `db.` mean what OpenTelemetry's database conventions say; all others are Keyweave's own.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

STORE: Final = ("db.system.name", "db.namespace", "server.address", "server.port", "store_driver")
"""Attributes of every metric and span: which server, and that it is Redis."""

ENTITY: Final = (*STORE, "db.collection.name")
OPERATION: Final = (*ENTITY, "db.operation.name", "db.response.status_code", "error.type")
POOL: Final = (*STORE, "db.client.connection.pool.name")

REASONS: Final = ("expired", "dangling")
"""What `keyweave.reason` can be."""

DURATION: Final = "db.client.operation.duration"

_DATABASE_SECONDS: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)
"""The boundaries that the database conventions advise."""

_LATE_SECONDS: Final = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)


class Kind(enum.Enum):
    """What sort of instrument a metric is."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    OBSERVED_COUNTER = "observable counter"
    OBSERVED_UP_DOWN = "observable up-down counter"
    OBSERVED_GAUGE = "observable gauge"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric.

    Attributes:
        name: as OpenTelemetry knows it.
        kind: sort of instrument.
        unit: in UCUM, such as `s`, `By` or `{row}`.
        meaning: one sentence.
        attributes: every attribute that a point may have.
        buckets: advised boundaries of a histogram.
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
    # The first gauge's callback brings the others up to date: an SDK calls them in the order of registration.
    Metric("keyweave.server.up", _OG, "1", "1 when the server answered the last look at it, else 0.", STORE),
    Metric("keyweave.server.memory.used", _OG, "By", "Memory that the server uses.", STORE),
    Metric("keyweave.server.memory.limit", _OG, "By", "The server's maxmemory; absent without one.", STORE),
    Metric("keyweave.server.keys", _OG, "{key}", "Keys in the logical database.", STORE),
    Metric("keyweave.server.clients", _OG, "{client}", "Clients that are connected to the server.", STORE),
    Metric("keyweave.server.evicted", _OC, "{key}", "Keys that the server dropped for lack of memory.", STORE),
    Metric(
        "keyweave.server.durable",
        _OG,
        "1",
        "1 when the server keeps an append-only file and its last write to it worked, else 0.",
        STORE,
    ),
    Metric("keyweave.sweep.overdue", _OG, "{row}", "Rows past their deadline that nobody has swept.", STORE),
    Metric("keyweave.sweep.lag", _OG, "s", "How long the oldest such row is past its deadline.", STORE),
    Metric("db.client.connection.count", _OU, "{connection}", "Open connections, by state.", (*POOL, "db.client.connection.state")),
    Metric("db.client.connection.max", _OU, "{connection}", "Most connections that the pool opens.", POOL),
    Metric("db.client.connection.pending_requests", _OU, "{request}", "Operations that wait for a connection.", POOL),
    Metric("db.client.connection.timeouts", _C, "{timeout}", "Operations to which no connection came free in time.", POOL),
    Metric(
        "keyweave.connection.wait_time",
        _H,
        "s",
        "How long operations waited for a connection, those that had to wait.",
        POOL,
        _DATABASE_SECONDS,
    ),
    Metric(DURATION, _H, "s", "How long repository operations took, retries and pauses included.", OPERATION, _DATABASE_SECONDS),
    Metric("keyweave.conflicts", _C, "{conflict}", "Tries of writes and transactions that lost to another writer.", ENTITY),
    Metric("keyweave.retries", _C, "{retry}", "Commands sent again after a failure that passes by itself.", STORE),
    Metric("keyweave.replays", _C, "{replay}", "Writes sent again that turned out to have been carried out.", STORE),
    Metric("keyweave.lock.wait_time", _H, "s", "How long transactions waited for a row's lock, those that had to wait.", ENTITY, _DATABASE_SECONDS),
    Metric("keyweave.lock.timeouts", _C, "{timeout}", "Row locks that did not come free in time.", ENTITY),
    Metric("keyweave.lock.hold_time", _H, "s", "How long transactions held a row's lock.", ENTITY, _DATABASE_SECONDS),
    Metric(
        "keyweave.dead.met",
        _C,
        "{entry}",
        "Rows past their deadline read by key (`expired`), entries of any list without a document (`dangling`).",
        (*ENTITY, "keyweave.reason"),
    ),
    Metric("keyweave.dead.healed", _C, "{entry}", "Entries without a document that were removed.", ENTITY),
    Metric("keyweave.sweep.rows", _C, "{row}", "Rows past their deadline that were removed.", ENTITY),
    Metric("keyweave.sweep.delay", _H, "s", "How long after its deadline a row was removed.", ENTITY, _LATE_SECONDS),
)  # fmt: skip

BY_NAME: Final = {metric.name: metric for metric in METRICS}

OPERATIONS: Final = frozenset(
    "get get_with find get_many get_for_update get_by find_by list iterate fetch count gather group_counts search first "
    "first_with explain create save upsert change delete discard merge touch tree transact sweep check health".split()
)
"""What `db.operation.name` can be; inside a transaction the same with `tx.` before it."""

SPAN_ATTRIBUTES: Final = (*OPERATION, "keyweave.view", "keyweave.outcome")
