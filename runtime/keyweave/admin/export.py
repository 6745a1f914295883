"""`keyweave export`: writes every document to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from keyweave.admin.drift import EntityOption
from keyweave.admin.progress import Meter
from keyweave.admin.result import Result, print_result
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)
from keyweave.admin.tenants import EPILOG as TENANTS
from keyweave.admin.tenants import AllTenantsOption, each_tenant, refuse_namespace
from keyweave.errors import ExportFileError
from keyweave.integrity.survey import Observer
from keyweave.sync.session import Session
from keyweave.transfer.export import export as export_flow
from keyweave.transfer.file import Writer, file_of

EPILOG = """\
Example:

  keyweave export --url redis://localhost:6379 store.ndjson

The file contains the secrets of the store; only its owner can read it. It gets its name when it is complete.
If applications write, each document is as of one moment, but the file as a whole is not: see
docs/backup-and-persistence.md.

Exit status: 0 done, 1 done except for unreadable documents, 2 could not run.
"""
EPILOG += TENANTS


def export(
    command: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="The file to write: JSON, one line per document. With --all-tenants a folder, with a file for each tenant."
        ),
    ],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Write every document to a file from which a namespace can be rebuilt."""
    refuse_namespace(command, all_tenants=all_tenants)

    def work(session: Session, observe: Observer, *_: Any, place: Path | None = None) -> Result:
        if place is None:
            place = file / file_of(session.context.keyspace.namespace.tenant)
        return _export(session, place, observe, entity, overwrite=overwrite)

    if all_tenants:
        _make_folder(file)
        each_tenant("export", work, format, package, url, environment)
        return
    if file.exists() and not overwrite:
        fail(f"{file} exists already; replace it with --overwrite")
    with opened(package, url, namespace, environment) as session, Meter("export") as meter:
        result = work(session, meter, place=file)
    print_result(result, format)


def _export(
    session: Session, file: Path, observe: Observer, entities: list[str] | None, *, overwrite: bool
) -> Result:
    if file.exists() and not overwrite:
        raise ExportFileError(f"{file} exists already; replace it with --overwrite")
    writer = Writer()
    with _complete(file) as output:
        session.shell.run(
            export_flow(session.context, writer, output.write, entities=entities, observe=observe)
        )
    number, counts = writer.counts.total(), dict(sorted(writer.counts.items()))
    shape: dict[str, object] = {"documents": number, "counts": counts, "left_out": writer.left_out}
    lines = [f"{number:,} documents written to {file}"]
    lines += [f"  {number:>9,}  {name}" for name, number in counts.items()]
    if writer.left_out:
        lines.append(f"  {writer.left_out:>9,}  left out: they cannot be read; run: keyweave check")
    return Result(bool(writer.left_out), shape, lines)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        fail(f"cannot make the folder {folder}: {error.strerror}")


@contextmanager
def _complete(file: Path) -> Iterator[BinaryIO]:
    """Open a file that gets its name when everything is written, and that only its owner can read."""
    part = file.with_name(f"{file.name}.part")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise ExportFileError(f"cannot write {part}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as output:
            yield output
            output.flush()
            os.fsync(output.fileno())
        part.replace(file)
    except OSError as error:
        raise ExportFileError(f"cannot write {file}: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
