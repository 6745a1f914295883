"""Dashboard and alerts query metrics that a store emits, and link to runbooks that exist."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyweave.telemetry.catalogue import METRICS
from tests.operations.exporting import Export, living_stores
from tests.operations.promql import metrics_in
from tools.pages import dashboard

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "operations"


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries() -> Iterator[tuple[str, str]]:
    """Every query of a panel, a variable or a rule, with what asks it."""
    loaded = json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))
    for panel in loaded["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"]
    for variable in loaded["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["name"], re.sub(r"label_values\((.*), \w+\)", r"\1", variable["definition"])
    for rule in rules():
        yield rule["alert"], rule["expr"]


@pytest.fixture(scope="module")
def emitted() -> set[str]:
    export = Export()
    with living_stores(export):
        return export.names()


def test_every_metric_of_a_query_is_emitted(emitted: set[str]) -> None:
    asked = {(place, name) for place, query in queries() for name in metrics_in(query)}
    assert len({name for _, name in asked}) > 25
    assert {(place, name) for place, name in asked if name not in emitted} == set()


def test_every_metric_is_shown(emitted: set[str]) -> None:
    shown = {name for _, query in queries() for name in metrics_in(query)}
    endings = ("", "_bytes", "_total", "_seconds", "_seconds_bucket")
    for metric in METRICS:
        name = metric.name.replace(".", "_")
        assert {name + ending for ending in endings} & shown & emitted, metric.name


def test_the_names_in_a_query_are_found() -> None:
    query = (
        'sum by (job, le) (rate(a_total{x="b_total"}[5m] offset 10m)) / on (job) group_left (y) max(c) > 0.5'
    )
    assert metrics_in(query) == {"a_total", "c"}


def test_the_dashboard_equals_its_table() -> None:
    assert (FOLDER / "dashboard.json").read_text(
        encoding="utf-8"
    ) == dashboard.text(), "out of date: run make pages"


def test_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard.dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24, panel["title"]
        assert not cells & taken, panel["title"]
        taken |= cells


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as code hosts make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    found = {rule["alert"]: rule["annotations"]["runbook_url"] for rule in rules()}
    page = FOLDER / "runbooks.md"
    for alert, url in found.items():
        path, _, anchor = url.partition("#")
        assert ROOT / path == page
        assert anchor == f"runbook-{alert.lower()}"
    there = {anchor for anchor in anchors(page) if anchor.startswith("runbook-")}
    assert there == {f"runbook-{alert.lower()}" for alert in found}


def test_links_between_runbooks_have_targets() -> None:
    page = FOLDER / "runbooks.md"
    text = page.read_text(encoding="utf-8")
    for path, anchor in re.findall(r"\]\(([^)#]*)#?([^)]*)\)", text):
        assert (FOLDER / path).exists(), path
        assert not anchor or anchor in anchors(page), anchor


def test_alerts_have_a_summary_and_a_severity() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}, rule["alert"]
