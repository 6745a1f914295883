"""Writes docs/operations/dashboard.json: `python -m tools.pages.dashboard`.

The dashboard is a table of panels here, because its JSON is long and its layout numbers are computed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).resolve().parents[2] / "docs" / "operations" / "dashboard.json"

_DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COUNT: Final = (
    'db_client_operation_duration_seconds_count{store_driver="redis",job=~"$job",db_collection_name=~"$entity"}'
)
_BUCKET: Final = _COUNT.replace("_count{", "_bucket{")
_SUM: Final = _COUNT.replace("_count{", "_sum{")
_FAULTS: Final = 'error_type=~"Store.*Error|OutcomeUnknownError|AuthenticationError|CorruptDocumentError"'
_JOB: Final = '{job=~"$job"}'
_USED: Final = f"max by (server_address) (keyweave_server_memory_used_bytes{_JOB})"
_LIMIT: Final = f"max by (server_address) (keyweave_server_memory_limit_bytes{_JOB})"
_ENTITY: Final = '{job=~"$job",db_collection_name=~"$entity"}'


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: its title, its description, its queries with their legends, and its layout.

    `width` is in columns, of which a row has 24; `unit` is a unit of Grafana.
    """

    title: str
    meaning: str
    queries: tuple[tuple[str, str], ...]
    unit: str = "short"
    kind: str = "timeseries"
    width: int = 8
    bad: tuple[float, ...] = ()


def _rate(metric: str, by: str, labels: str = _ENTITY) -> str:
    return f"sum by ({by}) (rate({metric}{labels}[$__rate_interval]))"


def _quantile(share: float, bucket: str, by: str) -> str:
    return f"histogram_quantile({share}, sum by ({by + ', ' if by else ''}le) (rate({bucket}[$__rate_interval])))"


_BY: Final = "db_collection_name, db_operation_name"
_OPERATION: Final = "{{db_operation_name}} {{db_collection_name}}"
_NAMED: Final = "{{db_collection_name}}"

ROWS: Final[tuple[tuple[str, tuple[Panel, ...]], ...]] = (
    (
        "Store health",
        (
            Panel(
                "Server up",
                "1 if every process got an answer when it last asked the server.",
                ((f"min by (server_address) (keyweave_server_up{_JOB})", "{{server_address}}"),),
                kind="stat",
                width=4,
                bad=(0, 1),
            ),
            Panel(
                "Writes reach the disk",
                "1 if the append-only file is on and the last write to it succeeded.",
                ((f"min by (server_address) (keyweave_server_durable{_JOB})", "{{server_address}}"),),
                kind="stat",
                width=4,
                bad=(0, 1),
            ),
            Panel(
                "Faults of the store",
                "Operations that failed because the server is down, is slow, refuses requests, or holds an unreadable document.",
                (
                    (
                        "sum by (error_type, db_response_status_code) (rate("
                        + _COUNT.replace("}", f",{_FAULTS}}}")
                        + "[$__rate_interval]))",
                        "{{error_type}} {{db_response_status_code}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Connections",
                "Open connections of all pools by state, and the limit of all pools.",
                (
                    (f"sum by (db_client_connection_state) (db_client_connection_count{_JOB})", "{{db_client_connection_state}}"),
                    (f"sum (db_client_connection_count{_JOB})", "open"),
                    (f"sum (db_client_connection_max{_JOB})", "maximum"),
                ),
            ),
            Panel(
                "Operations waiting for a connection",
                "Operations that wait now, and operations that timed out.",
                (
                    (f"sum (db_client_connection_pending_requests{_JOB})", "waiting"),
                    (f"sum (rate(db_client_connection_timeouts_total{_JOB}[$__rate_interval]))", "timed out, per second"),
                ),
                width=12,
            ),
            Panel(
                "Connection wait time (p95)",
                "Only operations that had to wait.",
                ((_quantile(0.95, f"keyweave_connection_wait_time_seconds_bucket{_JOB}", "job"), "{{job}}"),),
                "s",
                width=12,
            ),
        ),
    ),
    (
        "Operations",
        (
            Panel(
                "Operations by entity and kind",
                "Operations inside transactions have the prefix tx.",
                ((_rate(_COUNT, _BY, ""), _OPERATION),),
                "ops",
                width=12,
            ),
            Panel(
                "Latency (p95)",
                "By entity and kind, retries and pauses included.",
                ((_quantile(0.95, _BUCKET, _BY), _OPERATION),),
                "s",
                width=12,
            ),
            Panel(
                "Latency (mean)",
                "The smallest bucket is one millisecond; the mean distinguishes faster operations.",
                ((f"{_rate(_SUM, _BY, '')} / {_rate(_COUNT, _BY, '')}", _OPERATION),),
                "s",
            ),
            Panel("Latency (p50)", "By entity and kind.", ((_quantile(0.5, _BUCKET, _BY), _OPERATION),), "s"),
            Panel(
                "Errors by class",
                "All errors. Many are normal answers, such as a row that does not exist.",
                (
                    (
                        _rate(_COUNT.replace("}", ',error_type!=""}'), "db_collection_name, error_type", ""),
                        "{{error_type}} {{db_collection_name}}",
                    ),
                ),
                "ops",
            ),
        ),
    ),
    (
        "Conflicts and locks",
        (
            Panel(
                "Conflicts",
                "Attempts that lost to another writer. Series without an entity are transactions.",
                ((_rate("keyweave_conflicts_total", "db_collection_name", _JOB), _NAMED),),
                "ops",
            ),
            Panel(
                "Retries and replays",
                "Commands that were sent again, and retried writes that had been applied already.",
                (
                    (f"sum (rate(keyweave_retries_total{_JOB}[$__rate_interval]))", "retries"),
                    (f"sum (rate(keyweave_replays_total{_JOB}[$__rate_interval]))", "replays"),
                ),
                "ops",
            ),
            Panel(
                "Lock timeouts",
                "Transactions that timed out while waiting for a row's lock.",
                ((_rate("keyweave_lock_timeouts_total", "db_collection_name"), _NAMED),),
                "ops",
            ),
            Panel(
                "Lock wait time (p95)",
                "Only locks that were not free at once.",
                ((_quantile(0.95, f"keyweave_lock_wait_time_seconds_bucket{_ENTITY}", "db_collection_name"), _NAMED),),
                "s",
                width=12,
            ),
            Panel(
                "Lock hold time (p95)",
                "From locking a row to the end of the transaction.",
                ((_quantile(0.95, f"keyweave_lock_hold_time_seconds_bucket{_ENTITY}", "db_collection_name"), _NAMED),),
                "s",
                width=12,
            ),
        ),
    ),
    (
        "Retention",
        (
            Panel(
                "Rows to sweep",
                "Expired rows: invisible to readers, still in memory.",
                ((f"max by (server_address) (keyweave_sweep_overdue{_JOB})", "{{server_address}}"),),
            ),
            Panel(
                "Oldest row to sweep",
                "Time since its deadline.",
                ((f"max by (server_address) (keyweave_sweep_lag_seconds{_JOB})", "{{server_address}}"),),
                "s",
            ),
            Panel("Rows swept", "Per second.", ((_rate("keyweave_sweep_rows_total", "db_collection_name"), _NAMED),), "ops"),
            Panel(
                "Sweep delay (p95)",
                "From a row's deadline to its removal.",
                ((_quantile(0.95, f"keyweave_sweep_delay_seconds_bucket{_ENTITY}", "db_collection_name"), _NAMED),),
                "s",
            ),
            Panel(
                "Expired rows and dangling entries found",
                "Expired rows that were read by key, and index entries without a document. Dangling entries should not occur.",
                ((_rate("keyweave_dead_met_total", "keyweave_reason"), "{{keyweave_reason}}"),),
                "ops",
            ),
            Panel(
                "Dangling entries removed",
                "Index entries without a document that readers removed.",
                ((_rate("keyweave_dead_healed_total", "db_collection_name"), _NAMED),),
                "ops",
            ),
            Panel(
                "Unreadable rows met",
                "Rows that lists left out, because their documents cannot be read. `keyweave check --show-ids` names them.",
                ((_rate("keyweave_rows_unreadable_total", "db_collection_name"), _NAMED),),
                "ops",
            ),
        ),
    ),
    (
        "Partitions",
        (
            Panel(
                "Rows of a partition",
                "Of groups with several partitions: the fullest one, and the mean. From twice the mean on they are uneven.",
                ((f"max by (keyweave_group, keyweave_extent) (keyweave_partition_rows{_JOB})", "{{keyweave_extent}} {{keyweave_group}}"),),
                width=12,
            ),
            Panel(
                "Rows to sweep of a partition",
                "Of groups with several partitions: the one with the most, and the mean.",
                ((f"max by (keyweave_group, keyweave_extent) (keyweave_partition_overdue{_JOB})", "{{keyweave_extent}} {{keyweave_group}}"),),
                width=12,
            ),
        ),
    ),
    (
        "Memory",
        (
            Panel(
                "Memory",
                "Memory that the server uses, and its limit if it has one.",
                (
                    (_USED, "used {{server_address}}"),
                    (_LIMIT, "limit {{server_address}}"),
                ),
                "bytes",
            ),
            Panel(
                "Share of the limit",
                "At 100 % the server refuses every write.",
                (
                    (
                        f"{_USED} / {_LIMIT}",
                        "{{server_address}}",
                    ),
                ),
                "percentunit",
            ),
            Panel(
                "Keys and clients",
                "Keys and clients of the whole server.",
                (
                    (f"max by (server_address) (keyweave_server_keys{_JOB})", "keys {{server_address}}"),
                    (f"max by (server_address) (keyweave_server_clients{_JOB})", "clients {{server_address}}"),
                ),
            ),
            Panel(
                "Evictions",
                "Keys that the server deleted at its memory limit. Each one is a loss of primary data.",
                ((f"max by (server_address) (rate(keyweave_server_evicted_total{_JOB}[$__rate_interval]))", "{{server_address}}"),),
                "ops",
                width=24,
            ),
        ),
    ),
)  # fmt: skip


def panels() -> Iterator[Panel]:
    """Every panel."""
    for _, members in ROWS:
        yield from members


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    placed: list[dict[str, Any]] = []
    top = 0
    for title, members in ROWS:
        placed.append(
            {
                "type": "row",
                "title": title,
                "collapsed": False,
                "panels": [],
                "gridPos": _place(0, top, 24, 1),
            }
        )
        top, left = top + 1, 0
        for panel in members:
            if left + panel.width > 24:
                top, left = top + 8, 0
            placed.append(_panel(panel, left, top))
            left += panel.width
        top += 8
    for number, each in enumerate(placed, start=1):
        each["id"] = number
    return {
        "title": "Keyweave store",
        "uid": "keyweave-store",
        "description": "For operators: health, operations, contention, retention and memory of Keyweave stores. docs/telemetry.md explains the metrics.",
        "tags": ["keyweave", "redis"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": _variables()},
        "panels": placed,
    }  # fmt: skip


def _panel(panel: Panel, left: int, top: int) -> dict[str, Any]:
    field: dict[str, Any] = {"unit": panel.unit}
    if panel.bad:
        low, fine = panel.bad
        steps = [
            {"color": "red", "value": None},
            {"color": "red", "value": low},
            {"color": "green", "value": fine},
        ]
        field["thresholds"] = {"mode": "absolute", "steps": steps}
    made: dict[str, Any] = {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.meaning,
        "datasource": _DATASOURCE,
        "gridPos": _place(left, top, panel.width, 8),
        "fieldConfig": {"defaults": field, "overrides": []},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "datasource": _DATASOURCE,
                "expr": query,
                "legendFormat": legend,
            }
            for number, (query, legend) in enumerate(panel.queries)
        ],
    }
    if panel.kind == "stat":
        made["options"] = {"reduceOptions": {"calcs": ["lastNotNull"]}, "colorMode": "background"}
    return made


def _place(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _variables() -> list[dict[str, Any]]:
    count = "db_client_operation_duration_seconds_count"
    found: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    ]
    for name, label, source in (("job", "job", "Job"), ("entity", "db_collection_name", "Entity")):
        query = f'label_values({count}{{store_driver="redis"}}, {label})'
        found.append(
            {
                "name": name,
                "label": source,
                "type": "query",
                "datasource": _DATASOURCE,
                "query": {"query": query, "refId": name},
                "definition": query,
                "includeAll": True,
                "multi": True,
                "allValue": ".*",
                "current": {"text": ["All"], "value": ["$__all"]},
                "refresh": 2,
                "sort": 1,
            }
        )
    return found


def text() -> str:
    """The file."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    TARGET.write_text(text(), encoding="utf-8")
