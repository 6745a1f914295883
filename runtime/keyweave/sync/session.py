"""The blocking session: runs the flows of generated repositories of this flavour."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar
from weakref import WeakSet

from keyweave.changes.unit import UnitOfWork
from keyweave.effects import Flow
from keyweave.errors import TenantNameError
from keyweave.exchange.confirm import confirmed, require_confirmable
from keyweave.exchange.handshake import handshake
from keyweave.exchange.lease import lease_of
from keyweave.expiry.tend import Pace
from keyweave.health.connect import connect
from keyweave.model.entity import Entity
from keyweave.opening.announce import announce
from keyweave.opening.prepare import prepare
from keyweave.read.strategy import BY_KEYS
from keyweave.store.context import Context
from keyweave.store.durability import Durability, parse_durability
from keyweave.store.tenants import KeptTenants
from keyweave.sync.lazy_shell import LazyShell
from keyweave.sync.shell import Shell, renewing
from keyweave.sync.sweeper import Sweeper
from keyweave.sync.tenant_shell import TenantShell
from keyweave.sync.watch import Run, report, watched_run
from keyweave.write.transact import transact

if TYPE_CHECKING:
    from keyweave.health.report import Health
    from keyweave.integrity.drift import Report

T = TypeVar("T")
V = TypeVar("V")


class Session:
    """A shell and the context of its flows. The repositories of a transaction share the shell of their store.

    Args:
        shell: runs the flows.
        context: their context.
        owner: the session to which the connections belong; None if they are this one's.
        origin: the session of the same tenant from which this one differs in its level of durability only, or None.
    """

    __slots__ = (
        "_origin",
        "_owner",
        "_sweepers",
        "_tenants",
        "_unwatched",
        "_views",
        "context",
        "run",
        "shell",
    )

    def __init__(
        self, shell: Shell, context: Context, owner: Session | None = None, origin: Session | None = None
    ) -> None:
        self.shell: Final = shell
        self.context: Final = context
        self._unwatched: Final[Run] = (
            shell.run if context.unit is None else partial(_run_inside, shell, context.unit)
        )
        self.run: Final = self.run_for()
        self._owner: Final = owner
        self._origin: Final = origin
        self._sweepers: WeakSet[Sweeper] | None = None
        self._views: dict[Durability | None, Any] = {}
        self._tenants: KeptTenants | None = None

    def run_for(self, entity: Entity[Any] | None = None) -> Run:
        """Return the function that runs the flows of an entity's repository, or of the store.

        An operation of a repository has the policy's `deadline` as its budget, inside a transaction what is left of the
        transaction's. A flow of the store has none: each of its exchanges has its own. See `keyweave.sync.watch`.
        """
        run = self._unwatched
        if entity is not None and self.context.unit is None:
            run = partial(self.shell.run, budget=self.context.policy.deadline)
        if self.context.durability is not None and self.context.unit is None:
            run = self._confirming(run, budget=entity is not None)
        if self.context.unit is None:
            run = renewing(run, self.shell, lease_of(self.context, entity is not None))
        return watched_run(run, self.context, entity)

    def _confirming(self, run: Run, *, budget: bool) -> Run:
        """Return a function that runs flows with their writes confirmed; a transaction writes in the flow of its store."""

        def confirming(flow: Flow[T], /, *about: str, until: float | None = None) -> T:
            return run(confirmed(self.context, flow, until, budget=budget), *about, until=until)

        return confirming

    def transact(self, bind: Callable[[Context], Any], function: Callable[[Any], Any]) -> Any:
        """Run a transaction; see `keyweave.write.transact`. Its budget is the policy's `deadline`, retries included."""
        until = time.monotonic() + self.context.policy.deadline
        flow = transact(self.context, bind, function, until)
        return self.run(flow, "transact", until=until)

    def within(self, context: Context) -> Session:
        """Return a session on the same connections with another context."""
        return Session(self.shell, context)

    def durable(self, level: str | None, bind: Callable[[Session], V]) -> V:
        """Return the store whose writes are confirmed on a level, on the same connections; the same one for each level.

        Args:
            level: as the option `durable`.
            bind: makes the store of a session.

        Raises:
            ConfigurationError: there is no such level.
        """
        if self._origin is not None:
            return self._origin.durable(level, bind)
        return self.on_level(parse_durability(level), bind)

    def on_level(self, durability: Durability | None, bind: Callable[[Session], V]) -> V:
        """Return the store of a level; the same one for each."""
        found: V | None = self._views.get(durability)
        if found is None:
            context = self.context.on_level(durability)
            made = bind(Session(self.shell, context, self._owner or self, origin=self))
            found = self._views.setdefault(durability, made)
        return found

    def tenant(self, name: object, bind: Callable[[Session], V]) -> V:
        """Return the store of a tenant on the same connections and level of durability. Nothing is sent.

        Args:
            name: of the tenant.
            bind: makes the store of a session.

        Raises:
            TenantNameError: the name is empty, too long or no text.
        """
        owner = self._owner or self
        kept = owner._tenants
        if kept is None:
            kept = owner._tenants = KeptTenants(owner.context.policy.tenants)
        if not isinstance(name, str):
            raise TenantNameError("the name of a tenant must be text")
        found: Any = kept.get(name)
        if found is None:
            found = kept.keep(name, bind(owner._of_tenant(name)))
        level = self.context.durability
        made: V = found if level == owner.context.durability else found.session.on_level(level, bind)
        return made

    def _of_tenant(self, name: str) -> Session:
        if name == self.context.keyspace.namespace.tenant:
            return Session(self.shell, self.context, self)
        context = self.context.of_tenant(name)
        return Session(TenantShell(self.shell, self.context, context), context, self)

    def sweeper(self, *, interval: float, share: float) -> Sweeper:
        """Return a sweeper on these connections, which is not started yet."""
        sweeper = Sweeper(self.shell, self.context, Pace(interval, share))
        owner = self._owner or self
        if owner._sweepers is None:
            owner._sweepers = WeakSet()
        owner._sweepers.add(sweeper)
        return sweeper

    def ready(self) -> None:
        """Connect now, where the first call would; otherwise do nothing."""
        self.shell.ready()

    def check(self) -> Report:
        """Compare every document with every derived entry, both ways. Imports the check at its first use."""
        from keyweave.integrity.check import check

        return self.run(check(self.context), "check")

    def health(self, *, memory_budget: int | None = None) -> Health:
        """Return the health of the server and of this namespace: one round trip, no retries.

        Args:
            memory_budget: bytes that the data may take; the server's own limit by default.

        Raises:
            StoreUnavailableError: the server does not answer.
        """
        from keyweave.health.examine import examine

        return self.run(examine(self.context, memory_budget=memory_budget), "health")

    def close(self) -> None:
        """Stop every sweeper, then close the connections. The session of a level or a tenant closes nothing: they are not its own."""
        if self._owner is not None:
            return
        for sweeper in list(self._sweepers or ()):
            sweeper.stop()
        self.shell.close()


def _run_inside(
    shell: Shell,
    unit: UnitOfWork,
    flow: Flow[T],
    *about: str,
    until: float | None = None,  # noqa: ARG001 - a `Run` has it
) -> T:
    """Run a flow of a transaction within its budget. A method would make a session refer to itself."""
    unit.refuse_late_use()
    return shell.run(flow, *about, until=unit.until)


def open_session(package: Any, url: str, *, connection_factory: Any = None, **options: Any) -> Session:
    """Connect to a store; options as for `keyweave.opening.prepare.prepare`.

    Raises:
        ConfigurationError: an option is not valid.
        SchemaMismatchError: the namespace holds an index with another definition.
        StoreUnavailableError: the server cannot be used.
    """
    settings, context = prepare(package, url, **options)
    shell = Shell(settings, connection_factory=connection_factory)
    try:
        server = shell.run(connect(context))
        if server.declared_keys:
            context = context.using(BY_KEYS)
        shell.run(handshake(context))
        if context.durability is not None:
            shell.run(require_confirmable(context, context.durability))
        report(shell, context)
    except BaseException:
        shell.close()
        raise
    announce(settings, context, server)
    return Session(shell, context)


def session_over(package: Any, client: Any, **options: Any) -> Session:
    """Return a session on a client of redis-py, which connects at its first flow; options as for `prepare`.

    Raises:
        ConfigurationError: an option is not valid, or a store cannot use the client. Nothing was sent.
    """
    from keyweave.connection.redis_py.open_sync import client_channel  # loads redis-py

    channel = client_channel(client)
    settings, context = prepare(package, channel.settings, **options)

    def begin(shell: Shell, until: float | None) -> Callable[[], None]:
        server = shell.run(connect(context), until=until)
        shell.run(handshake(context), until=until)
        if context.durability is not None:
            shell.run(require_confirmable(context, context.durability), until=until)

        def finish() -> None:
            if server.declared_keys:
                context.learn(BY_KEYS)
            report(shell, context)
            announce(settings, context, server)

        return finish

    return Session(LazyShell(channel, begin), context)
