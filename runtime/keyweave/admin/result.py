"""What a command found in one namespace, and how it is printed."""

from __future__ import annotations

import json
from typing import NamedTuple

import typer

from keyweave.admin.target import FOUND, Format


class Result(NamedTuple):
    """What a command found in one namespace.

    Attributes:
        found: whether there is a finding, so that the command exits with 1.
        shape: what `--format json` prints.
        lines: what is printed for people.
    """

    found: bool
    shape: dict[str, object]
    lines: list[str]


def print_unfinished(shape: dict[str, object], lines: list[str], format_: Format) -> None:
    """Print what a command has found before an error, which ends it."""
    typer.echo(json.dumps(shape) if format_ is Format.JSON else "\n".join(lines))


def print_result(result: Result, format_: Format) -> None:
    """Print a result, and end the command with the status of a finding if there is one."""
    typer.echo(json.dumps(result.shape) if format_ is Format.JSON else "\n".join(result.lines))
    if result.found:
        raise typer.Exit(FOUND)
