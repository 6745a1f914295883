"""Formats findings: counted by place and kind; with ids only on request, with secrets never."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

import typer

from keyweave.integrity.drift import Drift, DriftGroup, Kind, Report
from keyweave.model.entity import Package

SHOWN: Final = 1000
"""The most findings that are listed one by one."""

EntityOption = Annotated[
    list[str] | None,
    typer.Option("--entity", help="Only this entity; may be repeated. Default: everything in the namespace."),
]
ShowIdsOption = Annotated[
    bool,
    typer.Option(
        "--show-ids", help=f"List up to {SHOWN} findings with keys and ids. Secret values are never shown."
    ),
]
GraceOption = Annotated[
    float,
    typer.Option(
        "--grace",
        min=0.001,
        help="Seconds from a deadline to the native TTL. Set it if your stores set grace_ms.",
    ),
]
GRACE: Final = 86_400.0


class Listing:
    """Collects findings for --show-ids."""

    def __init__(self, package: Package, *, wanted: bool) -> None:
        self._package = package
        self._wanted = wanted
        self.rows: list[dict[str, str]] = []

    def add(self, found: Iterable[Drift]) -> None:
        """Keep findings, up to `SHOWN`."""
        if self._wanted:
            room = SHOWN - len(self.rows)
            self.rows += [self._row(drift) for drift in list(found)[:room]]

    def _row(self, drift: Drift) -> dict[str, str]:
        row = {"where": drift.where, "kind": drift.kind.code, "key": printable(drift.place)}
        if drift.suspect.member is not None:
            row["id"] = printable(drift.suspect.member)
            row |= self._key(drift)
        if drift.value:
            row["value"] = "<secret>" if self._secret(drift) else printable(drift.value)
        if drift.other:
            row["other_id"] = printable(drift.other)
        return row

    def _key(self, drift: Drift) -> dict[str, str]:
        """Return the key of the row where the id is not its text: of numbers and of composite keys."""
        entity = self._package.entities.get(drift.where.partition(".")[0])
        member = drift.suspect.member
        if entity is None or not member or entity.shown(member) == member:
            return {}
        return {"row_key": printable(entity.key_shown(member))}

    def _secret(self, drift: Drift) -> bool:
        """Return whether a claimed value covers a secret field. A constraint that this schema lacks counts as secret."""
        name, _, index = drift.where.partition(".")
        entity = self._package.entities.get(name)
        unique = entity.uniques.get(index) if entity is not None else None
        return entity is None or unique is None or bool(entity.record.__secret_fields__ & set(unique.fields))


def printable(text: str) -> str:
    """Return a key or id for the terminal, with unprintable characters escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def drift_rows(drift: Counter[DriftGroup]) -> list[dict[str, Any]]:
    """Return counted drift for JSON, sorted."""
    rows = [(each.where, each.kind.code, number) for each, number in drift.items()]
    return [{"where": where, "kind": kind, "count": number} for where, kind, number in sorted(rows)]


def drift_lines(drift: Counter[DriftGroup], notes: Mapping[Kind, str] | None = None) -> list[str]:
    """Return counted drift for people, with a note on each kind."""
    return [
        f"  {number:>9,}  {each}" + (f" -> {notes[each.kind]}" if notes else "")
        for each, number in sorted(drift.items())
    ]


def listing_lines(rows: list[dict[str, str]]) -> list[str]:
    """Return single findings for people."""
    return [
        "  "
        + "  ".join(f"{name}={value}" for name, value in row.items() if name != "kind")
        + f"  ({row['kind']})"
        for row in rows
    ]


def notes(report: Report) -> list[str]:
    """Return what is worth knowing and no drift."""
    lines = []
    if report.unswept:
        lines.append(f"{report.unswept:,} rows were freed by their native TTL and wait for a sweep")
    if report.set_aside:
        lines.append(f"{report.set_aside:,} keys were set aside by repairs; inspect them, then delete them")
    if report.others:
        lines.append(
            f"{report.others:,} keys belong to indexes of another version of the schema; not compared"
        )
    if report.vacant:
        lines.append(
            f"{report.vacant:,} homes have no row; they mean nothing, and the next sweep removes them"
        )
    lines += report.unfinished
    lines += [f"{name} is not built yet; not compared" for name in report.unbuilt]
    return lines
