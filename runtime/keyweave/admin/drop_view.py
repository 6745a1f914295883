"""`keyweave drop-view`: deletes an index that was removed from the schema."""

from __future__ import annotations

from typing import Annotated

import typer

from keyweave.admin.pace import Paced, RateOption, paced_partitions
from keyweave.admin.progress import Meter
from keyweave.admin.result import Result, print_result
from keyweave.admin.target import (
    EnvironmentOption,
    Format,
    FormatOption,
    NamespaceOption,
    PackageOption,
    UrlOption,
    fail,
    opened,
)
from keyweave.admin.tenants import EPILOG as TENANTS
from keyweave.admin.tenants import AllTenantsOption, each_tenant, refuse_namespace
from keyweave.evolution import retire
from keyweave.integrity.survey import Observer
from keyweave.repartition.hold import Hold
from keyweave.store.registry import Registry
from keyweave.sync.session import Session

EPILOG = """\
Examples:

  keyweave drop-view TaskState.by_agent --url redis://localhost:6379      a removed view or unique constraint

  keyweave drop-view TaskState.by_agent.2 --url redis://localhost:6379    its second generation

Run it after all code that uses the index is stopped. The command refuses an index of the current schema. It may be
interrupted and run again.

Exit status: 0 dropped, 2 could not run.
"""
EPILOG += TENANTS


def drop_view(
    command: typer.Context,
    index: Annotated[str, typer.Argument(help="Entity and name, with the number of a later generation.")],
    package: PackageOption = None,
    url: UrlOption = None,
    namespace: NamespaceOption = None,
    all_tenants: AllTenantsOption = False,
    environment: EnvironmentOption = None,
    rate: RateOption = 0,
    format: FormatOption = Format.TEXT,  # noqa: A002 - the option's name
) -> None:
    """Delete the keys of a view or unique constraint that was removed from the schema."""
    seen = False

    def work(session: Session, observe: Observer, registries: list[Registry] | None = None) -> Result:
        nonlocal seen
        kept = index in session.context.package.indexes
        if registries is not None and not kept and all(index not in each.indexes for each in registries):
            return Result(False, {"index": index, "keys": 0}, [f"{index}: not in this namespace"])
        seen = True
        flow = retire.drop_index(
            session.context, index, observe=Paced(observe, rate), at_once=paced_partitions(rate)
        )
        dropped = session.shell.run(Hold(session.context, "drop-view").around(flow))
        return Result(False, {"index": index, "keys": dropped}, [f"{index}: dropped {dropped:,} keys"])

    refuse_namespace(command, all_tenants=all_tenants)
    if all_tenants:
        each_tenant("drop-view", work, format, package, url, environment)
        if not seen:
            fail(f"no tenant has an index {index}")
        return
    with opened(package, url, namespace, environment) as session, Meter("drop-view") as meter:
        result = work(session, meter)
    print_result(result, format)
