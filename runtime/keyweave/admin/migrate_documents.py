"""`keyweave migrate-documents`: write documents as this schema writes them."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from keyweave.admin.findings import GRACE, EntityOption, GraceOption
from keyweave.admin.pace import Paced, RateOption
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
    opened,
)
from keyweave.document.rewrite import Rewrite
from keyweave.evolution import retire

EPILOG = """\
Examples:

  keyweave migrate-documents --url redis://localhost:6379                   renamed fields under their new names

  keyweave migrate-documents --purge nickname --url redis://localhost:6379  and without a field that was removed

Reading takes both names of a renamed field, and every write stores the new one; this command writes all that is left. Revision,
creation and deadline of a row stay as they are. Run it when all older code is gone: older code reads old names only.
What is purged is gone for good: export first. It may be interrupted and run again.

Exit status: 0 nothing is left, 1 something is (with --dry-run: something would be written), 2 could not run.
"""


def migrate_documents(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    purge: Annotated[
        list[str] | None,
        typer.Option("--purge", help="A removed field to delete from documents; may be repeated."),
    ] = None,
    rate: RateOption = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be written.")] = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Write stored documents anew where this schema writes them otherwise."""
    rewrite = Rewrite()
    try:
        with opened(package, url, namespace, environment, grace_ms=round(grace * 1000)) as session:
            meter = Meter("migrate-documents")
            flow = retire.rewrite_documents(
                session.context,
                rewrite,
                entities=entity,
                purge=purge or (),
                dry_run=dry_run,
                observe=Paced(meter, rate),
            )
            with meter:
                session.shell.run(flow)
    except (KeyboardInterrupt, typer.Exit):
        if rewrite.written:
            typer.echo(f"keyweave: stopped; {rewrite.written:,} written. Run it again.", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    if format is Format.JSON:
        typer.echo(json.dumps({"dry_run": dry_run, **dataclasses.asdict(rewrite)}))
    else:
        typer.echo("\n".join(_lines(rewrite, dry_run=dry_run)))
    if rewrite.overtaken or rewrite.unreadable or (dry_run and rewrite.written):
        raise typer.Exit(FOUND)


def _lines(rewrite: Rewrite, *, dry_run: bool) -> list[str]:
    verb = "would be written" if dry_run else "written"
    lines = [f"{rewrite.read:,} documents read, {rewrite.written:,} {verb}"]
    if rewrite.overtaken:
        lines.append(f"{rewrite.overtaken:,} were written by somebody else meanwhile; run it again")
    if rewrite.unreadable:
        lines.append(f"{rewrite.unreadable:,} cannot be read; run: keyweave check")
    return lines
