"""Databases of the tests, on the PostgreSQL of this process, and an adoption as a user types it."""

from __future__ import annotations

import atexit
import itertools
import json
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import typer
from typer.testing import CliRunner, Result

from keyweave.cli import commands
from tests.oracle.server import session_dsn
from tests.servers.running import configured_server, new_namespace

HERE: Final = Path(__file__).parent
COMMANDS: Final = ("adopt", "generate", "validate")
_numbers: Final = itertools.count(1)


@cache
def store_url() -> str:
    """The URL of a server that other processes can use too, which lives as long as this process."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(configured_server()).url


@cache
def app() -> typer.Typer:
    """The commands that an adoption needs; all of them together take longer to assemble than most tests of this folder."""
    whole = typer.Typer()
    for entry in commands.installed():
        for command in entry.load().registered_commands:
            if (command.name or command.callback.__name__) in COMMANDS:
                whole.registered_commands.append(command)
    assert len(whole.registered_commands) == len(COMMANDS)
    return whole


def database(*texts: str) -> str:
    """Create a database, run SQL in it, and return its URL."""
    name = f"adopt_{next(_numbers)}"
    with psycopg.connect(session_dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name}")  # type: ignore[call-overload]
    url = session_dsn().replace("/postgres?", f"/{name}?")
    for text in texts:
        run(url, text)
    return url


def run(url: str, text: str) -> list[tuple[Any, ...]]:
    """Run SQL; return the rows of a query."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(text)  # type: ignore[call-overload]
        return cursor.fetchall() if cursor.description else []


def sql(name: str) -> str:
    """The SQL of a file of this folder, or of the engine's tables."""
    path = HERE.parent / "oracle/tables.sql" if name == "engine" else HERE / f"databases/{name}.sql"
    return path.read_text("utf-8")


def keyweave(*words: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app(), list(words), env={"COLUMNS": "200"})


@dataclass(frozen=True)
class Adoption:
    """An adoption in a folder of its own, which is the current one.

    Attributes:
        url: of the database.
        package: import name.
        namespace: of the store.
    """

    url: str
    package: str
    namespace: str

    def schema(self, *options: str) -> Result:
        """Write the schema, validate it and generate the package."""
        written = keyweave("adopt", self.url, "--package", self.package, *options)
        assert written.exit_code == 0, written.output
        for words in (("validate",), ("generate",)):
            done = keyweave(*words)
            assert done.exit_code == 0, done.output
        return written

    def rows(self, *options: str) -> Result:
        """Bring the rows over."""
        return keyweave("adopt", self.url, *self.row_options(), *options)

    def row_options(self) -> list[str]:
        """The options of the second step."""
        return ["--rows", "--url", store_url(), "--namespace", self.namespace]

    def tables(self, *options: str) -> dict[str, dict[str, Any]]:
        """Bring the rows over, and return the result by table."""
        done = self.rows("--format", "json", *options)
        assert done.exit_code in (0, 1), done.output
        shape = json.loads(done.stdout)
        return {table["table"]: {**table, "status": done.exit_code} for table in shape["tables"]}


def adoption(url: str, folder: Path, patch: pytest.MonkeyPatch) -> Adoption:
    """Return an adoption in an empty folder, which becomes the current one."""
    patch.chdir(folder)
    patch.setattr(sys, "path", [*sys.path])
    return Adoption(url, f"adopted_{next(_numbers)}_store", new_namespace("adopt"))
