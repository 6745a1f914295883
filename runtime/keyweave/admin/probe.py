"""`keyweave health` for probes, which run every few seconds: without the command line library, which takes longer to load.

Plain options are read here. Everything else, such as `--help` or a mistake, is left to the command itself.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from keyweave.errors import KeyweaveError, StoreUnavailableError
from keyweave.exchange.handshake import learn_numbers
from keyweave.health.examine import examine
from keyweave.health.report import Health, PartitionFacts, SentinelAnswer, Severity
from keyweave.health.sizes import read_size, size_text
from keyweave.model.entity import Package
from keyweave.opening.locate import locate
from keyweave.opening.prepare import prepare
from keyweave.store.context import Context
from keyweave.sync.shell import Shell

_OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "package": ("--package", "-p", "KEYWEAVE_PACKAGE"),
    "url": ("--url", "-u", "KEYWEAVE_URL"),
    "namespace": ("--namespace", "--tenant", "-n", "KEYWEAVE_NAMESPACE"),
    "environment": ("--environment", "-e", "KEYWEAVE_ENVIRONMENT"),
    "memory_budget": ("--memory-budget", "", "KEYWEAVE_MEMORY_BUDGET"),
    "format": ("--format", "-f", ""),
}
"""Each option in its long and short forms, and its variable. `--all-tenants` is left to the command. A test compares them with those of the command."""


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int | None:
    """Print what `keyweave health` prints for these arguments, and return its exit status.

    Returns:
        None when nothing was done, because the command itself has to read the arguments.
    """
    given = _options(arguments, environment)
    if given is None or "url" not in given or given.get("format", "text") not in ("text", "json"):
        return None
    try:
        package = locate(given.get("package"), Path.cwd(), hint="name it with --package or KEYWEAVE_PACKAGE")
        budget = given.get("memory_budget")
        found = probed(package, given["url"], given.get("namespace"), given.get("environment"), budget)
    except KeyweaveError as error:
        sys.stderr.write(f"keyweave: {error}\n")
        return 2
    shown = [json.dumps(as_json(found))] if given.get("format") == "json" else lines(found)
    sys.stdout.write("".join(f"{line}\n" for line in shown))
    return 0 if found.serving else 1


def _options(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, str] | None:
    """The values of options by name, from arguments and variables; None when one of them is not plain."""
    found: dict[str, str] = {}
    rest = iter(arguments)
    for word in rest:
        name, given, value = word.partition("=")
        option = next((each for each, forms in _OPTIONS.items() if name and name in forms[:-1]), None)
        if option is None or option in found or (given and not name.startswith("--")):
            return None
        value = value if given else next(rest, "")
        if not value or value.startswith("-"):
            return None
        found[option] = value
    for option, (*_, variable) in _OPTIONS.items():
        if option not in found and variable in environment:
            if not environment[variable]:
                return None
            found[option] = environment[variable]
    return found


def probed(
    package: Package,
    url: str,
    namespace: str | None,
    environment: str | None,
    budget: str | None,
) -> Health:
    """Examine a store. A server that is loading is examined as well; opening a store on it would fail.

    Raises:
        ConfigurationError: an option is not valid.
        StoreUnavailableError: the server does not answer.
    """
    with probing(package, url, namespace, environment) as (shell, context):
        return examined_by(shell, context, budget)


def examined_by(shell: Shell, context: Context, budget: str | None, database: int | None = None) -> Health:
    """Examine a store and, if its URL names Sentinels, these.

    Args:
        database: as for `examine`.

    Raises:
        StoreUnavailableError: the server does not answer; the text also says whether Sentinels could replace it.
    """
    sentinels: tuple[SentinelAnswer, ...] = ()
    if shell.settings.service:
        from keyweave.admin.sentinels import sentinel_answers  # other stores do without

        sentinels = sentinel_answers(shell.settings)
    with suppress(KeyweaveError):  # what is wrong is the examination's to say
        shell.run(learn_numbers(context))
    flow = examine(
        context, memory_budget=budget_of(budget), probing=True, database=database, sentinels=sentinels
    )
    try:
        return shell.run(flow)
    except StoreUnavailableError as error:
        if not sentinels or not all(each.problem for each in sentinels):
            raise
        text = "; ".join(f"{each.address}: {each.problem}" for each in sentinels)
        raise StoreUnavailableError(f"{error}; the Sentinels cannot replace it: {text}") from error


def budget_of(text: str | None) -> int | None:
    """Return a size such as `4gb` in bytes; None for none."""
    return None if text is None else read_size(text)


@contextmanager
def probing(
    package: Package, url: str, namespace: str | None, environment: str | None
) -> Iterator[tuple[Shell, Context]]:
    """Yield what examines a store that is not opened: a shell and a context that reads no rows."""
    settings, context = prepare(package, url, namespace=namespace, environment=environment, reads=False)
    with Shell(settings) as shell:
        yield shell, context


def as_json(health: Health) -> dict[str, Any]:
    """Return the stable shape that `--format json` prints: the fields of `Health`, and values derived from them."""
    fields: dict[str, Any] = msgspec.to_builtins(health)
    worst = health.worst.value if health.worst else None
    if not health.partitions:
        del fields["partitions"]
    return {**fields, "memory_share": health.memory_share, "worst": worst}


def lines(found: Health) -> list[str]:
    """Return a report as lines of text."""
    server = found.server
    rows = {
        "role": server.role or "unknown",
        "persistence": server.persistence,
        "eviction": server.eviction_policy or "unknown",
        "memory": _memory(found),
        "restrictions": server.restricted or "none found",
        "transport": "TLS" if found.encrypted else "local" if found.local else "plain, over a network",
        "latency": f"{found.latency * 1000:.1f} ms",
        "clock skew": f"{found.clock_skew:.1f} s",
        "sweep lag": f"{found.sweep_lag:.0f} s",
        "schema": found.schema[:12],
        "findings": _findings(found),
    }
    if found.partitions:
        rows["partitions"] = partitions_text(found)
    if found.masters:
        rows = {"masters": _masters(found), **rows}
    name = f"{server.product or 'a server'} {server.version or ''}".strip()
    head = f"{name} at {found.address}: {'serving' if found.serving else 'NOT SERVING'}"
    return [head, *(f"  {title:<12} {value}" for title, value in rows.items())]


def _masters(found: Health) -> str:
    groups = len({group for master in found.masters for group in master.groups})
    partitions = sum(len(numbers) for master in found.masters for numbers in master.partitions.values())
    serving = sum(master.serving for master in found.masters)
    several = f" in {partitions} partitions" if partitions > groups else ""
    return f"{len(found.masters)} with the {groups} groups of this namespace{several}, {serving} serving"


def partitions_text(found: Health) -> str:
    """Return what the partitions of each group with several hold, in a few words for any number of them."""
    groups: dict[str, list[PartitionFacts]] = {}
    for each in found.partitions:
        groups.setdefault(each.group, []).append(each)
    return "; ".join(_group_text(group, partitions) for group, partitions in groups.items())


def _group_text(group: str, partitions: Sequence[PartitionFacts]) -> str:
    parts = [f"{len(partitions)} of {group}"]
    rows = [(each.rows, each.number) for each in partitions if each.rows is not None]
    if len(rows) == len(partitions):
        (least, first), (most, last) = min(rows), max(rows)
        parts.append(
            f"{sum(number for number, _ in rows):,} rows, {least:,} in {first} to {most:,} in {last}"
        )
    due = [(each.due, each.number) for each in partitions if each.due]
    if due:
        parts.append(f"{sum(number for number, _ in due):,} due, most in {max(due)[1]}")
    homes = [each.homes for each in partitions if each.homes is not None]
    if len(homes) == len(partitions):
        parts.append(f"{sum(homes):,} homes")
    return ", ".join(parts)


def _memory(found: Health) -> str:
    used = found.server.used_memory
    if used is None:
        return "unknown"
    if found.memory_share is None or found.memory_budget is None:
        return f"{size_text(used)}, no limit"
    return f"{size_text(used)} of {size_text(found.memory_budget)} ({found.memory_share:.0%})"


def _findings(found: Health) -> str:
    counts = Counter(finding.severity for finding in found.findings)
    parts = [f"{counts[severity]} {severity.value}" for severity in reversed(Severity) if counts[severity]]
    return f"{', '.join(parts)}: see keyweave doctor" if parts else "none"
