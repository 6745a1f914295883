"""Examines a store for `keyweave health` and `keyweave doctor`: their shared option, and the one round trip."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from keyweave.admin.target import fail, load_package, named, not_empty
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
        callback=not_empty("KEYWEAVE_MEMORY_BUDGET"),
        help="Memory that the data may use, such as 4gb. Default: the server's maxmemory.",
    ),
]


def examined(
    package: str | None, url: str | None, namespace: str | None, environment: str | None, budget: str | None
) -> Health:
    """Return the health of the store that the shared options name; end the command if the server does not answer.

    This examines a server that is loading as well; opening a store on it would fail.
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
    """Return the stable shape that `--format json` prints: the fields of `Health`, and values derived from them."""
    fields: dict[str, Any] = msgspec.to_builtins(health)
    worst = health.worst.value if health.worst else None
    return {**fields, "memory_share": health.memory_share, "worst": worst}
