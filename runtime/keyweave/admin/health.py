"""`keyweave health`: reports whether a store serves, for people and for probes."""

from __future__ import annotations

import json

import typer

from keyweave.admin.examine import BudgetOption, examined
from keyweave.admin.probe import as_json, examined_by, lines
from keyweave.admin.progress import Meter
from keyweave.admin.result import Result
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
)
from keyweave.admin.tenants import EPILOG as TENANTS
from keyweave.admin.tenants import AllTenantsOption, Outcomes, refuse_namespace, tenants_of
from keyweave.health.report import Health
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave health --url redis://localhost:6379     a few lines about the server

  keyweave health --format json | jq .serving      for programs

The line `restrictions` shows what a managed service, or the access rule of this user, refuses.

Exit status, for probes: 0 the store serves reads and writes, 1 it answers but does not serve (it is loading or a
replica, refuses writes, or runs no scripts for this user), 2 it does not answer. Other findings do not change the status:
`keyweave doctor` explains them.
"""
EPILOG += TENANTS


def health(
    command: typer.Context,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    memory_budget: BudgetOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Report whether the store serves, and how the server is configured. One round trip."""
    refuse_namespace(command, all_tenants=all_tenants)
    found = examined(package, url, None if all_tenants else namespace, environment, memory_budget)
    if all_tenants and found.serving:
        _each(found, package, url, environment, memory_budget, format)
        return
    if format is Format.JSON:
        typer.echo(json.dumps(as_json(found)))
    else:
        for line in lines(found):
            typer.echo(line)
    if not found.serving:
        raise typer.Exit(FOUND)


def _each(
    server: Health,
    package: str | None,
    url: str | None,
    environment: str | None,
    budget: str | None,
    format_: Format,
) -> None:
    """Examine the namespace of every tenant on a server that serves."""
    common = {finding.id for finding in server.findings}
    outcomes = Outcomes()

    def work(session: Session) -> Result:
        found = examined_by(session.shell, session.context, budget)
        findings = [finding.id for finding in found.findings if finding.id not in common]
        shape: dict[str, object] = {
            "serving": found.serving,
            "sweep_lag": found.sweep_lag,
            "data_schema": found.data_schema,
            "findings": findings,
        }
        words = ["serving" if found.serving else "NOT SERVING", f"sweep lag {found.sweep_lag:.0f} s"]
        words.append(f"schema {(found.data_schema or 'none')[:12]}")
        return Result(not found.serving, shape, [", ".join([*words, *findings])])

    with tenants_of(package, url, environment) as tenants:
        with Meter("health") as meter:
            names = sorted(tenants.count(meter))
        tenants.each_of(names, work, outcomes)
    outcomes.finish(format_, lines(server), {"server": as_json(server)})
