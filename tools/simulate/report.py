"""A failing seed in words: how it was shrunk, every step that is left, and what was violated."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyweave.model.entity import Package
from tools.simulate.run import Played, Violation, play
from tools.simulate.scenario import Scenario
from tools.simulate.shrink import Shrinker
from tools.simulate.words import know_scripts

_DEFAULT = {"deadline": "s", "lock_ttl": "s", "lock_wait": "s", "grace_ms": "ms"}


def shrunk(
    scenario: Scenario,
    played: Played,
    violation: Violation,
    package: Package | None = None,
    playing: Callable[..., Played] = play,
) -> Scenario:
    """The smallest scenario with a violation of the same signature. `playing` plays one."""

    def fails(candidate: Scenario) -> bool:
        return any(each.signature == violation.signature for each in playing(candidate, package).violations)

    return Shrinker(scenario, played, fails).shrink()


def explain(
    scenario: Scenario,
    violation: Violation,
    package: Package | None = None,
    playing: Callable[..., Played] = play,
) -> Iterator[str]:
    """Lines for a person: the scenario's settings, its steps, its violations."""
    if package is not None:
        know_scripts(package)
    played = playing(scenario, package, recording=True)
    settings = ", ".join(
        f"{name} {value}{' ' + _DEFAULT[name] if name in _DEFAULT else ''}"
        for name, value in scenario.policy.items()
    )
    yield f"seed {scenario.seed}: {violation.signature}"
    yield f"  timeout {scenario.timeout} s, {settings}"
    yield (
        f"  {len(scenario.processes)} processes, {scenario.operations} operations, "
        f"{len(played.faults)} faults, {len(scenario.events)} events of the server"
    )
    yield "    ms, virtual  process.task"
    for step in played.steps:
        who = f"{step.who[0]}.{step.who[1]}" if step.who is not None else ""
        yield f"  {step.at / 1000:12.3f}  {who:5}{step.text}"
    for each in played.violations:
        yield f"  VIOLATION {each.signature}: {each.text}"
