"""`keyweave backfill`: builds indexes that are new to a namespace."""

from __future__ import annotations

from typing import Annotated

import typer

from keyweave.admin.drift import GRACE, GraceOption, ShowIdsOption, drift_lines, drift_rows
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
from keyweave.evolution.backfill import backfill as backfill_flow
from keyweave.evolution.build import Build
from keyweave.integrity.remedy import REASONS, REMEDIES
from keyweave.integrity.survey import Observer
from keyweave.repartition.hold import Hold
from keyweave.store.registry import Registry
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave backfill --url redis://localhost:6379                         build every index that is not built

  keyweave backfill User.by_role --rate 5000 --url redis://localhost:6379   only the indexes of User, at limited load

Run it after all older code is stopped: writes of older code are missing from a new index, and the index stays unbuilt
until a run during which no older code writes. New code may write at any time. If values of a unique constraint collide,
the command reports them and changes nothing. It may be interrupted and run again.

Exit status: 0 everything is built, 1 something is not (with --dry-run: something would be built), 2 could not run.
"""
EPILOG += TENANTS


def backfill(
    command: typer.Context,
    indexes: Annotated[
        list[str] | None,
        typer.Argument(
            help="Indexes such as User.by_role; the indexes of one entity are built together. Default: all.",
            metavar="[INDEX]...",
        ),
    ] = None,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    rate: RateOption = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would be built; change nothing.")
    ] = False,
    show_ids: ShowIdsOption = False,
    grace: GraceOption = GRACE,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Build views and unique constraints that are new to a namespace, while applications write."""
    build = Build()

    def work(session: Session, observe: Observer, before: list[Registry] | None = None) -> Result:
        nonlocal build
        build = Build()
        flow = backfill_flow(
            session.context,
            build,
            only=indexes or None,
            dry_run=dry_run,
            observe=Paced(observe, rate),
            before=before,
            at_once=paced_partitions(rate),
        )
        session.shell.run(flow if dry_run else Hold(session.context, "backfill").around(flow))
        shape = _shape(build, dry_run=dry_run, show_ids=show_ids)
        return Result(not build.complete, shape, _lines(build, dry_run=dry_run, show_ids=show_ids))

    refuse_namespace(command, all_tenants=all_tenants)
    grace_ms = round(grace * 1000)
    if all_tenants:
        each_tenant("backfill", work, format, package, url, environment, grace_ms=grace_ms)
        return
    try:
        with (
            opened(package, url, namespace, environment, grace_ms=grace_ms) as session,
            Meter("backfill") as meter,
        ):
            result = work(session, meter)
    except (KeyboardInterrupt, typer.Exit):
        if build.repairs.mended:
            typer.echo(
                f"keyweave: stopped; {build.repairs.mended.total():,} entries written. Run it again for the rest.",
                err=True,
            )
        raise typer.Exit(COULD_NOT_RUN) from None
    print_result(result, format)


def _shape(build: Build, *, dry_run: bool, show_ids: bool) -> dict[str, object]:
    shape: dict[str, object] = {
        "dry_run": dry_run,
        "complete": build.complete,
        "wanted": list(build.wanted),
        "built": list(build.built),
        "collisions": dict(sorted(build.collisions.items())),
        "passed": dict(sorted(build.passed.items())),
        "documents": build.repairs.report.documents,
        "written": drift_rows(build.repairs.mended),
        "left": drift_rows(build.repairs.left),
        "postponed": drift_rows(build.repairs.postponed),
    }
    if show_ids:
        shape["colliding"] = [list(pair) for pair in build.colliding]
    return shape


def _lines(build: Build, *, dry_run: bool, show_ids: bool) -> list[str]:
    if not build.wanted:
        return ["every index is built: there is nothing to do"]
    lines = [f"{name}: built" for name in build.built]
    lines += [
        f"{name}: {number:,} values are claimed by several rows; nothing was changed"
        for name, number in sorted(build.collisions.items())
    ]
    if show_ids:
        lines += [f"  {name}: {first} and {second}" for name, first, second in build.colliding]
    for name in sorted(set(build.wanted) - set(build.built) - build.collisions.keys()):
        if dry_run:
            lines.append(f"{name}: would be built")
        elif name in build.passed:
            lines.append(
                f"{name}: not built: older code wrote {build.passed[name]:,} times during the build; "
                "stop it and run the command again"
            )
        else:
            lines.append(f"{name}: not built")
    if build.repairs.mended:
        lines += ["written:", *drift_lines(build.repairs.mended, REMEDIES)]
    if build.repairs.postponed:
        lines += ["could not be written now; run the command again:", *drift_lines(build.repairs.postponed)]
    if build.repairs.left:
        lines += ["left alone:", *drift_lines(build.repairs.left, REASONS)]
    return lines
