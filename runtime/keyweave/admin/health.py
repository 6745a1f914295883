"""`keyweave health`: reports whether a store serves, for people and for probes."""

from __future__ import annotations

import json
from collections import Counter

import typer

from keyweave.admin.examine import BudgetOption, as_json, examined
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
)
from keyweave.health.report import Health, Severity
from keyweave.health.sizes import size_text

EPILOG = """\
Examples:

  keyweave health --url redis://localhost:6379     a few lines about the server

  keyweave health --format json | jq .serving      for programs

Exit status, for probes: 0 the store serves reads and writes, 1 it answers but does not serve (it is loading or a
replica, refuses writes, or runs no scripts for this user), 2 it does not answer. Other findings do not change the status:
`keyweave doctor` explains them.
"""


def health(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    memory_budget: BudgetOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Report whether the store serves, and how the server is configured. One round trip."""
    found = examined(package, url, namespace, environment, memory_budget)
    if format is Format.JSON:
        typer.echo(json.dumps(as_json(found)))
    else:
        for line in lines(found):
            typer.echo(line)
    if not found.serving:
        raise typer.Exit(FOUND)


def lines(found: Health) -> list[str]:
    """Return a report as lines of text."""
    server = found.server
    rows = {
        "role": server.role or "unknown",
        "persistence": server.persistence,
        "eviction": server.eviction_policy or "unknown",
        "memory": _memory(found),
        "transport": "TLS" if found.encrypted else "local" if found.local else "plain, over a network",
        "latency": f"{found.latency * 1000:.1f} ms",
        "clock skew": f"{found.clock_skew:.1f} s",
        "sweep lag": f"{found.sweep_lag:.0f} s",
        "schema": found.schema[:12],
        "findings": _findings(found),
    }
    name = f"{server.product or 'a server'} {server.version or ''}".strip()
    head = f"{name} at {found.address}: {'serving' if found.serving else 'NOT SERVING'}"
    return [head, *(f"  {title:<12} {value}" for title, value in rows.items())]


def _memory(found: Health) -> str:
    used = found.server.used_memory
    if used is None:
        return "unknown"
    if found.memory_share is None or found.memory_budget is None:
        return f"{size_text(used)}, no limit"
    return f"{size_text(used)} of {size_text(found.memory_budget)} ({found.memory_share:.0%})"


def _findings(found: Health) -> str:
    counts = Counter(finding.severity for finding in found.findings)
    parts = [f"{counts[severity]} {severity.value}" for severity in reversed(Severity) if counts[severity]]
    return f"{', '.join(parts)}: see keyweave doctor" if parts else "none"
