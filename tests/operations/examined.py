"""A store on a server that a test set up, and what an examination of it finds."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

from compozy_store.package import PACKAGE
from keyweave.health import rules_data, rules_sentinels, rules_server, rules_service
from keyweave.health.examine import examine
from keyweave.health.levels import Level, levels
from keyweave.health.limits import Limits
from keyweave.health.report import Finding, Health
from keyweave.opening.prepare import prepare
from keyweave.sync.shell import Shell


def examined(
    url: str,
    *,
    limits: Limits | None = None,
    budget: int | None = None,
    wall: Callable[[], float] = time.time,
    thorough: bool = False,
) -> Health:
    """The health of the store at `url`, which nothing else has to have opened; `thorough` as `keyweave doctor` examines it."""
    settings, context = prepare(PACKAGE, url)
    with Shell(settings) as shell:
        database = settings.db if thorough else None
        flow = examine(
            context, limits=limits, memory_budget=budget, wall=wall, probing=thorough, database=database
        )
        return shell.run(flow)


def levels_at(url: str) -> tuple[Level, ...]:
    """What each level of durability means on the server at `url`."""
    settings, context = prepare(PACKAGE, url)
    with Shell(settings) as shell:
        return shell.run(levels(context, shell.run(examine(context)).server))


def found(health: Health, name: str) -> Finding:
    """The one finding of this name."""
    (finding,) = [each for each in health.findings if each.id == name]
    return finding


def all_names() -> set[str]:
    """Every finding that there is, by the source of the rules."""
    sources = [
        Path(module.__file__ or "").read_text(encoding="utf-8")
        for module in (rules_data, rules_sentinels, rules_server, rules_service)
    ]
    return set(re.findall(r'id="([a-z-]+)"', "".join(sources)))


def names(health: Health) -> set[str]:
    return {finding.id for finding in health.findings}
