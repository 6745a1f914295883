"""`keyweave shell`: Python with the store open.

It is built on `code` and `readline` of the standard library: no dependency, and nothing is written to a file unless asked for. What is
typed may contain secrets, so the lines of a shell are kept only where `--history` names a file.
"""

from __future__ import annotations

import code
import contextlib
import importlib
import os
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Final

import typer

from keyweave import query
from keyweave.admin.target import (
    FOUND,
    EnvironmentOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)
from keyweave.errors import KeyweaveError
from keyweave.sync.repository import RepositoryOfRecords
from keyweave.sync.session import Session

EPILOG = """\
Examples, with the store in KEYWEAVE_URL:

  keyweave shell

  >>> users.get("ann")

  >>> users.where(role=Role.ADMIN).count()

  >>> users.change("ann", lambda user: setattr(user, "role", Role.USER))

  >>> store.transact(lambda tx: tx.users.delete("ann"))

  keyweave shell -c 'print(users.all().count())'     one statement

  keyweave shell < fix.py                            a file of them

In scope: store, each repository by its name, the classes of the generated package, the predicates of keyweave.query, and
datetime, timedelta, date, UTC and Decimal. Tab completes. Representations hide secret fields; a field by its name does not.

Lines are kept in memory only, because they may contain secrets; --history FILE keeps them in a file for its owner alone.

Exit status: 0 done, 1 the code raised an exception, 2 could not run.
"""

_LINES: Final = 2000
"""The most lines that a file of lines keeps."""


def shell(
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    command: Annotated[
        str | None, typer.Option("--command", "-c", metavar="CODE", help="Run this code, and end.")
    ] = None,
    history: Annotated[
        Path | None,
        typer.Option("--history", metavar="FILE", help="Keep the lines in this file. Default: none."),
    ] = None,
) -> None:
    """Open Python with the store and its repositories in scope. It can write: it is the store itself."""
    with opened(package, url, namespace, environment) as session:
        scope = scope_of(session)
        if command is not None or not sys.stdin.isatty():
            _run(command if command is not None else sys.stdin.read(), scope)
            return
        console = _Console(scope)
        with _lines(scope, history):
            console.interact(banner=_banner(session, scope, history), exitmsg="")


def scope_of(session: Session) -> dict[str, Any]:
    """Return the names in scope; a repository comes before a class or predicate of the same name."""
    name = session.context.package.name
    store = importlib.import_module(f"{name}.sync").Store(session)
    scope: dict[str, Any] = {each.__name__: each for each in (datetime, timedelta, date, Decimal)}
    scope |= {"UTC": UTC, "store": store, "__name__": "__console__"}
    predicates = [each for each in query.__all__ if each.islower()]
    return _public(query, predicates) | _public(importlib.import_module(name)) | scope | _repositories(store)


def _public(module: ModuleType, names: list[str] | None = None) -> dict[str, Any]:
    return {each: getattr(module, each) for each in names or module.__all__ if each != "PACKAGE"}


def _repositories(store: Any) -> dict[str, Any]:
    found = {name: getattr(store, name) for name in type(store).__slots__}
    return {name: each for name, each in found.items() if isinstance(each, RepositoryOfRecords)}


class _Console(code.InteractiveConsole):
    """A console that shows an error of Keyweave in one line: its cause is in the message, not in the runtime's frames."""

    def showtraceback(self) -> None:
        """Show the error of the last statement."""
        error = sys.exc_info()[1]
        if isinstance(error, KeyweaveError):
            self.write(f"{type(error).__name__}: {error}\n")
        else:
            super().showtraceback()


def _run(text: str, scope: dict[str, Any]) -> None:
    """Run code that is not typed line by line; an exception ends the command."""
    try:
        exec(compile(text, "<shell>", "exec"), scope)  # noqa: S102 - this is what the command is for
    except KeyweaveError as error:
        typer.echo(f"{type(error).__name__}: {error}", err=True)
        raise typer.Exit(FOUND) from None
    except Exception:  # noqa: BLE001 - shown as Python shows it
        _Console(scope).showtraceback()
        raise typer.Exit(FOUND) from None


@contextlib.contextmanager
def _lines(scope: dict[str, Any], file: Path | None) -> Iterator[None]:
    """Complete names by Tab, and keep the lines in `file` if there is one."""
    try:
        import readline
        import rlcompleter  # loads readline, which may write to the terminal
    except ImportError:  # a Python without it still reads lines
        yield
        return
    readline.set_completer(rlcompleter.Completer(scope).complete)
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    if file is None:
        yield
        return
    try:
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        readline.read_history_file(file)
    except OSError as error:
        fail(f"cannot use {file}: {error.strerror}")
    try:
        yield
    finally:
        readline.set_history_length(_LINES)
        readline.write_history_file(file)


def _banner(session: Session, scope: dict[str, Any], file: Path | None) -> str:
    repositories = {name: each for name, each in scope.items() if isinstance(each, RepositoryOfRecords)}
    width = max(map(len, ["store", *repositories]))
    lines = [
        f"{session.context.package.name} on {session.context.address}, namespace {session.context.keyspace.namespace.prefix()}",
        f"  {'store':<{width}}  transact, check, health, sweep",
    ]
    for name, each in repositories.items():
        views = ", ".join(each._entity.views) or "none"
        lines.append(f"  {name:<{width}}  {each._entity.name}; views: {views}")
    return "\n".join(
        [*lines, f"Tab completes, Ctrl-D ends. Lines are kept {f'in {file}' if file else 'in no file'}."]
    )
