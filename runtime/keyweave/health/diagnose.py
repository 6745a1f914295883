"""What is wrong with a store, why it matters and what to do: one small rule per finding, from facts alone.

A rule ignores facts that the server did not report; one finding lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from keyweave.health import rules_data, rules_server
from keyweave.health.limits import Limits
from keyweave.health.report import Finding, Health, Severity

Rule = Callable[[Health, Limits], Iterator[Finding]]


def diagnose(health: Health, limits: Limits) -> tuple[Finding, ...]:
    """Return a finding for everything that is not as primary data needs it, worst first."""
    found = [finding for rule in _RULES for finding in rule(health, limits)]
    return worst_first(found)


def worst_first(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings with the worst ones first, otherwise in their order."""
    return tuple(sorted(found, key=lambda finding: _ORDER[finding.severity]))


def _service(health: Health, limits: Limits) -> Iterator[Finding]:
    """Import the rules about managed services only where there is a restriction: probes of other servers do without."""
    if health.server.restrictions:
        from keyweave.health import rules_service

        yield from rules_service.short_commands(health, limits)
        yield from rules_service.restricted(health, limits)


def _sentinels(health: Health, limits: Limits) -> Iterator[Finding]:
    """Import the rule about Sentinels only where there are some."""
    if health.sentinels:
        from keyweave.health import rules_sentinels

        yield from rules_sentinels.sentinels(health, limits)


_ORDER: Final = {severity: place for place, severity in enumerate(reversed(Severity))}

_RULES: Final[tuple[Rule, ...]] = (
    rules_server.loading,
    rules_server.version,
    rules_server.scripts,
    rules_server.refusal,
    rules_server.replica,
    rules_data.failing,
    rules_data.eviction,
    rules_data.persistence,
    rules_data.memory,
    rules_server.replicas,
    rules_data.sweeping,
    rules_data.schema,
    rules_data.uneven,
    rules_server.tls,
    rules_server.clock,
    rules_server.hidden,
    _service,
    _sentinels,
)
