"""`keyweave sweep`: remove rows that are past their deadline."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    opened,
)
from keyweave.flows import sweeping

EPILOG = """\
Examples:

  keyweave sweep --url redis://localhost:6379    remove what is due now

Reads never see a row that is past its deadline; sweeping gives its memory back.
"""


def sweep(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Most rows to remove.")] = 1_000_000,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Remove rows that are past their deadline, each with all of its index entries in one atomic step."""
    with opened(package, url, namespace, environment) as session:
        removed = session.shell.run(sweeping.sweep(session.context, limit=limit))
    if format is Format.JSON:
        typer.echo(json.dumps({"swept": removed}))
    else:
        typer.echo(f"swept {removed} rows")
