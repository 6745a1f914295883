"""Looking at a store for `keyweave health` and `keyweave doctor`: the options they share, and the one round trip."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from keyweave.admin.target import fail, load_package, named
from keyweave.errors import KeyweaveError
from keyweave.health.examine import examine
from keyweave.health.report import Health
from keyweave.health.sizes import read_size
from keyweave.opening.prepare import prepare
from keyweave.sync.shell import Shell

BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--memory-budget",
        envvar="KEYWEAVE_MEMORY_BUDGET",
        help="What the data may take, such as 4gb. Default: the server's maxmemory.",
    ),
]


def examined(
    package: str | None, url: str | None, namespace: str | None, environment: str | None, budget: str | None
) -> Health:
    """The health of the store that the shared options name; ends the command when the server does not answer.

    A server that is loading is examined too, which opening a store would refuse.
    """
    url = named(url)
    found = load_package(package)
    try:
        memory_budget = None if budget is None else read_size(budget)
        settings, context = prepare(found, url, namespace=namespace, environment=environment)
        with Shell(settings) as shell:
            return shell.run(examine(context, memory_budget=memory_budget))
    except KeyweaveError as error:
        fail(str(error))


def as_json(health: Health) -> dict[str, Any]:
    """The stable shape that `--format json` prints: the fields of `Health`, and what follows from them."""
    fields: dict[str, Any] = msgspec.to_builtins(health)
    worst = health.worst.value if health.worst else None
    return {**fields, "memory_share": health.memory_share, "worst": worst}
