"""How long rows of each entity live: set by the schema, overridden by the environment, overridden by the program.

    KEYWEAVE_RETENTION_TASK_STATE=14d                   for TaskState of every package
    KEYWEAVE_RETENTION_COMPOZY_STORE__TASK_STATE=14d    for TaskState of the package compozy_store

An invalid override is refused before anything connects. A value outside the recommended range is used, with a warning.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from keyweave.errors import ConfigurationError
from keyweave.model.entity import Package

PREFIX: Final = "KEYWEAVE_RETENTION_"
"""The prefix of the environment variables."""

LONGEST: Final = 36_500 * 24 * 3600 * 1_000_000
"""Maximum retention in microseconds. The head of a document has room for deadlines until the year 2286."""

_UNITS: Final = {
    "d": 86_400_000_000,
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1000,
    "µs": 1,
}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


class Lifetime(msgspec.Struct, frozen=True):
    """How long rows of an entity live once their retention applies.

    Attributes:
        entity: name of the entity.
        micros: microseconds; 0 if each row names its own deadline, which nothing overrides.
        source: where the value was set: `schema`, `retention`, or the name of an environment variable.
        recommended: the smallest and largest value that the schema recommends, in microseconds, or None.
    """

    entity: str
    micros: int
    source: str
    recommended: tuple[int, int] | None = None

    @property
    def advice(self) -> str | None:
        """A warning that names the recommended range; None when the value is inside it."""
        if self.recommended is None or self.recommended[0] <= self.micros <= self.recommended[1]:
            return None
        least, most = (write_duration(bound) for bound in self.recommended)
        return (
            f"retention of {self.entity} is {write_duration(self.micros)} (from {self.source}); "
            f"the recommended range is {least} to {most}"
        )


def resolve(package: Package, given: Mapping[str, int], variables: Mapping[str, str]) -> dict[str, Lifetime]:
    """Return the lifetime of each entity with retention, by entity name.

    Args:
        given: microseconds by entity name, from the program.
        variables: the environment.

    Raises:
        ConfigurationError: an override does not name an entity with retention, or is not a duration from 1 µs to
            36500d. The message names the variable.
    """
    schema = {
        name: entity.retention for name, entity in package.entities.items() if entity.retention is not None
    }
    found = {
        name: Lifetime(name, retention.after, "schema", retention.recommended)
        for name, retention in schema.items()
    }
    schema = {name: retention for name, retention in schema.items() if not retention.at}
    for name, micros, source in [*_from_environment(package, list(schema), variables), *_from_program(given)]:
        if name not in schema:
            known = ", ".join(sorted(schema)) or "none"
            raise ConfigurationError(
                f"{source}: {name!r} is not an entity with retention (there are: {known})"
            )
        if micros <= 0:
            raise ConfigurationError(f"{source}: {name} must be longer than zero")
        if micros > LONGEST:
            raise ConfigurationError(f"{source}: {name} must be at most {write_duration(LONGEST)}")
        found[name] = Lifetime(name, micros, source, schema[name].recommended)
    return found


def variable_of(entity: str, package: str | None = None) -> str:
    """Return the environment variable of an entity's retention: for every package, or for one."""
    scope = f"{package.upper()}__" if package is not None else ""
    return f"{PREFIX}{scope}{_WORD.sub('_', entity).upper()}"


def read_duration(text: str) -> int | None:
    """Return the microseconds of `14d`, `36h`, `90m`, `10s` or `500ms`, as in a schema; None for any other text."""
    match = _DURATION.fullmatch(text.strip())
    return int(match[1]) * _UNITS[match[2]] if match is not None else None


def write_duration(micros: int) -> str:
    """Return a duration as text, in the largest unit that represents it exactly."""
    unit = next(name for name, size in _UNITS.items() if micros % size == 0)
    return f"{micros // _UNITS[unit]}{unit}"


def _from_program(given: Mapping[str, int]) -> list[tuple[str, int, str]]:
    return [(name, micros, "retention") for name, micros in given.items()]


def _from_environment(
    package: Package, known: list[str], variables: Mapping[str, str]
) -> list[tuple[str, int, str]]:
    """Return entity, microseconds and variable of each override. Variables for this package come last, so they win."""
    own = f"{PREFIX}{package.name.upper()}__"
    names = {variable_of(name): name for name in known} | {
        variable_of(name, package.name): name for name in known
    }
    found: list[tuple[str, int, str]] = []
    for variable in sorted(variables, key=lambda each: (each.startswith(own), each)):
        text = variables[variable]
        others = "__" in variable.removeprefix(PREFIX) and not variable.startswith(own)
        if not variable.startswith(PREFIX) or others or not text.strip():
            continue
        name = names.get(variable)
        if name is None:
            from difflib import get_close_matches  # only a mistake needs it

            close = get_close_matches(variable, list(names), n=1, cutoff=0.6)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise ConfigurationError(
                f"{variable}: {package.name} has no such entity with retention{hint} "
                f"(there are: {', '.join(sorted(known)) or 'none'})"
            )
        micros = read_duration(text)
        if micros is None:
            raise ConfigurationError(f"{variable}: must be a duration such as 14d, 36h, 90m, 10s or 500ms")
        found.append((name, micros, variable))
    return found
