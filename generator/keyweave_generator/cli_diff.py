"""`keyweave diff`: the effects of a change of the schema, before it is merged.

Exit status: 0 when no finding is as severe as the chosen level, 1 when one is or when the earlier schema was in another
folder, 2 when the comparison failed.
"""

from __future__ import annotations

import enum
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from .changes.finding import Level
from .history import (
    HistoryError,
    commit_of,
    files_at,
    is_folder_at,
    manifests_at,
    schemas_at,
    top_of,
    usual_base,
)
from .problems import SchemaError, listing

if TYPE_CHECKING:
    from .changes.finding import Review
    from .load import Located

EPILOG = """\
Examples:

  keyweave diff                        the changes of this branch

  keyweave diff --against v1.4         since a tag, branch or commit

  keyweave diff --against ../old/schema   two folders, without git

  keyweave diff --level error          fail only if data would be lost

  keyweave diff --format markdown      for a comment on a pull request

Without --against, the schema is compared with the merge base of HEAD and the default branch: the first of \
origin/HEAD, origin/main, origin/master, main and master that exists; if there is none, with HEAD. A folder \
of that name takes precedence over a revision, and `v1.4:old/schema` is a folder of a revision. If there was no schema, everything is \
new, and there are no findings. If there was one only in a folder that is gone, the schema was moved: its name is printed.

Levels: error: stored data would be lost or unreadable. warning: action is needed. info: no action is needed.

Exit status: 0: no finding at the level or above. 1: at least one, or the earlier schema was in another folder. 2: the \
comparison failed.

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
    except _MovedError as error:
        typer.echo(f"keyweave diff: {error}", err=True)
        raise typer.Exit(_FOUND) from None
    typer.echo(_report(review, format, level), nl=False)
    if review.reaching(level):
        raise typer.Exit(_FOUND)


class _MovedError(Exception):
    """There is no earlier schema in the folder, and there was one elsewhere; the text says where."""


def _review(schema: Path, against: str | None) -> Review:
    """Import the comparison late: other commands need none of it."""
    from .changes.compare import compare
    from .load import load_located

    new = load_located(schema)
    if against is not None and Path(against).is_dir():
        manifests = [path.read_bytes() for path in sorted(Path(against).parent.glob("*/*/manifest.json"))]
        return compare(_as_generated(load_located(Path(against)), manifests), new, against=against)
    revision, _, inside = (against or "").partition(":")
    commit = usual_base(schema) if against is None else commit_of(schema, revision)
    name = revision or (commit or "")[:12]
    folder = top_of(schema) / inside if inside else schema
    if inside and not is_folder_at(folder, commit or ""):
        raise HistoryError(
            f"there is neither a folder nor a revision {against!r} in the repository of {schema}"
        )
    files = files_at(folder, commit) if commit is not None else None
    if commit is None or not files:
        if commit is not None:
            _refuse_moved(schema, folder, commit, name)
        return compare(None, new)
    old = _as_generated(_located(folder, files, f"{name}:"), manifests_at(schema, commit))
    return compare(old, new, against=name, prefix=f"{name}:")


def _refuse_moved(schema: Path, folder: Path, commit: str, name: str) -> None:
    """Refuse to call a schema new where the commit has one in a folder that has none any more.

    Raises:
        _MovedError: there is such a folder.
    """
    top = top_of(schema)
    gone = [
        path
        for path in schemas_at(schema, commit)
        if not any((top / path / file).exists() for file in ("package.yaml", "package.yml"))
    ]
    if gone:
        raise _MovedError(
            f"found no earlier schema in {folder} at {name}; there was one in {listing(map(str, gone))}, which is gone; "
            f"compare with it: keyweave diff --schema {schema} --against {name}:{gone[0]}"
        )


def _as_generated(old: Located, manifests: list[bytes]) -> Located:
    from .compiled import as_generated

    return replace(old, schema=as_generated(old.schema, manifests))


def _located(schema: Path, files: dict[str, bytes], prefix: str) -> Located:
    """The old schema. Its mistakes are reported under the name of the revision."""
    from .load import locate_sources

    try:
        return locate_sources(files, folder=str(schema))
    except SchemaError:
        locate_sources({prefix + file: text for file, text in files.items()}, folder=prefix + str(schema))
        raise


def _report(review: Review, form: Format, level: Level) -> str:
    from .changes.report_github import github_report
    from .changes.report_json import json_report
    from .changes.report_markdown import markdown_report
    from .changes.report_text import text_report

    if form is Format.JSON:
        return json_report(review, level)
    if form is Format.MARKDOWN:
        return markdown_report(review)
    return github_report(review) if form is Format.GITHUB else text_report(review)


def _fail(message: str) -> NoReturn:
    typer.echo(f"keyweave diff: {message}", err=True)
    raise typer.Exit(_COULD_NOT_RUN)
