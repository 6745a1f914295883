"""`keyweave import`: writes the documents of an export to a namespace."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Final

import typer

from keyweave.admin.drift import GRACE, GraceOption
from keyweave.admin.progress import Meter
from keyweave.admin.target import (
    COULD_NOT_RUN,
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    load_package,
    opened,
)
from keyweave.errors import ExportFileError
from keyweave.exchange.deadline import server_time
from keyweave.sync.session import Session
from keyweave.transfer.file import Contents, check_schema, read_line, verify
from keyweave.transfer.history import history
from keyweave.transfer.load import Imported, load

EPILOG = """\
Example:

  keyweave import --url redis://localhost:6379 --namespace restored store.ndjson

With --keep-moments, the file has a line for each row, from anywhere:

  {"entity":"User","row":{"id":"ada","email":"a@b","created_at":"2020-05-01T12:00:00Z"}}

The whole file is verified before anything is written. Revisions, creation times and deadlines are kept; every index is
built anew. Existing rows are not changed, so an interrupted import may be run again.

Exit status: 0 everything is imported, 1 some documents are in conflict or unreadable, 2 could not run.
"""

_BYTES: Final = 4 * 1024 * 1024
_LINES: Final = 500


def import_(
    file: Annotated[Path, typer.Argument(help="A file that keyweave export wrote.")],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    other_schema: Annotated[
        bool, typer.Option("--other-schema", help="Accept a file that was exported with another schema.")
    ] = False,
    keep_moments: Annotated[
        bool,
        typer.Option(
            "--keep-moments",
            help="The file has rows from elsewhere, which keep the moments at which they were created and changed.",
        ),
    ] = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Write the documents of an export, with every index, to a namespace."""
    imported = Imported()
    contents: Contents | None = None
    if not keep_moments:
        try:
            contents = verify(_lines(file))
            check_schema(contents, load_package(package), other_schema=other_schema)
        except ExportFileError as error:
            fail(str(error))
    try:
        with opened(package, url, namespace, environment, grace_ms=round(grace * 1000)) as session:
            if contents is None:
                _import_history(session, file, imported)
            else:
                _import(session, file, contents, imported)
    except (KeyboardInterrupt, typer.Exit):
        typer.echo(
            f"keyweave: stopped; {imported.written:,} documents written. Run it again for the rest.", err=True
        )
        raise typer.Exit(COULD_NOT_RUN) from None
    if format is Format.JSON:
        typer.echo(json.dumps({"complete": imported.complete, **asdict(imported)}))
    else:
        for name, number in asdict(imported).items():
            if number or name == "written":
                typer.echo(f"  {number:>9,}  {name.replace('_', ' ')}")
    if not imported.complete:
        raise typer.Exit(FOUND)


def _import(session: Session, file: Path, contents: Contents, imported: Imported) -> None:
    op = contents.end.sha256[:18]
    done, total = 0, contents.end.documents
    with Meter("import") as meter:
        for batch in _batches(file):
            session.shell.run(load(session.context, batch, op, imported))
            done += len(batch)
            meter.show("load", done, total, done)


def _import_history(session: Session, file: Path, imported: Imported) -> None:
    context = session.context
    now = session.shell.run(server_time(context, context.keyspace.partitions()[0]))
    digest, total = hashlib.sha256(), 0
    for line in _lines(file):
        digest.update(line)
    for _ in history(context, _lines(file), now):
        total += 1
    op, done = digest.hexdigest()[:18], 0
    rows = history(context, _lines(file), now)
    with Meter("import") as meter:
        while batch := list(islice(rows, _LINES)):
            session.shell.run(load(context, batch, op, imported, referring=True))
            done += len(batch)
            meter.show("load", done, total, done)


def _batches(file: Path) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the documents between the first and the last line, in batches."""
    batch: list[tuple[str, bytes]] = []
    size = 0
    held: bytes | None = None
    for number, line in enumerate(_lines(file)):
        if number and held is not None:
            parsed = read_line(held)
            batch.append((parsed.entity, bytes(parsed.document)))
            size += len(held)
            if len(batch) >= _LINES or size >= _BYTES:
                yield batch
                batch, size = [], 0
        held = line if number else None
    if batch:
        yield batch


def _lines(file: Path) -> Iterator[bytes]:
    try:
        with file.open("rb") as source:
            yield from source
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")
