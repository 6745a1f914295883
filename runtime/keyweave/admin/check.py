"""`keyweave check`: compares every index with its documents."""

from __future__ import annotations

from typing import Any

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
from keyweave.admin.result import Result, print_result, print_unfinished
from keyweave.admin.target import (
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
from keyweave.errors import KeyweaveError
from keyweave.integrity.check import check as check_flow
from keyweave.integrity.drift import Report
from keyweave.integrity.survey import Observer
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave check --url redis://localhost:6379                 the whole namespace

  keyweave check --url redis://localhost:6379 --entity User   one entity

  keyweave check --url redis://localhost:6379 --all-tenants   every tenant of the application

It only reads, in constant memory. It may run while applications write: reported drift was found twice. If a partition of a
cluster cannot be read, the others are compared, what they have is printed, and the error names the partition.
`keyweave reindex` repairs what can be repaired.

Exit status: 0 clean, 1 drift, 2 could not run.
"""
EPILOG += TENANTS


def check(
    command: typer.Context,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    entity: EntityOption = None,
    show_ids: ShowIdsOption = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Compare documents and index entries, in both directions."""

    def work(session: Session, observe: Observer, *_: Any) -> Result:
        listing = Listing(session.context.package, wanted=show_ids)
        report = Report()
        flow = check_flow(
            session.context, entities=entity, observe=observe, on_drift=listing.add, report=report
        )
        try:
            session.shell.run(flow)
        except KeyweaveError as error:
            if not all_tenants and report.documents:
                shape = _shape(report, listing, show_ids=show_ids) | {"clean": False, "error": str(error)}
                print_unfinished(shape, _unfinished(report, listing), format)
            raise
        return Result(not report.clean, _shape(report, listing, show_ids=show_ids), _lines(report, listing))

    refuse_namespace(command, all_tenants=all_tenants)
    grace_ms = round(grace * 1000)
    if all_tenants:
        each_tenant("check", work, format, package, url, environment, grace_ms=grace_ms)
        return
    with (
        opened(package, url, namespace, environment, grace_ms=grace_ms) as session,
        Meter("check") as meter,
    ):
        result = work(session, meter)
    print_result(result, format)


def _unfinished(report: Report, listing: Listing) -> list[str]:
    """Return the lines of a check that an error has ended."""
    lines = [
        f"not complete: {report.documents:,} documents and {report.entries:,} entries compared before an error"
    ]
    if report.drift:
        lines += ["drift:", *drift_lines(report.drift), *listing_lines(listing.rows)]
    return lines + notes(report)


def _shape(report: Report, listing: Listing, *, show_ids: bool) -> dict[str, object]:
    shape: dict[str, object] = {
        "clean": report.clean,
        "documents": report.documents,
        "entries": report.entries,
        "unswept": report.unswept,
        "set_aside": report.set_aside,
        "others": report.others,
        "unbuilt": list(report.unbuilt),
        "drift": drift_rows(report.drift),
    }
    if report.unfinished:
        shape["unfinished"] = list(report.unfinished)
    if show_ids:
        shape["findings"] = listing.rows
    return shape


def _lines(report: Report, listing: Listing) -> list[str]:
    lines = [f"{report.documents:,} documents and {report.entries:,} entries compared"]
    if not report.documents:
        lines.append("there are no documents: check that --namespace and --environment are right")
    if report.clean:
        lines.append("clean: every index agrees with its documents")
    else:
        lines += ["drift:", *drift_lines(report.drift), *listing_lines(listing.rows)]
    return lines + notes(report)
