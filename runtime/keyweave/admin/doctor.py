"""`keyweave doctor`: reports everything about a store that is not as primary data needs it, and what to do."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
import typer
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from keyweave.admin.examine import BudgetOption, examined_closely
from keyweave.admin.probe import as_json, partitions_text
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
)
from keyweave.health.levels import Level, Standing
from keyweave.health.report import Finding, Health, Severity

EPILOG = """\
Examples:

  keyweave doctor --url redis://localhost:6379     every finding: what, why, what to do

  keyweave doctor --memory-budget 4gb              measure memory against 4 GB instead of the server's limit

  keyweave doctor --format json | jq .findings     for programs

On a managed service it also finds out what the service refuses, what that reduces, and which option is needed, such as
command_words. For that it sends one command of 4,000 words, unless the URL has command_words, and selects another database
for a moment.

Exit status: 0 nothing worse than a notice, 1 a warning or something critical, 2 the server does not answer.
The last part shows what the option `durable` of a store means on this server. Under appendfsync everysec it tries whether WAITAOF
waits for the disk: up to 0.9 s, and one key that expires at once. The command changes nothing else: run the commands that it
shows yourself.
"""

_COLOURS: Final = {
    Severity.CRITICAL: "bold red",
    Severity.WARNING: "bold yellow",
    Severity.NOTICE: "bold blue",
}
_STANDINGS: Final = {
    Standing.TRUE: "green",
    Standing.UNTRUE: "bold red",
    Standing.REFUSED: "dim",
    Standing.UNKNOWN: "bold yellow",
}


def doctor(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    memory_budget: BudgetOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Explain what is wrong with the server's configuration and state, why it matters, and what to do."""
    found, on_this_server = examined_closely(package, url, namespace, environment, memory_budget)
    if format is Format.JSON:
        typer.echo(json.dumps({**as_json(found), "durability": msgspec.to_builtins(on_this_server)}))
    else:
        Console(highlight=False, soft_wrap=False).print(page(found, on_this_server))
    if found.worst not in (None, Severity.NOTICE):
        raise typer.Exit(FOUND)


def page(found: Health, on_this_server: Sequence[Level] = ()) -> RenderableType:
    """Return a report for people."""
    server = found.server
    name = f"{server.product or 'a server'} {server.version or ''}".strip()
    parts: list[RenderableType] = [Text(f"{name} at {found.address}")]
    if server.restrictions:
        parts.append(Text(f"restrictions: {server.restricted}"))
    if found.partitions:
        parts.append(Text(f"partitions: {partitions_text(found)}"))
    if not found.findings:
        parts.append(Text("No findings: the server is set up for primary data.", style="green"))
    parts += [_finding(finding) for finding in found.findings]
    if on_this_server:
        parts.append(_durability(on_this_server))
    return Group(*parts)


def _durability(on_this_server: Sequence[Level]) -> RenderableType:
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True)
    body.add_column(no_wrap=True)
    body.add_column(overflow="fold")
    for level in on_this_server:
        body.add_row(level.name, Text(level.standing.value, _STANDINGS[level.standing]), Text(level.meaning))
    return Group(
        Text(), Text("Levels of durability on this server", style="bold"), Padding(body, (0, 0, 0, 2))
    )


def _finding(finding: Finding) -> RenderableType:
    head = Text.assemble(
        (f"{finding.severity.value:<8}", _COLOURS[finding.severity]), "  ", (finding.id, "bold")
    )
    body = Table.grid(padding=(0, 2))
    body.add_column(no_wrap=True, style="dim")
    body.add_column(overflow="fold")
    for title, text in (("what", finding.what), ("why", finding.why), ("do", finding.action)):
        body.add_row(title, Text(text))
    if finding.command:
        body.add_row("", Text(f"$ {finding.command}", style="cyan"))
    return Group(Text(), head, Padding(body, (0, 0, 0, 2)))
