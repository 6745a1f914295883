"""The generator's commands. They read arguments, call the stages and print the results.

Exit status: 0 for success, 1 for a bad schema, a stale output or a path that cannot be used, 2 for wrong arguments;
`diff` has its own, see there.
Results go to standard output, problems to standard error.
"""

from __future__ import annotations

import enum
import json
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from . import cli_diff
from .folder import Folder, read_folder
from .freshness import fresh_files, inputs_digest, leave_stamp
from .output import Difference, Kind, OutputError, outdated, write
from .problems import SchemaError
from .scaffold import origin_files, own_requirement, project, write_new

app = typer.Typer(no_args_is_help=True, add_completion=False)


if TYPE_CHECKING:
    from .model import Schema


class FileKind(enum.Enum):
    """The kinds of schema files."""

    PACKAGE = "package"
    ENTITY = "entity"


_GENERATE_EPILOG = """\
Examples:

  keyweave generate                           schema/ -> generated/

  keyweave generate --schema db --output src  other folders

  keyweave generate --check                   fail if a file would change

All files are written, or none. Only files that changed are touched; files that the schema no longer produces are \
deleted. A file that keyweave did not write is neither overwritten nor deleted.
"""

_VALIDATE_EPILOG = """\
Examples:

  keyweave validate              check schema/

  keyweave validate services/db  check another folder

Each mistake is one line, `file:line:col: message`, which editors can open. All mistakes of all files are printed, \
and nothing is written.
"""

_SCHEMA_EPILOG = """\
Examples:

  keyweave schema > keyweave.schema.json   for all schema files

  keyweave schema --for entity             for entity files only

Editors with a YAML language server complete and check a file that starts with this line:

  # yaml-language-server: $schema=../keyweave.schema.json
"""

_INIT_EPILOG = """\
Examples:

  keyweave init shop && make -C shop test   in the folder shop, and test it

  keyweave init                             in this folder

  keyweave init shop --example && make -C shop test example   with a small shop and a program that uses it

Existing files are not overwritten. The schema has one example entity; replace it with your own.
`make test` first makes the project\'s own .venv, and installs Keyweave and pytest into it. Without make, the commands that are \
printed use this Python, which needs pytest: pip install pytest.
"""


@app.command(epilog=_GENERATE_EPILOG)
def generate(
    schema: Annotated[Path, typer.Option("--schema", "-s", help="Folder of the YAML files.")] = Path(
        "schema"
    ),
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder that gets the generated package.")
    ] = Path("generated"),
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit with 1 if a file would change.")
    ] = False,
) -> None:
    """Turn a schema into typed repositories and Lua scripts."""
    folder = _folder(schema)
    inputs = inputs_digest(folder.files)
    fresh = fresh_files(schema, output, inputs)
    if fresh is not None:
        typer.echo(f"{output}: {_count(fresh, 'file')}: {_summary([])}")
        return
    files = _render(_load(folder))
    try:
        differences = outdated(output, files) if check else write(output, files)
    except OutputError as error:
        _fail(str(error))
    if not (check and differences):
        leave_stamp(schema, output, inputs, files)
    if check and differences:
        for difference in differences:
            typer.echo(f"{output / difference.path}: {difference.kind.value}", err=True)
        _fail(f"{_count(len(differences), 'file')} out of date; run: {_generate_command(schema, output)}")
    typer.echo(f"{output}: {_count(len(files), 'file')}: {_summary(differences)}")


@app.command(epilog=_VALIDATE_EPILOG)
def validate(
    schema: Annotated[Path, typer.Argument(help="Folder of the YAML files.")] = Path("schema"),
) -> None:
    """Check a schema and report all mistakes."""
    found = _load(_folder(schema))
    views = sum(len(entity.views) for entity in found.entities)
    uniques = sum(len(entity.uniques) for entity in found.entities)
    parts = (
        _count(len(found.entities), "entity", "entities"),
        _count(views, "view"),
        _count(uniques, "unique constraint"),
    )
    typer.echo(f"{schema}: {', '.join(parts)}: ok")


app.command(epilog=cli_diff.EPILOG)(cli_diff.diff)


@app.command(epilog=_SCHEMA_EPILOG)
def schema(
    kind: Annotated[
        FileKind | None, typer.Option("--for", help="Only for this kind of file. Default: for both.")
    ] = None,
) -> None:
    """Print the JSON Schema (draft-07) of schema files, for editors."""
    from .structure import json_schema

    typer.echo(json.dumps(json_schema(kind.value if kind is not None else None), indent=2))


@app.command(epilog=_INIT_EPILOG)
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the project.")] = Path(),
    name: Annotated[
        str | None, typer.Option("--name", help="The application's name. Default: the folder's.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="A small shop: three entities, and a program that uses them.")
    ] = False,
) -> None:
    """Create a project: a schema, a Makefile, tests, and a compose file with Redis 8."""
    files = project(name or folder.resolve().name, example=example)
    requirement = own_requirement()
    try:
        write_new(folder, {**files, **origin_files(requirement)})
    except OutputError as error:
        _fail(str(error))
    for path in files:
        typer.echo(f"wrote {folder / path}")
    for line in _next_steps(folder, requirement, example=example):
        typer.echo(line)


def _next_steps(folder: Path, requirement: str | None, *, example: bool) -> list[str]:
    """What to type next, as a shell reads it. Without make, in the Python that runs this command."""
    if shutil.which("make") is None:
        python = shlex.quote(sys.executable)
        steps = [
            f"{python} -m pip install pytest",
            f"{python} -m keyweave.cli generate",
            f"{python} -m pytest",
        ]
        if example:
            steps.append(f"PYTHONPATH=generated {python} example.py")
        return [f"next: cd {shlex.quote(str(folder))} && {' && '.join(steps)}"]
    given = [] if requirement is None else [f"KEYWEAVE={requirement}"]
    make = ["make", "-C", str(folder)]
    lines = [f"next: {shlex.join([*make, 'test', *given])}"]
    return [*lines, f"then: {shlex.join([*make, 'example'])}"] if example else lines


def _folder(path: Path) -> Folder:
    """The files of a schema folder; those that are not read are named."""
    try:
        folder = read_folder(path)
    except SchemaError as error:
        _refuse(str(path), error)
    for line in folder.unread:
        typer.echo(line, err=True)
    return folder


def _load(folder: Folder) -> Schema:
    """Import the reader of schemas late: a tree that is up to date needs none."""
    from .load import load_sources

    try:
        return load_sources(folder.files, folder=folder.name)
    except SchemaError as error:
        _refuse(folder.name, error)


def _refuse(folder: str, error: SchemaError) -> NoReturn:
    typer.echo(str(error), err=True)
    _fail(f"{folder}: {_count(len(error.problems), 'problem')}")


def _render(found: Schema) -> dict[str, str]:
    """Import the renderer late: the formatter is slow to import, and only this command needs it."""
    try:
        from .render import render
    except ModuleNotFoundError as error:
        _fail(f"keyweave generate needs {error.name}; install it with: pip install 'keyweave[generate]'")
    return render(found)


def _summary(differences: list[Difference]) -> str:
    counts = {kind: sum(each.kind is kind for each in differences) for kind in Kind}
    words = {Kind.MISSING: "added", Kind.CHANGED: "updated", Kind.ORPHANED: "removed"}
    done = [f"{counts[kind]} {word}" for kind, word in words.items() if counts[kind]]
    return ", ".join(done) or "up to date"


def _generate_command(schema: Path, output: Path) -> str:
    words = ["keyweave generate"]
    if schema != Path("schema"):
        words.append(f"--schema {schema}")
    if output != Path("generated"):
        words.append(f"--output {output}")
    return " ".join(words)


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _fail(message: str) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(1)
