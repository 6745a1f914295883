"""`keyweave ls`: lists the rows of a view, or those that conditions match, page by page."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console

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
from keyweave.look.shown import one_line, plain
from keyweave.look.words import entity_named
from keyweave.model.entity import Entity
from keyweave.read.query_page import page

EPILOG = """\
Examples, with the store in KEYWEAVE_URL:

  keyweave ls User                              all users, in the order of the view that has them all

  keyweave ls TaskState by_status RUNNING       a view, and a value for each of its fields

  keyweave ls User --where role=admin --where 'created_at>=2026-01-31T00:00:00Z'

  keyweave ls User --limit 5 --cursor TEXT      the next page; each page prints how to get it

  keyweave ls User --json | jq -r '.rows[].id'

Conditions find a view by themselves: keyweave explain shows which. On a terminal, columns that do not fit are left out.

Exit status: 0 done, 2 could not run.
"""

_WIDEST: Final = 40
"""The most characters of one value in a table."""

_GAP: Final = "  "


def ls(
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
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Where the page begins; an earlier page has it.")
    ] = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
    json_: JsonOption = False,
) -> None:
    """List rows: of a view, or those that conditions match. Secret values are hidden."""
    with opened(package, url, namespace, environment) as session, bounded():
        found = entity_named(session.context.package, entity)
        query = question(found, view, values or (), where or (), order=order, reverse=reverse, scan=scan)
        rows = session.shell.run(page(session.context, query, limit, cursor))
    shown = [plain(row) for row in rows.rows]
    if as_json(format, json_):
        typer.echo(
            json.dumps({"entity": found.name, "rows": shown, "cursor": rows.cursor}, ensure_ascii=False)
        )
        return
    console = Console()
    for line in _table(found, shown, console.width if console.is_terminal else None):
        typer.echo(line)
    if rows.cursor is not None:
        typer.echo(f"more rows: add --cursor {rows.cursor}", err=True)


def _table(entity: Entity[Any], rows: list[dict[str, Any]], room: int | None) -> list[str]:
    """Return a head and a line for each row, in as many columns as fit into `room` characters; None for all."""
    if not rows:
        return ["no rows"]
    names = list(dict.fromkeys([*entity.key_fields, *rows[0]]))
    columns = {name: [name.upper(), *[_cell(row[name]) for row in rows]] for name in names}
    widths = {name: max(map(cell_len, cells)) for name, cells in columns.items()}
    used = 0
    chosen: list[str] = []
    for name in names:
        if chosen and room is not None and used + widths[name] > room:
            continue
        used += widths[name] + len(_GAP)
        chosen.append(name)
    lines = [
        _GAP.join([set_cell_size(columns[name][number], widths[name]) for name in chosen]).rstrip()
        for number in range(len(rows) + 1)
    ]
    left = [name for name in names if name not in chosen]
    return [*lines, f"not shown: {', '.join(left)}; use --json, or keyweave get"] if left else lines


def _cell(value: Any) -> str:
    text = one_line(value)
    return text if cell_len(text) <= _WIDEST else f"{set_cell_size(text, _WIDEST - 1)}…"
