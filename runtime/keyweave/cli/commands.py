"""The `keyweave` command. It does no work itself and names no package: its commands come from entry points.

Each entry point of the group `keyweave.commands` names a `typer.Typer`, whose commands are added to the top level. So
the runtime does not depend on the generator, and any installed distribution can add commands.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup
from typer.models import CommandInfo

GROUP: Final = "keyweave.commands"
"""The entry point group that is read."""

_DISTRIBUTION: Final = "keyweave"

_HELP: Final = "Turn entity schemas (YAML) into typed Python repositories on Redis."

_EPILOG: Final = """\
Start from a folder `schema/` with package.yaml and one file per entity:

  keyweave validate          report every mistake at once, as file:line:col: message

  keyweave generate          write the repositories to generated/

  keyweave generate --check  fail if generated/ is out of date (for CI)

  keyweave diff              show what a schema change does to code, stored data and a rolling deploy

`keyweave COMMAND --help` explains a command, its options and its exit status.
"""


class _Commands(TyperGroup):
    """The commands. An empty value is refused for all of them: a script has left a variable out."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the arguments; end with status 2 when one of them, or the value of an option, is empty."""
        for number, word in enumerate(args):
            if word == "":
                before = args[number - 1] if number else ""
                _refuse_empty(before if before.startswith("-") and "=" not in before else "an argument")
            elif word.startswith("--") and word.endswith("="):
                _refuse_empty(word[:-1])
        return super().parse_args(ctx, args)


def _refuse_empty(name: str) -> None:
    typer.echo(f"keyweave: {name}: the value is empty", err=True)
    raise typer.Exit(2)


def installed() -> list[EntryPoint]:
    """Return the entry points of `GROUP`, ordered by name, so that help is the same everywhere."""
    return sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value))


def assemble(entries: Sequence[EntryPoint], wanted: str = "") -> typer.Typer:
    """Build the `keyweave` app from entry points.

    An entry point that cannot be imported is reported on stderr and left out: its missing dependency must not
    break the other commands.

    Args:
        entries: the entry points to merge, in the order in which help lists their commands.
        wanted: the command that will run. Entry points are loaded from the last one on, until one has it: loading all of
            them takes longer than many commands do. Empty for all commands.

    Returns:
        The app; call it to run the command on the process's arguments.
    """
    app = typer.Typer(cls=_Commands, help=_HELP, epilog=_EPILOG, no_args_is_help=True, add_completion=False)
    app.callback()(_options)
    loaded: list[typer.Typer] = []
    for entry in reversed(entries):
        try:
            commands = entry.load()
        except (ImportError, AttributeError) as error:
            typer.echo(_unavailable(entry, error), err=True)
            continue
        if wanted in map(_name_of, commands.registered_commands):
            loaded = [commands]
            break
        loaded.insert(0, commands)
    for commands in loaded:
        app.add_typer(commands)
    return app


def _name_of(command: CommandInfo) -> str:
    """The name of a command, as typer makes it."""
    return command.name or getattr(command.callback, "__name__", "").rstrip("_").replace("_", "-")


def _show_version(asked: bool) -> None:
    if not asked:
        return
    try:
        number = version(_DISTRIBUTION)
    except PackageNotFoundError:
        number = "(not installed: imported from a source tree)"
    typer.echo(f"keyweave {number}")
    raise typer.Exit


def _options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Accept the options before a command."""


def _unavailable(entry: EntryPoint, error: Exception) -> str:
    message = f"keyweave: the commands of {entry.name!r} are not available: {error}"
    if (
        isinstance(error, ModuleNotFoundError)
        and entry.dist is not None
        and not _is_part_of(entry, error.name)
    ):
        extras = entry.dist.metadata.get_all("Provides-Extra") or []
        choices = ", ".join(f"{entry.dist.name}[{extra}]" for extra in extras)
        if choices:
            message += f"\n    an extra may install it: {choices}"
    return message


def _is_part_of(entry: EntryPoint, module: str | None) -> bool:
    return (module or "").partition(".")[0] == entry.module.partition(".")[0]
