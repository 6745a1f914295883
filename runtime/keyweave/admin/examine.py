"""Examines a store for `keyweave health` and `keyweave doctor`: their shared option, and the one round trip."""

from __future__ import annotations

from typing import Annotated

import typer

from keyweave.admin.probe import probed
from keyweave.admin.target import fail, load_package, named, not_empty
from keyweave.errors import KeyweaveError
from keyweave.health.report import Health

BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        envvar="KEYWEAVE_MEMORY_BUDGET",
        callback=not_empty("KEYWEAVE_MEMORY_BUDGET"),
        help="Memory that the data may use, such as 4gb. Default: the server's maxmemory.",
    ),
]


def examined(
    package: str | None,
    url: str | None,
    namespace: str | None,
    environment: str | None,
    budget: str | None,
    *,
    thorough: bool = False,
) -> Health:
    """Return the health of the store that the shared options name; end the command if the server does not answer.

    This examines a server that is loading as well; opening a store on it would fail.

    Args:
        thorough: look also for restrictions that need exchanges of their own.
    """
    try:
        return probed(load_package(package), named(url), namespace, environment, budget, thorough=thorough)
    except KeyweaveError as error:
        fail(str(error))
