"""`keyweave get`: shows one row, and what the server holds for it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from keyweave.admin.asked import EntityArgument, JsonOption, as_json
from keyweave.admin.drift import printable
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    opened,
)
from keyweave.errors import NotFoundError
from keyweave.look.row import ShownRow, row_shown
from keyweave.look.shown import one_line, plain
from keyweave.look.words import entity_named, key_of_words
from keyweave.model.entity import Entity
from keyweave.model.moment import from_micros

EPILOG = """\
Examples, with the store in KEYWEAVE_URL:

  keyweave get User ann                  one row, secrets hidden

  keyweave get Stall 7 "north 3"         a key of two fields: one word each

  keyweave get User ann --keys           with the keys and index entries that the server holds for it

  keyweave get User ann --json | jq .row.email

A key that begins with - follows a word of two: keyweave get Market -- -7

Exit status: 0 found, 1 there is no such row, 2 could not run.
"""


def get(
    entity: EntityArgument,
    key: Annotated[
        list[str], typer.Argument(metavar="KEY...", help="The row's key: a word for each key field.")
    ],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    keys: Annotated[
        bool, typer.Option("--keys", help="Also its document's key, and its index entries.")
    ] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
    json_: JsonOption = False,
) -> None:
    """Show a row by its key. Secret values are hidden."""
    with opened(package, url, namespace, environment) as session:
        found = entity_named(session.context.package, entity)
        row = key_of_words(found, key)
        try:
            shown = session.shell.run(row_shown(session.context, found, row))
        except NotFoundError as error:
            typer.echo(f"keyweave: {error}", err=True)
            raise typer.Exit(FOUND) from None
    if as_json(format, json_):
        typer.echo(json.dumps(_shape(found, shown, keys=keys), ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(shown, keys=keys)))


def _shape(entity: Entity[Any], shown: ShownRow, *, keys: bool) -> dict[str, Any]:
    shape: dict[str, Any] = {"entity": entity.name, "row": plain(shown.record), **_head(shown)}
    if keys:
        shape |= {
            "key": shown.key,
            "bytes": shown.size,
            "entries": [
                {
                    "index": each.index,
                    "kind": each.kind,
                    "key": each.key,
                    "member": each.member,
                    "score": each.score,
                }
                for each in shown.entries
            ],
            "drift": [{"where": each.where, "kind": each.kind.code} for each in shown.drift],
        }
    return shape


def _head(shown: ShownRow) -> dict[str, Any]:
    head = shown.head
    moments = {"created": head.created, "revision": head.revision, "expires": head.expires}
    return {name: from_micros(at).isoformat() if at else None for name, at in moments.items()}


def _lines(shown: ShownRow, *, keys: bool) -> list[str]:
    fields = plain(shown.record)
    width = max(map(len, fields), default=0)
    lines = [f"{name:<{width}}  {one_line(value)}" for name, value in fields.items()]
    if not keys:
        return lines
    lines += ["", f"document  {printable(shown.key)}  ({shown.size:,} bytes)"]
    lines += [f"{name:<8}  {at or '-'}" for name, at in _head(shown).items()]
    for each in shown.entries:
        score = (
            ""
            if each.score is None
            else f"  score {each.score:.0f}" if each.score % 1 == 0 else f"  score {each.score}"
        )
        lines.append(f"{each.kind:<8}  {printable(each.key)}  {printable(each.member)}{score}")
    wrong = [f"wrong     {each.where}: {each.kind.value}" for each in shown.drift]
    return lines + (wrong or ["every entry agrees with the document"])
