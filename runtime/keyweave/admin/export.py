"""`keyweave export`: writes every document to a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from keyweave.admin.drift import EntityOption
from keyweave.admin.progress import Meter
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)
from keyweave.transfer.export import export as export_flow
from keyweave.transfer.file import Writer

EPILOG = """\
Example:

  keyweave export --url redis://localhost:6379 store.ndjson

The file contains the secrets of the store; only its owner can read it. It gets its name when it is complete.
If applications write, each document is as of one moment, but the file as a whole is not: see
docs/backup-and-persistence.md.

Exit status: 0 done, 1 done except for unreadable documents, 2 could not run.
"""


def export(
    file: Annotated[Path, typer.Argument(help="The file to write: JSON, one line per document.")],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Write every document to a file from which a namespace can be rebuilt."""
    if file.exists() and not overwrite:
        fail(f"{file} exists already; replace it with --overwrite")
    writer = Writer()
    with (
        opened(package, url, namespace, environment) as session,
        _complete(file) as output,
        Meter("export") as meter,
    ):
        session.shell.run(export_flow(session.context, writer, output.write, entities=entity, observe=meter))
    counts = dict(sorted(writer.counts.items()))
    if format is Format.JSON:
        shape = {"documents": writer.counts.total(), "counts": counts, "left_out": writer.left_out}
        typer.echo(json.dumps(shape))
    else:
        typer.echo(f"{writer.counts.total():,} documents written to {file}")
        for name, number in counts.items():
            typer.echo(f"  {number:>9,}  {name}")
        if writer.left_out:
            typer.echo(f"  {writer.left_out:>9,}  left out: they cannot be read; run: keyweave check")
    if writer.left_out:
        raise typer.Exit(FOUND)


@contextmanager
def _complete(file: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name when everything is written, and that only its owner can read."""
    part = file.with_name(f"{file.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        fail(f"cannot write {part}: {error.strerror}")
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(file)
    except OSError as error:
        fail(f"cannot write {file}: {error.strerror}")
    finally:
        part.unlink(missing_ok=True)
