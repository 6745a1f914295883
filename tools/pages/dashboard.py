"""Writes docs/operations/dashboard.json: `python -m tools.pages.dashboard`.

The dashboard is a table of panels here, because the same in JSON is long and its layout numbers are tedious.
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
    """One panel: what it is called, what it says, its queries with their legends, and how it looks.

    `width` counts of 24 columns; `unit` is Grafana's.
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
                "Server answers",
                "1 when every process got an answer at its last look.",
                ((f"min by (server_address) (keyweave_server_up{_JOB})", "{{server_address}}"),),
                kind="stat",
                width=4,
                bad=(0, 1),
            ),
            Panel(
                "Writes reach the disk",
                "1 when the append-only file is on and its last write worked.",
                ((f"min by (server_address) (keyweave_server_durable{_JOB})", "{{server_address}}"),),
                kind="stat",
                width=4,
                bad=(0, 1),
            ),
            Panel(
                "Faults of the store",
                "Operations that failed because the server is down, slow, refusing or holds something unreadable.",
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
                "Open connections of all pools by state, and how many there may be.",
                (
                    (f"sum by (db_client_connection_state) (db_client_connection_count{_JOB})", "{{db_client_connection_state}}"),
                    (f"sum (db_client_connection_count{_JOB})", "open"),
                    (f"sum (db_client_connection_max{_JOB})", "maximum"),
                ),
            ),
            Panel(
                "Waiting for a connection",
                "Operations that wait now, and those that gave up.",
                (
                    (f"sum (db_client_connection_pending_requests{_JOB})", "waiting"),
                    (f"sum (rate(db_client_connection_timeouts_total{_JOB}[$__rate_interval]))", "gave up, per second"),
                ),
                width=12,
            ),
            Panel(
                "Wait for a connection (p95)",
                "Of the operations that had to wait.",
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
                "Inside transactions they begin with tx.",
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
                "Buckets begin at a millisecond; the mean tells quick operations apart.",
                ((f"{_rate(_SUM, _BY, '')} / {_rate(_COUNT, _BY, '')}", _OPERATION),),
                "s",
            ),
            Panel("Latency (p50)", "By entity and kind.", ((_quantile(0.5, _BUCKET, _BY), _OPERATION),), "s"),
            Panel(
                "Answers that are errors",
                "All errors by class. Many are ordinary answers, such as a row that is not there.",
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
                "Tries that lost to another writer. Those without an entity are transactions.",
                ((_rate("keyweave_conflicts_total", "db_collection_name", _JOB), _NAMED),),
                "ops",
            ),
            Panel(
                "Retries and replays",
                "Commands sent again, and writes that turned out to have happened already.",
                (
                    (f"sum (rate(keyweave_retries_total{_JOB}[$__rate_interval]))", "retries"),
                    (f"sum (rate(keyweave_replays_total{_JOB}[$__rate_interval]))", "replays"),
                ),
                "ops",
            ),
            Panel(
                "Lock timeouts",
                "Transactions that gave up waiting for a row.",
                ((_rate("keyweave_lock_timeouts_total", "db_collection_name"), _NAMED),),
                "ops",
            ),
            Panel(
                "Wait for a lock (p95)",
                "Of the locks that were not free at once.",
                ((_quantile(0.95, f"keyweave_lock_wait_time_seconds_bucket{_ENTITY}", "db_collection_name"), _NAMED),),
                "s",
                width=12,
            ),
            Panel(
                "Lock held (p95)",
                "From taking a row's lock to the end of the transaction.",
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
                "Past their deadline, invisible to readers, still in memory.",
                ((f"max by (server_address) (keyweave_sweep_overdue{_JOB})", "{{server_address}}"),),
            ),
            Panel(
                "Oldest row to sweep",
                "How long it is past its deadline.",
                ((f"max by (server_address) (keyweave_sweep_lag_seconds{_JOB})", "{{server_address}}"),),
                "s",
            ),
            Panel("Rows swept", "Per second.", ((_rate("keyweave_sweep_rows_total", "db_collection_name"), _NAMED),), "ops"),
            Panel(
                "Delay of sweeping (p95)",
                "From a row's deadline to its removal.",
                ((_quantile(0.95, f"keyweave_sweep_delay_seconds_bucket{_ENTITY}", "db_collection_name"), _NAMED),),
                "s",
            ),
            Panel(
                "Dead entries met",
                "Rows past their deadline, and index entries without a document. The second should not occur.",
                ((_rate("keyweave_dead_met_total", "keyweave_reason"), "{{keyweave_reason}}"),),
                "ops",
            ),
            Panel(
                "Dead entries healed",
                "Index entries without a document that a reader removed.",
                ((_rate("keyweave_dead_healed_total", "db_collection_name"), _NAMED),),
                "ops",
            ),
        ),
    ),
    (
        "Memory",
        (
            Panel(
                "Memory",
                "What the server uses, and its limit where it has one.",
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
                "Of the whole server.",
                (
                    (f"max by (server_address) (keyweave_server_keys{_JOB})", "keys {{server_address}}"),
                    (f"max by (server_address) (keyweave_server_clients{_JOB})", "clients {{server_address}}"),
                ),
            ),
            Panel(
                "Evictions",
                "Keys dropped for lack of memory. Any is a loss of primary data.",
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
        "description": "Health, operations, contention, retention and memory of stores of Keyweave. Metrics: docs/telemetry.md.",
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
