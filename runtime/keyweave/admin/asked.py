"""What `keyweave ls` and `keyweave explain` share: the arguments that choose rows, and the query that they make."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from keyweave.admin.target import Format, fail
from keyweave.errors import UnboundedQueryError
from keyweave.look.question import CONDITIONS

EntityArgument = Annotated[str, typer.Argument(metavar="ENTITY", help="Name of the entity, in any case.")]
ViewArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[VIEW]", show_default=False, help="A view of the entity. Default: the view of all rows."
    ),
]
ValuesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="[VALUES]...", show_default=False, help="A value for each field of the view."),
]
WhereOption = Annotated[
    list[str] | None,
    typer.Option("--where", "-w", metavar="CONDITION", help=f"{CONDITIONS}. Repeat it: all must hold."),
]
OrderOption = Annotated[
    str | None,
    typer.Option("--order", help="created, revision, or a field. Default: the view's, or created."),
]
ReverseOption = Annotated[bool, typer.Option("--reverse", help="In the opposite direction.")]
ScanOption = Annotated[
    bool, typer.Option("--scan", help="Allow to read all rows of the entity, where no view finds the rows.")
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=1000, help="Rows of one page.")]
JsonOption = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


def as_json(format_: Format, asked: bool) -> bool:
    """Return whether a result is printed as JSON."""
    return asked or format_ is Format.JSON


@contextmanager
def bounded() -> Iterator[None]:
    """Name the option that allows a query which no view bounds."""
    try:
        yield
    except UnboundedQueryError as error:
        fail(str(error).replace("with scan()", "with --scan"))
