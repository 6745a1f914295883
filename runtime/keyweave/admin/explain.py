"""`keyweave explain`: shows how the rows of a query would be read."""

from __future__ import annotations

import dataclasses
import json

import typer

from keyweave.admin.asked import (
    EntityArgument,
    JsonOption,
    LimitOption,
    OrderOption,
    ReverseOption,
    ScanOption,
    ValuesArgument,
    ViewArgument,
    WhereOption,
    as_json,
    bounded,
)
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    opened,
)
from keyweave.look.question import question
from keyweave.look.words import entity_named
from keyweave.read.explain import explain as explain_flow

EPILOG = """\
Examples, with the store in KEYWEAVE_URL:

  keyweave explain TaskState by_status RUNNING          the page of a view

  keyweave explain TaskState --where status=RUNNING --where component=agent

The arguments are those of `keyweave ls`. No document is read. Lines name the views that are read, those among which the planner
chose with their sizes, and the fields that are compared on documents because no view covers them.

Exit status: 0 done, 2 could not run.
"""


def explain(
    entity: EntityArgument,
    view: ViewArgument = None,
    values: ValuesArgument = None,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    where: WhereOption = None,
    order: OrderOption = None,
    reverse: ReverseOption = False,
    scan: ScanOption = False,
    limit: LimitOption = 20,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
    json_: JsonOption = False,
) -> None:
    """Show how `keyweave ls` would read rows: views, what is compared on documents, and round trips."""
    with opened(package, url, namespace, environment) as session, bounded():
        found = entity_named(session.context.package, entity)
        query = question(found, view, values or (), where or (), order=order, reverse=reverse, scan=scan)
        shown = session.shell.run(explain_flow(session.context, query, limit))
    if as_json(format, json_):
        typer.echo(json.dumps(dataclasses.asdict(shown)))
    else:
        typer.echo(str(shown))
