"""The first step of `keyweave adopt`: the schema."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import typer

from keyweave.admin.target import Format, fail
from keyweave.adopt.choice import Choices
from keyweave.adopt.design import DECIDED, HINT, LOST, Design, EntityDesign

_KINDS: Final = (DECIDED, LOST, HINT)


def adopt_schema(
    source: str,
    out: Path,
    schemas: list[str],
    tables: list[str],
    keys: Mapping[str, tuple[str, ...]],
    as_text: frozenset[str],
    package: str,
    *,
    force: bool,
    dry: bool,
    format_: Format,
) -> None:
    """Write the schema of a database into a folder, or print it."""
    from keyweave.adopt.errors import AdoptError
    from keyweave.adopt.make import make
    from keyweave.adopt.moments import read_moments
    from keyweave.adopt.read_catalog import read_catalog
    from keyweave.adopt.source import snapshot
    from keyweave.adopt.write_schema import files

    try:
        with snapshot(source) as connection:
            catalog = read_catalog(connection, schemas=schemas, tables=tables)
            for table in catalog.tables:
                table.moments = read_moments(connection, table)
        design = make(catalog, Choices(package, keys, as_text))
    except AdoptError as error:
        fail(str(error))
    texts = files(design)
    if dry:
        _print(out, texts, design, format_)
        return
    _write(out, texts, force=force)
    if format_ is Format.JSON:
        typer.echo(json.dumps(_shape(design, {str(out / name): None for name in texts})))
        return
    for name in texts:
        typer.echo(f"wrote {out / name}")
    _summary(design)
    options = "" if out == Path("schema") else f" --schema {shlex.quote(str(out))}"
    folder = "" if out == Path("schema") else f" {shlex.quote(str(out))}"
    typer.echo(f"next: read the comments, then keyweave validate{folder} && keyweave generate{options}")


def _print(out: Path, texts: Mapping[str, str], design: Design, format_: Format) -> None:
    if format_ is Format.JSON:
        typer.echo(json.dumps(_shape(design, {str(out / name): text for name, text in texts.items()})))
        return
    for name, text in texts.items():
        typer.echo(f"--- {out / name}\n{text}")
    _summary(design)
    typer.echo("nothing was written, because of --dry-run")


def _write(out: Path, texts: Mapping[str, str], *, force: bool) -> None:
    """Write all files. Existing ones are replaced only if the caller asked for it."""
    taken = [name for name in texts if (out / name).exists()]
    if taken and not force:
        fail(
            f"{out} has {', '.join(taken)} already; nothing was written. Replace them with --force, or choose a folder with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            part = out / f".{name.removeprefix('.')}.part"
            part.write_text(text, encoding="utf-8")
            part.replace(out / name)
    except OSError as error:
        fail(f"cannot write {error.filename or out}: {error.strerror}")


def _counts(entity: EntityDesign) -> Counter[str]:
    return Counter(note.kind for note in entity.all_notes())


def _summary(design: Design) -> None:
    width = max(len(f"{each.schema}.{each.table}") for each in design.entities)
    for entity in design.entities:
        counts = _counts(entity)
        parts = (
            f"{_number(len(entity.fields), 'field')}, {_number(len(entity.views.parts), 'view')}, "
            f"{len(entity.unique.parts)} unique"
        )
        label = f"{entity.schema}.{entity.table}"
        typer.echo(
            f"  {label:<{width}}  {entity.name}: {parts}; {counts[DECIDED]} decided, {counts[LOST]} lost, {_number(counts[HINT], 'hint')}"
        )
    total = Counter(note.kind for note in design.all_notes())
    typer.echo(
        f"{_number(len(design.entities), 'table')}: {total[DECIDED]} decided, {total[LOST]} lost, {_number(total[HINT], 'hint')}"
    )


def _number(count: int, word: str) -> str:
    return f"{count} {word if count == 1 else f'{word}s'}"


def _shape(design: Design, texts: Mapping[str, str | None]) -> dict[str, object]:
    total = Counter(note.kind for note in design.all_notes())
    tables = [
        {
            "table": f"{each.schema}.{each.table}",
            "entity": each.name,
            **{kind: _counts(each)[kind] for kind in _KINDS},
        }
        for each in design.entities
    ]
    shape: dict[str, object] = {"tables": tables, **{kind: total[kind] for kind in _KINDS}}
    shape["files"] = dict(texts) if any(text is not None for text in texts.values()) else list(texts)
    return shape
