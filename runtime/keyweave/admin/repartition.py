"""`keyweave repartition`: doubles the number of a group's partitions while applications go on."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

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
    opened,
)
from keyweave.exchange.ask import ask
from keyweave.repartition.estimate import count_rows
from keyweave.repartition.grow import Stage, Standing, repartition, require_possible, standing
from keyweave.store.doubling import LEASE, PLAN_LIFE
from keyweave.sync.session import Session

_ROWS_A_SECOND: Final = 5_000
"""Rows that are copied or removed in a second, for the estimate."""

EPILOG = """\
Examples:

  keyweave repartition --group deals --to 16 --dry-run --url redis://localhost:6379   what would move, and how long it takes

  keyweave repartition --group deals --to 16 --url redis://localhost:6379             from 4 to 8, and from 8 to 16

The number is a power of two up to 1,024 and grows only. Half of the rows of each partition move to its twin in each doubling. Open
stores go on: a write of a partition waits for a moment when its rows move, and everything is slower while rows are
copied. The command first waits until every open store knows of it, about 30 seconds, and 15 more at the end. It may be interrupted at any
moment: everything works, `keyweave check` says that it is unfinished, and the same command goes on. Check the namespace before.

Exit status: 0 the group has the number, 2 could not run.
"""


def repartition_(
    to: Annotated[int, typer.Option("--to", help="The number of partitions that the group is to have.")],
    group: Annotated[
        str | None, typer.Option("--group", help="The group. Default: the only one of the schema.")
    ] = None,
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only report what would move, and an estimate; change nothing.")
    ] = False,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Double the number of a group's partitions, once or several times, while applications go on."""
    try:
        with opened(package, url, namespace, environment) as session, Meter("repartition") as meter:
            result = _run(session, _group(session, group), to, meter, dry_run=dry_run)
    except KeyboardInterrupt:
        typer.echo("keyweave: stopped; everything works. Run it again to go on.", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    print_result(result, format)


def _group(session: Session, group: str | None) -> str:
    groups = session.context.package.groups
    if group is None and len(groups) != 1:
        fail(f"which group? Name it with --group; the groups are {', '.join(sorted(groups))}")
    if group is not None and group not in groups:
        fail(f"there is no group {group!r}; the groups are {', '.join(sorted(groups))}")
    return group if group is not None else next(iter(groups))


def _run(session: Session, group: str, to: int, meter: Meter, *, dry_run: bool) -> Result:
    context = session.context
    now: Standing = session.shell.run(standing(context, group))
    require_possible(context.package, group, now, to)
    shape: dict[str, object] = {"group": group, "from": now.number, "to": to, "dry_run": dry_run}
    if now.number == to and not now.doubling:
        lines = [f"group {group} has {to} partition{'s' if to > 1 else ''} already; nothing to do"]
        return Result(False, shape | {"done": False}, lines)
    if dry_run:
        return _estimated(session, group, now, to, shape)

    def observe(stage: Stage) -> None:
        name = f"{stage.from_number} to {stage.to_number}: {stage.name}"
        meter.show(name, min(stage.done, stage.total), stage.total, None if stage.waits else stage.done)

    session.shell.run(repartition(context, group, to, observe))
    return Result(False, shape | {"done": True}, [f"group {group} has {to} partitions, {now.number} before"])


def _estimated(session: Session, group: str, now: Standing, to: int, shape: dict[str, object]) -> Result:
    """Return what would move: in each doubling half of the rows. Where they cannot be counted, the database has no more rows than keys."""
    doublings = (to // now.number).bit_length() - 1
    counted: int | None = session.shell.run(count_rows(session.context, group))
    if counted is None:
        replies: list[Any] = session.shell.run(ask(session.context, (("DBSIZE",),)))
        counted, exact = int(replies[0]), False
    else:
        exact = True
    moving = counted * doublings // 2
    seconds = round(LEASE + PLAN_LIFE + 6 + 2 * moving / _ROWS_A_SECOND)
    first = now.doubling or 2 * now.number
    about = (
        f"about {moving:,} rows would move, because the group has {counted:,} rows; about {seconds:,} s"
        if exact
        else f"at most {moving:,} rows would move, because the database has {counted:,} keys; about {seconds:,} s"
    )
    lines = [
        f"group {group}: {doublings} doubling{'s' if doublings > 1 else ''}, from {now.number} to {to} partitions",
        f"in each, half of the rows of each partition move to its twin: partition 0 to {first // 2}, and so on",
        about,
        "nothing was changed",
    ]
    more = {"doublings": doublings, "rows": moving, "seconds": seconds, "exact": exact}
    return Result(False, shape | more, lines)
