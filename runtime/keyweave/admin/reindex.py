"""`keyweave reindex`: repairs what a check finds."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from keyweave.admin.drift import (
    GRACE,
    EntityOption,
    GraceOption,
    Listing,
    ShowIdsOption,
    drift_lines,
    drift_rows,
    listing_lines,
    notes,
)
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
from keyweave.integrity import repair
from keyweave.integrity.remedy import REASONS, REMEDIES, Repairs
from keyweave.integrity.survey import Observer
from keyweave.repartition.hold import Hold
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave reindex --url redis://localhost:6379 --dry-run   report what would be done

  keyweave reindex --url redis://localhost:6379             do it

Documents never change: their indexes, claims and deadlines are made to match them. Each row is repaired in one atomic
step, guarded by its revision, so applications may write at the same time. It may be interrupted and run again.

Exit status: 0 nothing is left to do, 1 something is left (with --dry-run: something would be done), 2 could not run.
"""
EPILOG += TENANTS


def reindex(
    command: typer.Context,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    show_ids: ShowIdsOption = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Make every index match its documents again."""
    repairs = Repairs()

    def work(session: Session, observe: Observer, *_: Any) -> Result:
        nonlocal repairs
        repairs = Repairs()
        listing = Listing(session.context.package, wanted=show_ids)
        flow = repair.reindex(
            session.context,
            repairs,
            entities=entity,
            dry_run=dry_run,
            observe=observe,
            on_drift=listing.add,
        )
        session.shell.run(flow if dry_run else Hold(session.context, "reindex").around(flow))
        found = not repairs.complete or (dry_run and bool(repairs.mended or repairs.forgotten))
        shape = _shape(repairs, listing, dry_run=dry_run, show_ids=show_ids)
        return Result(found, shape, _lines(repairs, listing, dry_run=dry_run))

    refuse_namespace(command, all_tenants=all_tenants)
    grace_ms = round(grace * 1000)
    if all_tenants:
        each_tenant("reindex", work, format, package, url, environment, grace_ms=grace_ms)
        return
    try:
        with (
            opened(package, url, namespace, environment, grace_ms=grace_ms) as session,
            Meter("reindex") as meter,
        ):
            result = work(session, meter)
    except (KeyboardInterrupt, typer.Exit):
        if repairs.mended:
            done = "planned" if dry_run else "repaired"
            typer.echo(
                f"keyweave: stopped; {repairs.mended.total():,} {done}. Run it again for the rest.", err=True
            )
        raise typer.Exit(COULD_NOT_RUN) from None
    print_result(result, format)


def _shape(repairs: Repairs, listing: Listing, *, dry_run: bool, show_ids: bool) -> dict[str, object]:
    shape: dict[str, object] = {
        "dry_run": dry_run,
        "complete": repairs.complete,
        "documents": repairs.report.documents,
        "entries": repairs.report.entries,
        "forgotten": repairs.forgotten,
        "set_aside": repairs.report.set_aside,
        "mended": drift_rows(repairs.mended),
        "left": drift_rows(repairs.left),
        "postponed": drift_rows(repairs.postponed),
    }
    if show_ids:
        shape["findings"] = listing.rows
    return shape


def _lines(repairs: Repairs, listing: Listing, *, dry_run: bool) -> list[str]:
    report = repairs.report
    lines = [f"{report.documents:,} documents and {report.entries:,} entries compared"]
    if repairs.mended:
        lines.append("would repair:" if dry_run else "repaired:")
        lines += drift_lines(repairs.mended, REMEDIES)
    if repairs.postponed:
        lines += ["could not be repaired now; run the command again:", *drift_lines(repairs.postponed)]
    if repairs.left:
        lines += ["left alone:", *drift_lines(repairs.left, REASONS)]
    if repairs.forgotten:
        verb = "would remove" if dry_run else "removed"
        lines.append(f"{verb} the entries of {repairs.forgotten:,} rows that their native TTL freed")
    if not (repairs.mended or repairs.left or repairs.postponed or repairs.forgotten):
        lines.append("clean: there is nothing to do")
    return [*lines, *listing_lines(listing.rows), *notes(report)]
