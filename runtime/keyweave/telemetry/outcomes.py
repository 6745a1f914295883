"""The outcomes of operations: a bounded set of words. Messages and exception classes of the caller add none."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from typing import Final

from keyweave import errors
from keyweave.model.entity import Package

OTHER: Final = "_OTHER"
"""OpenTelemetry's value for everything outside of a closed set."""

CODES: Final = frozenset(
    "BUSY CLUSTERDOWN CROSSSLOT ERR LOADING MASTERDOWN MISCONF NOAUTH NOPERM NOREPLICAS OOM READONLY TRYAGAIN "
    "UNKILLABLE WRONGPASS WRONGTYPE".split()
)
"""Error codes of the server that are reported by name."""


class Outcome(enum.StrEnum):
    """The outcome of an operation."""

    OK = "ok"
    MISSING = "missing"
    TAKEN = "taken"
    REFERENCE = "reference"
    INVALID = "invalid"
    CONFLICT = "conflict"
    LOCKED = "locked"
    UNKNOWN = "unknown"
    UNCONFIRMED = "unconfirmed"
    UNAVAILABLE = "unavailable"
    CORRUPT = "corrupt"
    REFUSED = "refused"
    RAISED = "raised"
    CANCELED = "canceled"


FAULTS: Final = frozenset(
    {Outcome.UNKNOWN, Outcome.UNCONFIRMED, Outcome.UNAVAILABLE, Outcome.CORRUPT, Outcome.RAISED}
)
"""Outcomes that set a span's status to error. The others are answers: a missing row is not a failure of the store."""

# The first match wins: subclasses come before their parents.
_BY_ERROR: Final[tuple[tuple[type[BaseException], Outcome], ...]] = (
    (errors.NotFoundError, Outcome.MISSING),
    (errors.AlreadyExistsError, Outcome.TAKEN),
    (errors.UniqueViolationError, Outcome.TAKEN),
    (errors.ReferenceViolationError, Outcome.REFERENCE),
    (errors.ValidationError, Outcome.INVALID),
    (errors.ConflictError, Outcome.CONFLICT),
    (errors.LockTimeoutError, Outcome.LOCKED),
    (errors.OutcomeUnknownError, Outcome.UNKNOWN),
    (errors.DurabilityError, Outcome.UNCONFIRMED),
    (errors.StoreUnavailableError, Outcome.UNAVAILABLE),
    (errors.CorruptDocumentError, Outcome.CORRUPT),
    (errors.KeyweaveError, Outcome.REFUSED),
    (Exception, Outcome.RAISED),
    (BaseException, Outcome.CANCELED),  # canceled tasks, closed generators, interrupts
)


def outcome_of(error: BaseException | None) -> Outcome:
    """Return the outcome of an operation that raised `error`; None means success."""
    if error is None:
        return Outcome.OK
    return next(outcome for kind, outcome in _BY_ERROR if isinstance(error, kind))


def status_code(error: BaseException) -> str:
    """Return the server's error code behind `error`: one of `CODES`, `_OTHER`, or empty if the server refused nothing."""
    code = getattr(error, "code", "") if isinstance(error, errors.KeyweaveError) else ""
    return code if not code or code in CODES else OTHER


class ErrorTypes:
    """Names of error classes: the runtime's and the schema's; any other class has the name of its nearest parent there."""

    def __init__(self, package: Package) -> None:
        declared: set[type[BaseException]] = set(_declared(package))
        declared |= {kind for kind in vars(errors).values() if _is_error(kind)}
        self._declared: Final = frozenset(declared)
        self._names: dict[type[BaseException], str] = {}

    @property
    def names(self) -> frozenset[str]:
        """Every name that `name` can return."""
        return frozenset(kind.__name__ for kind in self._declared) | {OTHER}

    def name(self, error: BaseException) -> str:
        """Return the name of an error's class, or of its nearest parent that the runtime or the schema declares."""
        kind = type(error)
        found = self._names.get(kind)
        if found is None:
            nearest = next((each for each in kind.__mro__ if each in self._declared), None)
            found = nearest.__name__ if nearest is not None else OTHER
            if len(self._names) < 1000:  # classes can be made at run time
                self._names[kind] = found
        return found


def _is_error(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, errors.KeyweaveError)


def _declared(package: Package) -> Iterable[type[BaseException]]:
    for entity in package.entities.values():
        yield entity.not_found
        yield entity.exists
        for unique in entity.uniques.values():
            yield unique.error
