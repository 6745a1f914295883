"""Opening a store, the same in both flavours: options are checked and a context is created before anything connects."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from keyweave.connection.options import command_words
from keyweave.connection.settings import ConnectionSettings, parse_url
from keyweave.errors import ConfigurationError, FormatError
from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.keyspace.spread import MOST_PARTITIONS, is_number_of_partitions
from keyweave.model.entity import Package
from keyweave.model.moment import duration_micros
from keyweave.store.context import Context
from keyweave.store.durability import parse_durability
from keyweave.store.placing import Router
from keyweave.store.policy import Policy
from keyweave.store.retention import Lifetime, resolve
from keyweave.store.strategy import NO_READS, Strategy
from keyweave.telemetry.configure import telemetry_of

FORMAT: Final = 3
"""The format of generated code that this version runs. The generator writes the same number."""

_LOG: Final = logging.getLogger("keyweave")
_POLICY: Final = {field.name: field.default for field in dataclasses.fields(Policy)}
_SHARED: Final = ("deadline", "command_words")
"""Options of the policy that a URL may have, so that commands of the administrator have them as well."""

_MAY_BE_ZERO: Final = frozenset({"sweep_every"})
_LEAST: Final = 0.001
_MOST: Final = 1e12
_MOST_REMEMBERED: Final = 1_000_000


def prepare(
    package: Package,
    where: str | ConnectionSettings,
    *,
    namespace: str | None = None,
    environment: str | None = None,
    retention: Mapping[str, timedelta] | None = None,
    partitions: Mapping[str, int] | None = None,
    durable: str | None = None,
    tracer_provider: object = None,
    meter_provider: object = None,
    reads: bool = True,
    **options: Any,
) -> tuple[ConnectionSettings, Context]:
    """Check all options, and return the settings of the connection and the context of the store.

    Args:
        where: `redis://`, `rediss://`, `unix://`, `embedded:`, `redis+sentinel://` or `redis+cluster://`; or the settings of a client, whose
            connection options are the client's.
        namespace: the tenant, any non-empty text; separates tenants and tests.
        environment: such as `production`; by default the schema's.
        retention: how long finished rows are kept, by entity name; overrides environment variables and the schema.
        partitions: number of partitions of a new namespace, by group; by default the schema's. One that is in use has to have it.
        durable: what every write waits for: `disk`, or `replicas:N`; None for nothing.
        tracer_provider, meter_provider: of OpenTelemetry; by default the global ones at the time of the call.
        reads: False for a context that reads no rows, and so loads no flow that does.
        options: of the connection (see `keyweave.connection.settings`) or of `keyweave.store.policy.Policy`.

    Raises:
        FormatError: the generated code has another format than this version runs. Nothing was connected.
        ConfigurationError: an option is not valid. Nothing was connected.
    """
    _check_format(package)
    if partitions is not None:
        _check_partitions(package, partitions)
    durability = parse_durability(durable)
    if isinstance(where, ConnectionSettings):
        settings, policy = where, _policy_of(options)
        for name in options:
            raise ConfigurationError(f"option {name!r}: a store over a client takes the client's own options")
    else:
        shared = {name: options.pop(name, None) for name in _SHARED}
        policy = _policy_of(options)
        settings = parse_url(where, **shared, **options)
        policy |= {name: getattr(settings, name) for name in _SHARED}
    app, version, default_environment, tenant = package.namespace
    parts = Namespace(
        app,
        version,
        default_environment if environment is None else environment,
        tenant if namespace is None else namespace,
    )
    context = Context(
        package,
        Keyspace(parts, dict.fromkeys(package.groups, 1), package.stored),
        Policy(**policy),
        settings.address,
        _lifetimes(package, retention or {}),
        _by_script() if reads else NO_READS,
        timeout=settings.timeout,
        encrypted=settings.encrypted,
        local=settings.local,
        durability=durability,
        wanted=dict(partitions or {}),
        routing=_routing,
        clustered=settings.clustered,
        direct=not settings.nodes and not isinstance(where, ConnectionSettings),
        telemetry=telemetry_of(settings, package, parts.prefix(), tracer_provider, meter_provider),
    )
    context.state.stats.sink = context.telemetry
    return settings, context


def _by_script() -> Strategy:
    """Import the flows of reads only for contexts that read rows."""
    from keyweave.read.strategy import BY_SCRIPT

    return BY_SCRIPT


def _routing(doubling: bool) -> Router:
    """Import what routes only for stores with several partitions of a group."""
    if doubling:
        from keyweave.partitioned.doubling import DOUBLING_ROUTER

        return DOUBLING_ROUTER
    from keyweave.partitioned.router import ROUTER

    return ROUTER


def _check_format(package: Package) -> None:
    """Refuse generated code that this version may misread."""
    found = package.format
    if found == FORMAT:
        return
    advice = "the code is older: run `keyweave generate` with this version, and deploy what it writes"
    if found > FORMAT:
        advice = "the code is newer: upgrade keyweave, or run `keyweave generate` with this version"
    raise FormatError(
        f"the generated package {package.name} has format {found}, and this version of keyweave runs format {FORMAT}; "
        f"{advice}",
        found=found,
        known=FORMAT,
    )


def _check_partitions(package: Package, partitions: object) -> None:
    """Refuse numbers of partitions that a group cannot have."""
    if not isinstance(partitions, Mapping):
        raise ConfigurationError("option partitions must map names of groups to numbers of partitions")
    for group, number in partitions.items():
        if group not in package.groups:
            known = ", ".join(sorted(package.groups))
            raise ConfigurationError(
                f"option partitions: there is no group {group!r}; the groups are {known}"
            )
        if not is_number_of_partitions(number):
            raise ConfigurationError(
                f"option partitions: the number of group {group} must be a power of two from 1 to {MOST_PARTITIONS:,}"
            )
        if number > 1:
            _check_references(package, group)


def _check_references(package: Package, group: str) -> None:
    """Refuse several partitions of a group in which rows would refer to rows of other partitions."""
    for entity in package.entities.values():
        for reference in entity.references if entity.group == group else ():
            target = package.entities[reference.target]
            if target.partition_by in target.key_fields and entity.partition_by != reference.field:
                raise ConfigurationError(
                    f"option partitions: group {group} can have one partition only: {entity.name}.{reference.field} refers to a "
                    f"{target.name}, which may be in another partition, because {entity.name} is partitioned by "
                    f"{entity.partition_by}"
                )


def _policy_of(options: dict[str, Any]) -> dict[str, Any]:
    """Take the options of the policy out of `options`, and return those that are given."""
    names = [name for name in options if name in _POLICY]
    policy = {name: value for name in names if (value := options.pop(name)) is not None}
    for name, value in policy.items():
        _check_policy(name, value)
    return policy


def _check_policy(name: str, value: object) -> None:
    """Refuse a value that would fail later, in a loop or on the server, perhaps during a write."""
    if value == 0 and name in _MAY_BE_ZERO and type(value) is int:
        return
    if name == "command_words":
        command_words(name, value)
        return
    kinds = int if isinstance(_POLICY[name], int) else int | float
    least, most, limit = (1 if kinds is int else _LEAST), _MOST, "10^12"
    if name == "remembered":
        least, most, limit = 0, _MOST_REMEMBERED, "10^6"
    # A comparison with NaN is false, so it is refused here as well.
    if isinstance(value, bool) or not isinstance(value, kinds) or not least <= value <= most:
        number = "whole number" if kinds is int else "number"
        raise ConfigurationError(f"option {name} must be a {number} from {least} to {limit}")


def _lifetimes(package: Package, retention: Mapping[str, timedelta]) -> dict[str, Lifetime]:
    """Return the lifetime of each entity's rows. Logs a warning for one that is outside the recommended range."""
    micros: dict[str, int] = {}
    for name, duration in retention.items():
        if not isinstance(duration, timedelta):
            raise ConfigurationError(f"retention: {name} must be a timedelta")
        micros[name] = duration_micros(duration)
    lifetimes = resolve(package, micros, os.environ)
    for lifetime in lifetimes.values():
        if lifetime.advice is not None:
            _LOG.warning("%s", lifetime.advice)
    return lifetimes
