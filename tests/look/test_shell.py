"""`keyweave shell`: a person types into a terminal, or a program sends code."""

from __future__ import annotations

import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.integrity.site import Site, healthy
from tests.look.generated import app
from tests.servers.running import server_url

LONGEST = 60.0
"""Seconds that the slowest machine may need for an answer."""

PROMPT = ">>> "


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


def words(site: Site, *more: str, url: str = "") -> list[str]:
    tenant = site.context.keyspace.namespace.tenant
    return ["shell", "--url", url or server_url(), "--package", "compozy_store", "--namespace", tenant, *more]


def outside_url(site: Site) -> str:
    """The URL by which another process reaches the server under test, which `embedded:` names inside this one only."""
    url = server_url()
    return f"unix://{site.store.session.shell.settings.path}" if url == "embedded:" else url


def run(site: Site, *more: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, words(site, *more), input=stdin)


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, site: Site, home: Path, *more: str) -> None:
        self._end, inside = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "keyweave.cli", *words(site, *more, url=outside_url(site))],
            stdin=inside,
            stdout=inside,
            stderr=inside,
            env={**os.environ, "TERM": "dumb", "HOME": str(home), "INPUTRC": os.devnull},
            start_new_session=True,
        )
        os.close(inside)

    def read(self, until: str) -> str:
        """Everything that is printed up to `until`."""
        text, limit = "", time.monotonic() + LONGEST
        while not text.endswith(until):
            if not select.select([self._end], [], [], max(0.0, limit - time.monotonic()))[0]:
                raise TimeoutError(text)
            text += os.read(self._end, 4096).decode().replace("\r\n", "\n")
        return text

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def say(self, line: str) -> str:
        """Type a line; return what it printed."""
        self.type(f"{line}\n")
        return self.read(PROMPT).removesuffix(PROMPT).partition("\n")[2]

    def leave(self) -> int:
        """End the shell as Ctrl-D does."""
        self.type("\x04")
        try:
            return self.process.wait(LONGEST)
        finally:
            os.close(self._end)


@pytest.fixture
def terminal(site: Site, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(site, tmp_path)
    try:
        yield opened
    finally:
        opened.process.kill()
        opened.process.wait()


def test_a_person_reads_and_writes_rows(terminal: Terminal, site: Site, tmp_path: Path) -> None:
    banner = terminal.read(PROMPT)
    assert site.context.keyspace.namespace.prefix() in banner
    assert "task_states" in banner and "by_status" in banner and "in no file" in banner
    assert terminal.say("users.get('u1').email") == "'U1@x'\n"
    assert terminal.say("users.where(role=one_of(Role.ADMIN)).count()") == "1\n"
    assert "<secret>" in terminal.say("api_keys.get('k1')")
    terminal.say("users.change('u1', lambda user: setattr(user, 'email', 'New@x')) and None")
    assert site.store.users.get("u1").email == "New@x"
    assert terminal.say("users.get('ghost')") == "UserNotFoundError: User 'ghost': no such row\n"
    assert "Traceback" in terminal.say("1/0")
    assert terminal.leave() == 0
    assert list(tmp_path.iterdir()) == []


def test_tab_completes_names_in_scope_and_methods(terminal: Terminal) -> None:
    terminal.read(PROMPT)
    terminal.type("task_st\t")
    assert terminal.read("task_states").endswith("task_states")
    terminal.type(".by_workflow_i\t")
    terminal.read(".by_workflow_id(")
    assert "Rows of TaskState" in terminal.say("'none')")
    assert terminal.leave() == 0


def test_lines_are_kept_on_request_for_their_owner_alone(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "lines"
    terminal = Terminal(site, tmp_path, "--history", str(file))
    assert str(file) in terminal.read(PROMPT).replace("\n", "")
    assert terminal.say("1 + 41") == "42\n"
    assert terminal.leave() == 0
    assert "1 + 41" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_one_statement(site: Site) -> None:
    result = run(site, "-c", "print(users.all().count(), store.check().clean)")
    assert (result.exit_code, result.output) == (0, "4 True\n")


def test_a_file_of_statements(site: Site) -> None:
    code = "def names():\n    return [user.id for user in users.all()]\n\nprint(sorted(names()))\n"
    result = run(site, stdin=code)
    assert (result.exit_code, result.output) == (0, "['u0', 'u1', 'u2', 'u3']\n")


def test_code_that_fails_ends_with_one(site: Site) -> None:
    result = run(site, "-c", "users.get('ghost')")
    assert (result.exit_code, result.stderr) == (1, "UserNotFoundError: User 'ghost': no such row\n")
    result = run(site, "-c", "print(undefined)")
    assert result.exit_code == 1
    assert "NameError" in result.stderr
