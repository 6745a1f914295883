"""`make first-row` does what the guide says, and notices when that does not work. The whole of it is a target of its own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.pages.console import Console
from tests.snippets import snippets, typed
from tools.first_row import environment, follow, section

BACKQUOTES = "`" * 3


def blocks(text: str) -> str:
    return text.replace("'''", BACKQUOTES)


@pytest.fixture
def console(tmp_path: Path) -> Console:
    folder = tmp_path / "new"
    folder.mkdir()
    return Console(folder, {"PATH": os.environ["PATH"]}, tmp_path / "state")


def test_the_section_has_all_that_the_guide_promises() -> None:
    commands = [each.command for step in section() if step.language == "console" for each in typed(step.text)]
    words = "\n".join(commands)
    assert commands[0].startswith("python3 -m venv")
    assert commands[2].startswith("pip install './keyweave-")
    for command in ("keyweave init shop --example", "python first.py", "keyweave validate", "make test"):
        assert command in words
    assert [step.exits for step in section() if step.exits] == [(1,)]
    assert [step.path for step in section() if step.path] == ["first.py"]


def test_files_are_written_and_commands_run_in_one_shell(
    console: Console, capsys: pytest.CaptureFixture[str]
) -> None:
    page = "`a.py`:\n\n'''python\nprint('here')\n'''\n\n'''console\n$ mkdir b\n$ export X=1\n'''\n\n'''console\n$ cat a.py\nprint('here')\n$ echo $X; cd b\n1\n$ false || echo no\nno\n'''\n"
    follow(snippets(blocks(page)), console)
    assert console.folder.name == "b"
    shown = capsys.readouterr().out
    assert [line.partition("$ ")[2] for line in shown.splitlines()] == [
        *("mkdir b", "export X=1", "cat a.py", "echo $X; cd b", "false || echo no")
    ]


@pytest.mark.parametrize(
    ("console_block", "complaint"),
    [
        ("'''console\n$ false\n'''", "ended with 1, not 0"),
        ("<!-- exit 1 -->\n'''console\n$ true\n'''", "ended with 0, not 1"),
        ("'''console\n$ echo a\nb\n'''", "the page shows"),
        ("'''console\n$ exit 3\n'''", "bash ended early"),
        ("'''json\n{}\n'''", "neither a file nor a console"),
    ],
)
def test_what_differs_from_the_page_is_an_error(console: Console, console_block: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        follow(snippets(blocks(console_block)), console)


def test_a_new_user_has_none_of_our_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "KEYWEAVE_URL", "VIRTUAL_ENV", "MAKEFLAGS", "PYTEST_ADDOPTS"):
        monkeypatch.setenv(name, "x")
    assert not {"PYTHONPATH", "KEYWEAVE_URL", "VIRTUAL_ENV", "MAKEFLAGS"} & environment(tmp_path).keys()
