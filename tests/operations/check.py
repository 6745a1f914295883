"""Dashboard and alerts with the real Prometheus: `python -m tests.operations.check` (`make operations-check`).

promtool loads the rules and runs their tests. Then a store runs, Prometheus scrapes what it exports through
OpenTelemetry, and every query of a panel, a variable and a rule is asked: each must be understood, and every panel
must have something to show.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import time
from typing import Any, Final
from urllib.parse import urlencode
from urllib.request import urlopen

from prometheus_client import start_http_server

from tests.operations.exporting import Export, live_once, living_stores
from tests.operations.prometheus import program, provide, run, running
from tests.operations.test_operations import FOLDER, ROOT, queries
from tools.pages.dashboard import panels

RULES: Final = FOLDER / "alerts.yml"
TESTS: Final = ROOT / "tests" / "operations" / "alerts.test.yml"

_PATIENCE: Final = 60.0


def main() -> int:
    """Check everything, print what was checked, and return 1 with the reason if something is wrong."""
    try:
        _say(provide())
        run([program("promtool"), "check", "rules", str(RULES)])
        run([program("promtool"), "test", "rules", str(TESTS)])
        _say("promtool loads the rules, and their tests pass")
        _say(_ask_everything())
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _ask_everything() -> str:
    export = Export()
    scraped, served = _free_port(), _free_port()
    server, thread = start_http_server(scraped, "127.0.0.1", registry=export.registry)
    configuration = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ["{RULES}"]
scrape_configs:
  - job_name: store
    static_configs: [targets: ["127.0.0.1:{scraped}"]]
"""
    try:
        with living_stores(export) as stores, running(configuration, served) as url:
            silent = _wait_for_panels(url, stores)
            for place, query in queries():
                _ask(url, place, query)
            broken = _broken_rules(url)
    finally:
        server.shutdown()
        thread.join()
    if silent:
        raise RuntimeError(f"operations: panels without data: {', '.join(sorted(silent))}")
    if broken:
        raise RuntimeError(f"operations: rules that cannot be evaluated: {', '.join(broken)}")
    return f"Prometheus scraped a store: {len(list(panels()))} panels have data, {len(list(queries()))} queries are understood"


def _wait_for_panels(url: str, stores: Any) -> set[str]:
    """Run the store until every panel has data. Return the panels without data at the deadline."""
    deadline = time.monotonic() + _PATIENCE
    silent = {panel.title for panel in panels()}
    while silent and time.monotonic() < deadline:
        live_once(stores)
        for panel in panels():
            if panel.title in silent and all(_ask(url, panel.title, query) for query, _ in panel.queries):
                silent.discard(panel.title)
        time.sleep(0.2)  # between queries, until the deadline
    return silent


def _ask(url: str, place: str, query: str) -> list[Any]:
    """What Prometheus answers to a query."""
    plain = re.sub(r"\$__rate_interval", "15s", query).replace("$job", ".*").replace("$entity", ".*")
    answer = _get(f"{url}/api/v1/query?{urlencode({'query': plain})}")
    if answer.get("status") == "error":
        raise RuntimeError(f"operations: {place}: {answer['error']}")
    found: list[Any] = answer.get("data", {}).get("result", [])
    return [each for each in found if each["value"][1] != "NaN"]


def _broken_rules(url: str) -> list[str]:
    groups = _get(f"{url}/api/v1/rules")["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    if not rules:
        raise RuntimeError("operations: Prometheus knows no rules")
    return [rule["name"] for rule in rules if rule["health"] == "err"]


def _get(url: str) -> dict[str, Any]:
    """A JSON answer; empty while the server is not there yet."""
    try:
        with urlopen(url, timeout=10) as reply:
            loaded: dict[str, Any] = json.load(reply)
            return loaded
    except OSError as error:
        body = getattr(error, "read", None)
        return json.loads(body()) if body is not None and getattr(error, "code", 0) == 400 else {}


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def _say(text: str) -> None:
    sys.stdout.write(f"operations: {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
