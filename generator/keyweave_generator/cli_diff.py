"""`keyweave diff`: the effects of a change of the schema, before it is merged.

Exit status: 0 when no finding is as severe as the chosen level, 1 when one is, 2 when the comparison failed.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from .changes.compare import compare
from .changes.finding import Level, Review
from .changes.report_github import github_report
from .changes.report_json import json_report
from .changes.report_markdown import markdown_report
from .changes.report_text import text_report
from .compiled import as_generated
from .history import HistoryError, commit_of, files_at, manifests_at, usual_base
from .load import Located, load_located, locate_sources
from .problems import SchemaError

EPILOG = """\
Examples:

  keyweave diff                        the changes of this branch

  keyweave diff --against v1.4         since a tag, branch or commit

  keyweave diff --against ../old/schema   two folders, without git

  keyweave diff --level error          fail only if data would be lost

  keyweave diff --format markdown      for a comment on a pull request

Without --against, the schema is compared with the merge base of HEAD and the default branch: the first of \
origin/HEAD, origin/main, origin/master, main and master that exists; if there is none, with HEAD. A folder \
of that name takes precedence over a revision. If there was no schema, everything is new, and there are no findings.

Levels: error: stored data would be lost or unreadable. warning: action is needed. info: no action is needed.

Exit status: 0: no finding at the level or above. 1: at least one. 2: the comparison failed.

A finding is accepted by an entry under `ignore` in package.yaml, with the reason; one of level error must be named \
with its entity and field: {rule: FIELD_TYPE_NARROWED, entity: User, field: age, reason: ...}.
"""

_FOUND = 1
_COULD_NOT_RUN = 2


class Format(enum.Enum):
    """How the review is printed."""

    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    GITHUB = "github"


def diff(
    against: Annotated[
        str | None,
        typer.Option("--against", "-a", help="Folder, branch, tag or commit with the old schema."),
    ] = None,
    schema: Annotated[Path, typer.Option("--schema", "-s", help="Folder of the YAML files.")] = Path(
        "schema"
    ),
    level: Annotated[
        Level, typer.Option("--level", "-l", help="Exit with 1 if a finding is at least as severe as this.")
    ] = Level.WARNING,
    format: Annotated[  # noqa: A002 - the option's name
        Format,
        typer.Option("--format", "-f", help="text, json (a stable shape), markdown, or GitHub annotations."),
    ] = Format.TEXT,
) -> None:
    """Report what a schema change means for code, stored data and a rolling deploy."""
    try:
        review = _review(schema, against)
    except SchemaError as error:
        typer.echo(str(error), err=True)
        _fail("the schemas cannot be compared until these mistakes are corrected")
    except HistoryError as error:
        _fail(str(error))
    typer.echo(_report(review, format, level), nl=False)
    if review.reaching(level):
        raise typer.Exit(_FOUND)


def _review(schema: Path, against: str | None) -> Review:
    new = load_located(schema)
    if against is not None and Path(against).is_dir():
        manifests = [path.read_bytes() for path in sorted(Path(against).parent.glob("*/*/manifest.json"))]
        return compare(_as_generated(load_located(Path(against)), manifests), new, against=against)
    name = against
    commit = usual_base(schema) if against is None else commit_of(schema, against)
    if commit is not None and name is None:
        name = commit[:12]
    files = files_at(schema, commit) if commit is not None else None
    if not files:
        return compare(None, new)
    assert commit is not None
    old = _as_generated(_located(schema, files, f"{name}:"), manifests_at(schema, commit))
    return compare(old, new, against=name or "", prefix=f"{name}:")


def _as_generated(old: Located, manifests: Iterable[bytes]) -> Located:
    return replace(old, schema=as_generated(old.schema, manifests))


def _located(schema: Path, files: dict[str, bytes], prefix: str) -> Located:
    """The old schema. Its mistakes are reported under the name of the revision."""
    try:
        return locate_sources(files, folder=str(schema))
    except SchemaError:
        locate_sources({prefix + file: text for file, text in files.items()}, folder=prefix + str(schema))
        raise


def _report(review: Review, form: Format, level: Level) -> str:
    if form is Format.JSON:
        return json_report(review, level)
    if form is Format.MARKDOWN:
        return markdown_report(review)
    return github_report(review) if form is Format.GITHUB else text_report(review)


def _fail(message: str) -> NoReturn:
    typer.echo(f"keyweave diff: {message}", err=True)
    raise typer.Exit(_COULD_NOT_RUN)
