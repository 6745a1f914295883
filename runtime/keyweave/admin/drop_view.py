"""`keyweave drop-view`: deletes an index that was removed from the schema."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from keyweave.admin.pace import Paced, RateOption
from keyweave.admin.progress import Meter
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    opened,
)
from keyweave.evolution import retire

EPILOG = """\
Examples:

  keyweave drop-view TaskState.by_agent --url redis://localhost:6379      a removed view or unique constraint

  keyweave drop-view TaskState.by_agent.2 --url redis://localhost:6379    its second generation

Run it after all code that uses the index is stopped. The command refuses an index of the current schema. It may be
interrupted and run again.

Exit status: 0 dropped, 2 could not run.
"""


def drop_view(
    index: Annotated[str, typer.Argument(help="Entity and name, with the number of a later generation.")],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    environment: EnvironmentOption = None,
    rate: RateOption = 0,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Delete the keys of a view or unique constraint that was removed from the schema."""
    with opened(package, url, namespace, environment) as session:
        meter = Meter("drop-view")
        with meter:
            dropped = session.shell.run(retire.drop_index(session.context, index, observe=Paced(meter, rate)))
    if format is Format.JSON:
        typer.echo(json.dumps({"index": index, "keys": dropped}))
    else:
        typer.echo(f"{index}: dropped {dropped:,} keys")
