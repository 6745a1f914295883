"""`keyweave health`: reports whether a store serves, for people and for probes."""

from __future__ import annotations

import json

import typer

from keyweave.admin.examine import BudgetOption, examined
from keyweave.admin.probe import as_json, lines
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
)

EPILOG = """\
Examples:

  keyweave health --url redis://localhost:6379     a few lines about the server

  keyweave health --format json | jq .serving      for programs

The line `restrictions` shows what a managed service, or the access rule of this user, refuses.

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
