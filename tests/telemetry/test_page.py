"""docs/telemetry.md lists what the code reports. `KEYWEAVE_UPDATE_GOLDENS=1` writes its table of metrics anew."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from pathlib import Path

from keyweave.telemetry.catalogue import METRICS, OPERATIONS, SPAN_ATTRIBUTES, STORE, Metric
from keyweave.telemetry.instruments import BACKLOG
from keyweave.telemetry.outcomes import FAULTS, Outcome
from tests.snippets import blocks
from tools.site.api import write_shop

PAGE = Path(__file__).resolve().parents[2] / "docs" / "telemetry.md"
TABLE = re.compile(r"(<!-- metrics:.*?\|---\|---\|---\|---\|---\|\n)(.*?)(\n<!-- /metrics -->)", re.DOTALL)


def line(metric: Metric) -> str:
    own = [f"`{name}`" for name in metric.attributes if name not in STORE]
    attributes = ", ".join(["*store*", *own])
    return f"| `{metric.name}` | {metric.kind.value} | `{metric.unit}` | {metric.meaning} | {attributes} |"


def test_every_metric_is_on_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")
    table = "\n".join(line(metric) for metric in METRICS) + "\n"
    if os.environ.get("KEYWEAVE_UPDATE_GOLDENS"):
        text = TABLE.sub(lambda match: match[1] + table + match[3], text)
        PAGE.write_text(text, encoding="utf-8")
    found = TABLE.search(text)
    assert found is not None
    assert found[2] == table


def test_every_attribute_and_word_is_explained() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = {name for metric in METRICS for name in metric.attributes} | set(SPAN_ATTRIBUTES)
    words = named | OPERATIONS | {outcome.value for outcome in Outcome}
    assert {word for word in words if f"`{word}`" not in text} == set()
    (faults,) = re.findall(r"The status is an error for (.*?) only", text)
    assert set(re.findall(r"`(\w+)`", faults)) == {outcome.value for outcome in FAULTS}
    assert f"{BACKLOG:,}" in text


def test_the_example_shows_every_metric_that_has_happened(tmp_path: Path) -> None:
    """In a process of its own: a global provider can be set once."""
    (code,) = blocks(PAGE, "python")
    assert len(code.strip().splitlines()) <= 15
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    look = f"""
    from urllib.request import urlopen
    print(urlopen("http://127.0.0.1:{port}/metrics").read().decode())
"""
    program = code.replace("9464", str(port)) + look
    write_shop(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(tmp_path / "generated")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(
        r'db_client_operation_duration_seconds_count\{.*db_collection_name="Customer".*\} 1\.0', done.stdout
    )
    assert "keyweave_server_up{" in done.stdout
