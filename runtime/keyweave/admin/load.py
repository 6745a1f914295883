"""`keyweave import`: writes the documents of an export to a namespace."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from keyweave.admin.drift import GRACE, GraceOption
from keyweave.admin.held import held
from keyweave.admin.progress import Meter
from keyweave.admin.result import Result, print_result
from keyweave.admin.target import (
    COULD_NOT_RUN,
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
from keyweave.admin.tenants import AllTenantsOption, Outcomes, refuse_namespace, tenants_of
from keyweave.errors import ExportFileError
from keyweave.exchange.deadline import server_time
from keyweave.integrity.scan import scans_at_once
from keyweave.sync.session import Session
from keyweave.transfer.file import SUFFIX, Contents, check_schema, read_line, tenant_of, verify
from keyweave.transfer.history import history
from keyweave.transfer.load import ROWS, Imported, load

EPILOG = """\
Example:

  keyweave import --url redis://localhost:6379 --namespace restored store.ndjson

With --keep-moments, the file has a line for each row, from anywhere:

  {"entity":"User","row":{"id":"ada","email":"a@b","created_at":"2020-05-01T12:00:00Z"}}

The whole file is verified before anything is written. Revisions, creation times and deadlines are kept; every index is
built anew. Existing rows are not changed, so an interrupted import may be run again.

Exit status: 0 everything is imported, 1 some documents are in conflict or unreadable, 2 could not run.

With --all-tenants every file that `keyweave export --all-tenants` wrote into the folder is imported into its tenant: all are
verified before anything is written.
"""

_BYTES: Final = 4 * 1024 * 1024
_LINES: Final = 500


def import_(
    command: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            help="A file that keyweave export wrote. With --all-tenants the folder, with a file for each tenant."
        ),
    ],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
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
    refuse_namespace(command, all_tenants=all_tenants)
    grace_ms = round(grace * 1000)
    if all_tenants:
        if keep_moments:
            fail("--keep-moments takes one file, for one tenant")
        files = _files(file)
        verified = {
            tenant: _verified(files[tenant], package, other_schema=other_schema) for tenant in sorted(files)
        }
        _import_tenants(files, verified, format, package, url, environment, grace_ms=grace_ms)
        return
    imported = Imported()
    contents = None if keep_moments else _verified(file, package, other_schema=other_schema)
    try:
        with (
            opened(package, url, namespace, environment, grace_ms=grace_ms) as session,
            Meter("import") as meter,
        ):
            if contents is None:
                _import_history(session, file, imported, meter)
            else:
                _import(session, file, contents, imported, meter)
    except (KeyboardInterrupt, typer.Exit):
        typer.echo(
            f"keyweave: stopped; {imported.written:,} documents written. Run it again for the rest.", err=True
        )
        raise typer.Exit(COULD_NOT_RUN) from None
    numbers = asdict(imported)
    lines = [f"  {number:>9,}  {name.replace('_', ' ')}" for name, number in _notable(numbers).items()]
    print_result(Result(not imported.complete, {"complete": imported.complete, **numbers}, lines), format)


def _import_tenants(
    files: dict[str, Path],
    verified: dict[str, Contents],
    format_: Format,
    package: str | None,
    url: str | None,
    environment: str | None,
    **options: Any,
) -> None:
    """Import each file into its tenant."""
    outcomes = Outcomes()
    total = sum(contents.end.documents for contents in verified.values())
    try:
        with tenants_of(package, url, environment, **options) as tenants, Meter("import") as meter:

            def work(session: Session) -> Result:
                tenants.open(session)
                tenant = session.context.keyspace.namespace.tenant
                imported, done = Imported(), sum(meter_done)
                _import(session, files[tenant], verified[tenant], imported, meter, done, total)
                meter_done.append(verified[tenant].end.documents)
                numbers = asdict(imported)
                line = ", ".join(
                    f"{number:,} {name.replace('_', ' ')}" for name, number in _notable(numbers).items()
                )
                return Result(not imported.complete, {"complete": imported.complete, **numbers}, [line])

            meter_done: list[int] = []
            tenants.each_of(verified, work, outcomes)
    except KeyboardInterrupt:
        fail(f"stopped; {len(outcomes.rows):,} tenants are done. Run it again for the rest.")
    outcomes.finish(format_)


def _notable(numbers: dict[str, int]) -> dict[str, int]:
    """Return the numbers that are worth printing."""
    return {name: number for name, number in numbers.items() if number or name == "written"}


def _verified(file: Path, package: str | None, *, other_schema: bool) -> Contents:
    """Return the first and last line of a whole file; end the command if it is not one that this schema can import."""
    try:
        contents = verify(_lines(file))
        check_schema(contents, load_package(package), other_schema=other_schema)
    except ExportFileError as error:
        fail(str(error))
    return contents


def _files(folder: Path) -> dict[str, Path]:
    """Return the exports in a folder by tenant; end the command for one whose name is no tenant's."""
    files: dict[str, Path] = {}
    try:
        for each in sorted(folder.glob(f"*{SUFFIX}")):
            tenant = tenant_of(each.name)
            if tenant is None:
                fail(
                    f"{each} is not named as keyweave export --all-tenants names files; import it with --tenant"
                )
            files[tenant] = each
    except OSError as error:
        fail(f"cannot read {folder}: {error.strerror}")
    if not files:
        fail(f"{folder} has no exports")
    return files


def _import(
    session: Session,
    file: Path,
    contents: Contents,
    imported: Imported,
    meter: Meter,
    done: int = 0,
    total: int = 0,
) -> None:
    op = contents.end.sha256[:18]
    total = total or contents.end.documents
    with held(session, "import") as hold:
        for batch in _batches(file, _lines_of(session)):
            session.shell.run(hold.keep(load(session.context, batch, op, imported)))
            done += len(batch)
            meter.show("load", done, total, done)


def _import_history(session: Session, file: Path, imported: Imported, meter: Meter) -> None:
    context = session.context
    now = session.shell.run(server_time(context, context.keyspace.partitions()[0]))
    digest, total = hashlib.sha256(), 0
    for line in _lines(file):
        digest.update(line)
    for _ in history(context, _lines(file), now):
        total += 1
    op, done = digest.hexdigest()[:18], 0
    rows = history(context, _lines(file), now)
    with held(session, "import") as hold:
        while batch := list(islice(rows, _lines_of(session))):
            session.shell.run(hold.keep(load(context, batch, op, imported, referring=True)))
            done += len(batch)
            meter.show("load", done, total, done)


def _lines_of(session: Session) -> int:
    """Return the most lines of a batch. On a cluster there are some for each partition, because they are written side by side."""
    return max(_LINES, ROWS * scans_at_once(session.context))


def _batches(file: Path, lines: int) -> Iterator[list[tuple[str, bytes]]]:
    """Yield the documents between the first and the last line, in batches of so many."""
    batch: list[tuple[str, bytes]] = []
    size = 0
    held: bytes | None = None
    for number, line in enumerate(_lines(file)):
        if number and held is not None:
            parsed = read_line(held)
            batch.append((parsed.entity, bytes(parsed.document)))
            size += len(held)
            if len(batch) >= lines or size >= _BYTES:
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
