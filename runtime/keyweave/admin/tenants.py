"""Commands for all tenants: which there are, one session for each on the same connections, one display, one summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Annotated, Any, Final, TypeAlias

import typer

from keyweave.admin.drift import printable
from keyweave.admin.progress import Meter
from keyweave.admin.result import Result
from keyweave.admin.target import COULD_NOT_RUN, FOUND, Format, fail, load_package, named
from keyweave.effects import Flow
from keyweave.errors import (
    AuthenticationError,
    CorruptDocumentError,
    ExportFileError,
    KeyweaveError,
    SchemaMismatchError,
)
from keyweave.exchange.handshake import handshake, read_registries
from keyweave.health.connect import connect
from keyweave.integrity.survey import Observer, Progress
from keyweave.integrity.tenants import TOGETHER, count_keys, list_keys, together
from keyweave.opening.prepare import prepare
from keyweave.read.strategy import BY_KEYS
from keyweave.store.context import Context
from keyweave.store.registry import Registry
from keyweave.sync.session import Session
from keyweave.sync.shell import Shell

AllTenantsOption = Annotated[
    bool,
    typer.Option(
        "--all-tenants",
        help="Every tenant of the application and environment. They are found by their keys: SCAN looks at all keys of the server.",
    ),
]

EPILOG: Final = """
With --all-tenants the tenants are done one after another, and one that cannot be done does not stop the others.

Exit status with --all-tenants: the highest of all tenants.
"""

OF_ONE_TENANT: Final = (SchemaMismatchError, CorruptDocumentError, AuthenticationError, ExportFileError)
"""Errors that concern one namespace: the others are done nevertheless."""

_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})

Work: TypeAlias = Callable[[Session, Observer, list[Registry]], Result]
"""Does the work of a command in one namespace. The registries were read before the names of its keys."""


class Outcomes:
    """The results of all tenants."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, Result | None, str]] = []

    def add(self, tenant: str, result: Result | None, problem: str = "") -> None:
        """Add the result of a tenant, or why there is none."""
        self.rows.append((tenant, result, problem))

    @property
    def status(self) -> int:
        """The exit status: 2 if a tenant could not be done, else 1 if one has a finding."""
        if any(result is None for _, result, _ in self.rows):
            return COULD_NOT_RUN
        return FOUND if any(result is not None and result.found for _, result, _ in self.rows) else 0

    def finish(
        self, format_: Format, head: Sequence[str] = (), more: Mapping[str, object] = _NOTHING
    ) -> None:
        """Print every tenant and the sums, and end the command with its status.

        Args:
            format_: text or JSON.
            head: lines that come first in text.
            more: further fields in JSON.
        """
        if format_ is Format.JSON:
            rows = [_shape(*row) for row in self.rows]
            typer.echo(json.dumps({**more, "tenants": rows, "total": self._total()}))
        else:
            lines = [*head, *[line for row in self.rows for line in _lines(*row)], self._sentence()]
            typer.echo("\n".join(lines))
        if self.status:
            raise typer.Exit(self.status)

    def _total(self) -> dict[str, int]:
        numbers: Counter[str] = Counter()
        for _, result, _ in self.rows:
            for name, value in (result.shape if result is not None else {}).items():
                if type(value) is int:
                    numbers[name] += value
        found = sum(result is not None and result.found for _, result, _ in self.rows)
        failed = sum(result is None for _, result, _ in self.rows)
        return {"tenants": len(self.rows), "with_findings": found, "failed": failed, **numbers}

    def _sentence(self) -> str:
        total = self._total()
        if not self.rows:
            return "there are no tenants: check that --environment is right"
        parts = [f"{total['tenants']:,} tenants", f"{total['with_findings']:,} with findings"]
        if total["failed"]:
            parts.append(f"{total['failed']:,} could not be done")
        parts += [
            f"{number:,} {name.replace('_', ' ')}"
            for name, number in total.items()
            if number and name not in ("tenants", "with_findings", "failed")
        ]
        return ", ".join(parts)


def refuse_namespace(command: typer.Context, *, all_tenants: bool) -> None:
    """End a command that was asked for all tenants and, by an argument, for one. `--all-tenants` overrides the variable."""
    source = command.get_parameter_source("namespace")
    if all_tenants and source is not None and source.name == "COMMANDLINE":
        fail("--all-tenants and --tenant contradict each other")


class Tenants:
    """A server with the tenants of an application: a shell, and a context that no tenant has."""

    def __init__(self, shell: Shell, context: Context) -> None:
        self.shell: Final = shell
        self._context: Final = context

    def session(self, tenant: str) -> Session:
        """Return a session of a tenant, which is not opened yet."""
        return Session(self.shell, self._context.of_tenant(tenant))

    def count(self, meter: Meter) -> Counter[str]:
        """Find the tenants, with the numbers of their keys."""
        return self.shell.run(count_keys(self._context, meter))

    def each_of(self, tenants: Iterable[str], work: Callable[[Session], Result], outcomes: Outcomes) -> None:
        """Do the work of a command that opens no namespace, or opens it itself, in some tenants."""
        for tenant in tenants:
            with noted(tenant, outcomes):
                outcomes.add(tenant, work(self.session(tenant)))

    def each(self, work: Work, meter: Meter, outcomes: Outcomes) -> None:
        """Do the work of a command in every tenant, in the order of their names.

        One scan lists the keys of as many tenants as fit into memory, after their namespaces were opened: each walk on its own would
        look at all keys of the server. On a cluster each walk looks only at the slots of its tenant.
        """
        counts = self.count(meter)
        done = TenantMeter(meter, len(counts))
        for tenants in together(counts):
            opened = {tenant: found for tenant in tenants if (found := self._opened(tenant, outcomes))}
            small = len(counts) > 1 and sum(counts[tenant] for tenant in tenants) <= TOGETHER
            if small and not self._context.clustered:
                names = self.shell.run(list_keys(self._context, opened.keys(), meter))
                for tenant, (session, _) in opened.items():
                    session.context.state.names = names[tenant]
            while opened:
                tenant, (session, registries) = next(iter(opened.items()))
                del opened[tenant]
                with noted(tenant, outcomes):
                    outcomes.add(tenant, work(session, done.observer(), registries))

    def open(self, session: Session) -> list[Registry]:
        """Open the namespace of a tenant, and return the registries of its partitions."""
        return self.shell.run(_open(session.context))

    def _opened(self, tenant: str, outcomes: Outcomes) -> tuple[Session, list[Registry]] | None:
        session = self.session(tenant)
        try:
            return session, self.open(session)
        except OF_ONE_TENANT as error:
            outcomes.add(tenant, None, str(error))
            return None


class TenantMeter:
    """Shows how many of all tenants are done, and how much was read in all of them.

    Args:
        meter: the display.
        total: number of tenants.
    """

    def __init__(self, meter: Meter, total: int) -> None:
        self._meter: Final = meter
        self._total: Final = total
        self._begun = 0
        self._read = 0

    def observer(self) -> Observer:
        """Begin with the next tenant, and return what its walks are to call."""
        self._begun += 1
        last: Progress | None = None
        seen = 0

        def observe(progress: Progress) -> None:
            nonlocal last, seen
            if progress is not last:
                last, seen = progress, 0
            read = progress.documents + progress.entries
            self._read += read - seen
            seen = read
            self._meter.show(f"{self._total:,} tenants", self._begun - 1, self._total, self._read)

        self._meter.show(f"{self._total:,} tenants", self._begun - 1, self._total, self._read)
        return observe


@contextmanager
def tenants_of(
    package: str | None, url: str | None, environment: str | None, **options: Any
) -> Iterator[Tenants]:
    """Connect to the server that the shared options name, without opening a namespace. A `KeyweaveError` ends the command."""
    url, found = named(url), load_package(package)
    try:
        settings, context = prepare(found, url, environment=environment, **options)
        with Shell(settings) as shell:
            if shell.run(connect(context)).declared_keys:
                context = context.using(BY_KEYS)
            yield Tenants(shell, context)
    except KeyweaveError as error:
        fail(str(error))


def each_tenant(
    command: str,
    work: Work,
    format_: Format,
    package: str | None,
    url: str | None,
    environment: str | None,
    **options: Any,
) -> None:
    """Do the work of a command in every tenant, print the results, and end the command with its status."""
    outcomes = Outcomes()
    try:
        with tenants_of(package, url, environment, **options) as tenants, Meter(command) as meter:
            tenants.each(work, meter, outcomes)
    except KeyboardInterrupt:
        fail(f"stopped; {len(outcomes.rows):,} tenants are done. Run it again for the rest.")
    outcomes.finish(format_)


def _open(context: Context) -> Flow[list[Registry]]:
    yield from handshake(context)
    return (yield from read_registries(context, context.keyspace.partitions()))


@contextmanager
def noted(tenant: str, outcomes: Outcomes) -> Iterator[None]:
    """Note an error that concerns one tenant as its result."""
    try:
        yield
    except OF_ONE_TENANT as error:
        outcomes.add(tenant, None, str(error))


def _shape(tenant: str, result: Result | None, problem: str) -> dict[str, object]:
    if result is None:
        return {"tenant": tenant, "failed": True, "error": problem}
    return {"tenant": tenant, "failed": False, "found": result.found, **result.shape}


def _lines(tenant: str, result: Result | None, problem: str) -> list[str]:
    if result is None:
        return [f"{printable(tenant)}: could not be done: {problem}"]
    if not result.found:
        return [f"{printable(tenant)}: {'; '.join(' '.join(line.split()) for line in result.lines)}"]
    first, *rest = result.lines
    return [f"{printable(tenant)}: {first}", *[f"  {line}" for line in rest]]
