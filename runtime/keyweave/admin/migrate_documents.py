"""`keyweave migrate-documents`: rewrites documents as this schema writes them."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any

import typer

from keyweave.admin.drift import GRACE, EntityOption, GraceOption
from keyweave.admin.pace import Paced, RateOption, paced_partitions
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
    opened,
)
from keyweave.admin.tenants import EPILOG as TENANTS
from keyweave.admin.tenants import AllTenantsOption, each_tenant, refuse_namespace
from keyweave.document.rewrite import Rewrite
from keyweave.evolution import retire
from keyweave.integrity.survey import Observer
from keyweave.repartition.hold import Hold
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave migrate-documents --url redis://localhost:6379                   store renamed fields under their new names

  keyweave migrate-documents --purge nickname --url redis://localhost:6379  also delete a field that was removed

Reads accept both names of a renamed field, and every write stores the new one; this command rewrites all other
documents. The revision, creation time and deadline of a row do not change. Run it after all older code is stopped: older
code reads old names only. Purged data cannot be restored: export first. It may be interrupted and run again.

Exit status: 0 nothing is left, 1 something is left (with --dry-run: something would be written), 2 could not run.
"""
EPILOG += TENANTS


def migrate_documents(
    command: typer.Context,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    purge: Annotated[
        list[str] | None,
        typer.Option("--purge", help="A removed field to delete from all documents; may be repeated."),
    ] = None,
    rate: RateOption = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be written; change nothing.")
    ] = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Rewrite stored documents that this schema would write differently."""
    rewrite = Rewrite()

    def work(session: Session, observe: Observer, *_: Any) -> Result:
        nonlocal rewrite
        rewrite = Rewrite()
        flow = retire.rewrite_documents(
            session.context,
            rewrite,
            entities=entity,
            purge=purge or (),
            dry_run=dry_run,
            observe=Paced(observe, rate),
            at_once=paced_partitions(rate),
        )
        session.shell.run(flow if dry_run else Hold(session.context, "migrate-documents").around(flow))
        found = bool(rewrite.overtaken or rewrite.unreadable or (dry_run and rewrite.written))
        shape = {"dry_run": dry_run, **dataclasses.asdict(rewrite)}
        return Result(found, shape, _lines(rewrite, dry_run=dry_run))

    refuse_namespace(command, all_tenants=all_tenants)
    grace_ms = round(grace * 1000)
    if all_tenants:
        each_tenant("migrate-documents", work, format, package, url, environment, grace_ms=grace_ms)
        return
    try:
        with (
            opened(package, url, namespace, environment, grace_ms=grace_ms) as session,
            Meter("migrate-documents") as meter,
        ):
            result = work(session, meter)
    except (KeyboardInterrupt, typer.Exit):
        if rewrite.written:
            typer.echo(
                f"keyweave: stopped; {rewrite.written:,} documents written. Run it again for the rest.",
                err=True,
            )
        raise typer.Exit(COULD_NOT_RUN) from None
    print_result(result, format)


def _lines(rewrite: Rewrite, *, dry_run: bool) -> list[str]:
    verb = "would be written" if dry_run else "written"
    lines = [f"{rewrite.read:,} documents read, {rewrite.written:,} {verb}"]
    if rewrite.overtaken:
        lines.append(
            f"{rewrite.overtaken:,} were changed by another process at the same time; run the command again"
        )
    if rewrite.unreadable:
        lines.append(f"{rewrite.unreadable:,} cannot be read; run: keyweave check")
    return lines
