"""Examines a store for `keyweave health` and `keyweave doctor`: their shared option, and the one round trip."""

from __future__ import annotations

from typing import Annotated

import typer

from keyweave.admin.probe import examined_by, probed, probing
from keyweave.admin.target import fail, load_package, named, not_empty
from keyweave.errors import KeyweaveError
from keyweave.health.levels import Level, levels
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
) -> Health:
    """Return the health of the store that the shared options name; end the command if the server does not answer.

    This examines a server that is loading as well; opening a store on it would fail.
    """
    try:
        return probed(load_package(package), named(url), namespace, environment, budget)
    except KeyweaveError as error:
        fail(str(error))


def examined_closely(
    package: str | None, url: str | None, namespace: str | None, environment: str | None, budget: str | None
) -> tuple[Health, tuple[Level, ...]]:
    """Return the health of a store, with the restrictions that need exchanges of their own, and what the levels of durability mean.

    There are no levels while the server is loading.
    """
    try:
        with probing(load_package(package), named(url), namespace, environment) as (shell, context):
            found = examined_by(shell, context, budget, shell.settings.db)
            if found.server.loading:
                return found, ()
            if not found.masters:
                return found, shell.run(levels(context, found.server))
            from keyweave.health.masters import weakest_levels  # stores on one server do without

            return found, shell.run(weakest_levels(context, found.masters))
    except KeyweaveError as error:
        fail(str(error))
