"""`keyweave adopt`: a schema from a PostgreSQL database, and with `--rows` its rows."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Final

import typer

from keyweave.admin.adopt_rows import adopt_rows
from keyweave.admin.adopt_schema import adopt_schema
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    UrlOption,
    fail,
    not_empty,
)

EPILOG = """\
Two steps. The first writes the schema; read its comments and change what you like, before the second brings the rows:

  keyweave adopt postgresql://app@db/shop --dry-run      print the files, write nothing

  keyweave adopt postgresql://app@db/shop                schema/ with a file for each table

  keyweave validate && keyweave generate

  keyweave adopt postgresql://app@db/shop --rows --url redis://localhost:6379

Comments in the files begin with `decided:`, `lost:` (what PostgreSQL did, and the schema cannot say) or `hint:`. The file
.adopt.json in the same folder says which column each field comes from; --rows reads it, so correct it when you rename a field.

The source is read in one read-only transaction with one snapshot; nothing is written to it. --rows keeps the moments of
created_at and updated_at, and compares both sides by hash when all rows are there. It may be ended at any moment, also by a
kill: run it again. Rows that changed at the source in between are written again; rows that an application changed in the store
are left as they are. Both are reported.

A password in an argument can be seen by other users of the machine: put the URL into KEYWEAVE_SOURCE, or the password into
PGPASSWORD or ~/.pgpass.

Exit status: 0 done, and with --rows both sides are equal, 1 rows differ or could not be written, 2 could not run.
"""

_EXTRA: Final = "pip install 'keyweave[adopt]'"

SourceArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="SOURCE",
        envvar="KEYWEAVE_SOURCE",
        callback=not_empty("KEYWEAVE_SOURCE"),
        show_default=False,
        help="The database, as postgresql://user@host:5432/database.",
    ),
]


def adopt(
    source: SourceArgument = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder of the schema that is written, or read by --rows.")
    ] = Path("schema"),
    schema: Annotated[
        list[str] | None,
        typer.Option(
            "--schema",
            "-s",
            help="A schema of PostgreSQL. Repeat it, or use commas. Default: all but its own.",
        ),
    ] = None,
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--tables", "-t", help="A table, also as schema.table. Repeat it, or use commas. Default: all."
        ),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key", metavar="TABLE=COLUMNS", help="The columns that identify a row of a table without a key."
        ),
    ] = None,
    as_text: Annotated[
        list[str] | None,
        typer.Option(
            "--as-text", metavar="SQLTYPE", help="Keep values of a type of which nothing is known as text."
        ),
    ] = None,
    package: Annotated[
        str | None,
        typer.Option(
            "--package",
            "-p",
            envvar="KEYWEAVE_PACKAGE",
            callback=not_empty("KEYWEAVE_PACKAGE"),
            help="Import name of the generated package. Default: from the database's name; with --rows, from the map.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print the files and write nothing; with --rows, read and check every row."
        ),
    ] = False,
    rows: Annotated[bool, typer.Option("--rows", help="Bring the rows over, with their moments.")] = False,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Adopt a PostgreSQL database: write a schema for its tables, or bring their rows over."""
    if source is None:
        fail("which database? Name it as postgresql://user@host:5432/database, or in KEYWEAVE_SOURCE")
    if find_spec("psycopg") is None:
        fail(f"keyweave adopt needs psycopg; install it with: {_EXTRA}")
    wanted = _words(tables)
    if rows:
        given = {"--schema": schema, "--key": key, "--as-text": as_text, "--force": force}
        unfit = [name for name, value in given.items() if value]
        if unfit:
            fail(
                f"{' and '.join(unfit)}: only for the first step, which writes the schema; --rows follows its map"
            )
        adopt_rows(source, out, wanted, package, url, namespace, environment, dry=dry_run, format_=format)
    else:
        adopt_schema(
            source,
            out,
            _words(schema),
            wanted,
            _keys(key or []),
            frozenset(_words(as_text)),
            package or "",
            force=force,
            dry=dry_run,
            format_=format,
        )


def _words(given: list[str] | None) -> list[str]:
    """The words of an option that may be repeated, and that may have commas."""
    return [word.strip() for text in given or [] for word in text.split(",") if word.strip()]


def _keys(given: list[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for text in given:
        table, separator, columns = text.partition("=")
        names = tuple(name.strip() for name in columns.split(",") if name.strip())
        if not separator or not table.strip() or not names:
            fail(f"--key is TABLE=COLUMN,COLUMN, not {text!r}")
        found[table.strip()] = names
    return found
