"""The second step of `keyweave adopt`: the rows."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from keyweave.admin.held import held
from keyweave.admin.progress import Meter
from keyweave.admin.target import COULD_NOT_RUN, FOUND, Format, fail, load_package, named, opened
from keyweave.exchange.deadline import server_time

if TYPE_CHECKING:
    from keyweave.adopt.fit import Pair
    from keyweave.adopt.mapping import AdoptMap
    from keyweave.adopt.outcome import Outcome
    from keyweave.adopt.source import Connection
    from keyweave.sync.session import Session

_RESULTS: Final = {
    "written": "written",
    "present": "there from an earlier run",
    "renewed": "changed at the source since an earlier run, and written again",
    "expired": "past the deadline of their retention, not written",
    "refused": "refused, because a record cannot hold them",
    "conflicts": "in conflict: another row has the key or a unique value",
    "changed": "changed by an application in the store, left as they are",
    "missing": "missing in the store",
    "differing": "different in the store",
    "gone": "no longer at the source, and still in the store",
    "own": "written by an application, not from the source",
    "shifted": "with a later moment of the last change in the store, because the source did not change it",
}
_FAILURES: Final = ("refused", "conflicts", "changed", "missing", "differing", "gone")


def adopt_rows(
    source: str,
    out: Path,
    tables: list[str],
    package: str | None,
    url: str | None,
    namespace: str | None,
    environment: str | None,
    *,
    dry: bool,
    format_: Format,
) -> None:
    """Bring the rows of a database over, and compare both sides."""
    from keyweave.adopt.errors import AdoptError
    from keyweave.adopt.fit import pairs
    from keyweave.adopt.mapping import read_map
    from keyweave.adopt.read_catalog import read_catalog
    from keyweave.adopt.source import snapshot
    from keyweave.adopt.value import prepare

    named(url)
    try:
        mapping = read_map(out)
        name = package or mapping.package
        labels = _chosen(mapping, tables)
        with snapshot(source) as connection:
            catalog = read_catalog(connection, tables=labels)
            prepare(connection)
            found = pairs(mapping, catalog, load_package(name))
            with opened(name, url, namespace, environment) as session:
                outcomes = _run(session, connection, found, catalog.database, dry=dry)
    except AdoptError as error:
        fail(str(error))
    except KeyboardInterrupt:
        typer.echo("keyweave: stopped. Run it again for the rest.", err=True)
        raise typer.Exit(COULD_NOT_RUN) from None
    _report(outcomes, format_, dry=dry)
    if any(getattr(each, name) for each in outcomes for name in _FAILURES) or not (
        dry or all(each.equal for each in outcomes)
    ):
        raise typer.Exit(FOUND)


def _chosen(mapping: AdoptMap, tables: list[str]) -> list[str]:
    from keyweave.adopt.errors import NoTableError

    known = {each.label: each.table for each in mapping.tables}
    for name in tables:
        if name not in known and name not in known.values():
            raise NoTableError(f"the map has no table {name!r} (it has: {', '.join(known)})")
    return [label for label, table in known.items() if not tables or label in tables or table in tables]


def _run(
    session: Session, connection: Connection, found: list[Pair], database: str, *, dry: bool
) -> list[Outcome]:
    from keyweave.adopt.bring import Bringer, op_of
    from keyweave.adopt.compare import Comparer
    from keyweave.adopt.read_rows import count_rows

    context = session.context
    partition = context.keyspace.partitions()[0]
    now = session.shell.run(server_time(context, partition))
    op = op_of(database, partition.tag)
    totals = {pair.entity.name: count_rows(connection, pair) for pair in found}
    outcomes: dict[str, Outcome] = {}
    with Meter("adopt") as meter:
        observe = _observer(meter, "rows", sum(totals.values()))
        with nullcontext() if dry else held(session, "adopt") as hold:
            bringer = Bringer(session, connection, op, now, dry=dry, observe=observe, hold=hold)
            for pair in found:
                outcomes[pair.entity.name] = bringer.bring(pair)
        if not dry:
            comparer = Comparer(
                session, connection, op, now, _observer(meter, "compare", sum(totals.values()))
            )
            for pair in found:
                comparer.from_source(pair, outcomes[pair.entity.name])
            comparer.from_store({pair.entity.name: pair for pair in found}, outcomes)
    return list(outcomes.values())


def _observer(meter: Meter, stage: str, total: int) -> Callable[[int], object]:
    done = 0

    def observe(rows: int) -> None:
        nonlocal done
        done += rows
        meter.show(stage, done, total, done)

    return observe


def _report(outcomes: list[Outcome], format_: Format, *, dry: bool) -> None:
    if format_ is Format.JSON:
        shape = {
            "equal": all(each.equal for each in outcomes),
            "tables": [each.to_dict() for each in outcomes],
        }
        typer.echo(json.dumps(shape))
        return
    for outcome in outcomes:
        hashes = "" if dry else _hashes(outcome)
        typer.echo(f"{outcome.table} -> {outcome.entity}: {outcome.read:,} rows{hashes}")
        _results(outcome, {"refused": _RESULTS["refused"]} if dry else _RESULTS)
    read = sum(each.read for each in outcomes)
    if dry:
        refused = sum(each.refused for each in outcomes)
        typer.echo(
            f"{read:,} rows read, {refused:,} would be refused; nothing was written, because of --dry-run"
        )
    elif all(each.equal for each in outcomes):
        typer.echo(f"{read:,} rows: both sides are equal")
    else:
        typer.echo(f"{read:,} rows: the sides differ, as listed above")


def _hashes(outcome: Outcome) -> str:
    ours, theirs = f"{outcome.store_hash:064x}"[:16], f"{outcome.source_hash:064x}"[:16]
    if outcome.equal:
        return f", equal: sha256 {ours}"
    return f", not equal: source {outcome.source_rows:,} rows, {theirs}; store {outcome.store_rows:,} rows, {ours}"


def _results(outcome: Outcome, results: Mapping[str, str]) -> None:
    for name, words in results.items():
        number = getattr(outcome, name)
        if number:
            keys = outcome.examples.get(name, [])
            shown = f" ({'; '.join(keys)}{'; ...' if number > len(keys) else ''})" if keys else ""
            typer.echo(f"  {number:>9,}  {words}{shown}")
        if name == "refused":
            for reason, count in outcome.reasons.most_common(5):
                typer.echo(f"  {'':>9}    {count:,}: {reason}")
