"""The store that an admin command works on: the options that all commands share, and how a command opens the store.

Exit status of every admin command: 0 if all is well, 1 if it found something, 2 if it could not run.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from keyweave.errors import ConfigurationError, KeyweaveError
from keyweave.model.entity import Package
from keyweave.opening.locate import locate
from keyweave.sync.session import Session, open_session

FOUND: Final = 1
"""Exit status of a command that found something."""

COULD_NOT_RUN: Final = 2
"""Exit status of a command that could not do its work."""


class Format(enum.Enum):
    """How results are printed."""

    TEXT = "text"
    JSON = "json"


def not_empty(variable: str) -> Callable[[str | None], str | None]:
    """Return a check of an option: where neither it nor its default is given, its variable must not be empty.

    An empty variable is a mistake in a deployment, and would mean the default: another tenant, or another server.
    """

    def checked(value: str | None) -> str | None:
        if value is None and os.environ.get(variable) == "":
            fail(f"the variable {variable} is empty; unset it, or give it a value")
        return value

    return checked


PackageOption = Annotated[
    str | None,
    typer.Option(
        "--package",
        "-p",
        envvar="KEYWEAVE_PACKAGE",
        callback=not_empty("KEYWEAVE_PACKAGE"),
        help="Import name of the generated package. Default: the only one in generated/.",
    ),
]
UrlOption = Annotated[
    str | None,
    typer.Option(
        "--url",
        "-u",
        envvar="KEYWEAVE_URL",
        callback=not_empty("KEYWEAVE_URL"),
        help="The store: redis://, rediss://, unix://, redis+sentinel://, redis+cluster:// or embedded:FOLDER. Other users can see arguments: put a password in the variable.",
    ),
]
NamespaceOption = Annotated[
    str | None,
    typer.Option(
        "--namespace",
        "--tenant",
        "-n",
        envvar="KEYWEAVE_NAMESPACE",
        callback=not_empty("KEYWEAVE_NAMESPACE"),
        help="The tenant. Default: that of the schema.",
    ),
]
EnvironmentOption = Annotated[
    str | None,
    typer.Option(
        "--environment",
        "-e",
        envvar="KEYWEAVE_ENVIRONMENT",
        callback=not_empty("KEYWEAVE_ENVIRONMENT"),
        help="The environment, such as production. Default: that of the schema.",
    ),
]
FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="text for people, json for programs (a stable shape).")
]


def fail(message: str) -> NoReturn:
    """Print on standard error why the command could not run, and end it."""
    typer.echo(f"keyweave: {message}", err=True)
    raise typer.Exit(COULD_NOT_RUN)


def load_package(name: str | None) -> Package:
    """Return the generated package `name`, or the only one in `generated/`; end the command if there is none."""
    try:
        return locate(name, Path.cwd(), hint="name it with --package or KEYWEAVE_PACKAGE")
    except ConfigurationError as error:
        fail(str(error))


def named(url: str | None) -> str:
    """Return the store's URL; end the command if there is none."""
    if url is None:
        fail("which store? Name it with --url or KEYWEAVE_URL, such as redis://localhost:6379")
    return url


@contextmanager
def opened(
    package: str | None, url: str | None, namespace: str | None, environment: str | None, **options: object
) -> Iterator[Session]:
    """Open a session on the store that the shared options name. A `KeyweaveError`, here or inside, ends the command."""
    url = named(url)
    found = load_package(package)
    try:
        session = open_session(found, url, namespace=namespace, environment=environment, **options)
        try:
            yield session
        finally:
            session.shell.close()
    except KeyweaveError as error:
        fail(str(error))
