"""Translates PostgreSQL's errors into the contract's errors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import asyncpg

from compozy_engine.errors import (
    AlreadyExistsError,
    APIKeyExistsError,
    CheckViolationError,
    EmailExistsError,
    KeyweaveError,
    LockTimeoutError,
    ReferenceViolationError,
    StoreUnavailableError,
    TransactionConflictError,
    ValidationError,
)

_TAKEN: dict[str, Callable[[str], KeyweaveError]] = {
    "users_pkey": lambda said: AlreadyExistsError(said, entity="User"),
    "api_keys_pkey": lambda said: AlreadyExistsError(said, entity="APIKey"),
    "users_email_key": lambda said: EmailExistsError(
        said, entity="User", constraint="email", fields=("email",)
    ),
    "api_keys_fingerprint_key": lambda said: APIKeyExistsError(
        said, entity="APIKey", constraint="fingerprint", fields=("fingerprint",)
    ),
    "api_keys_prefix_key": lambda said: APIKeyExistsError(
        said, entity="APIKey", constraint="prefix", fields=("prefix",)
    ),
}

_REFERENCES = {
    "api_keys_user_id_fkey": ("APIKey", "user_id", "User"),
    "task_states_workflow_exec_id_fkey": ("TaskState", "workflow_exec_id", "WorkflowState"),
    "task_states_parent_state_id_fkey": ("TaskState", "parent_state_id", "TaskState"),
}

_FIRST_FIELDS = {
    "agent_needs_action": "agent_id",
    "basic_runs_one_thing": "execution_type",
    "router_runs_nothing": "execution_type",
    "agent_component": "agent_id",
    "tool_component": "tool_id",
}

_UNSTORABLE = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
_LOST = (asyncpg.DeadlockDetectedError, asyncpg.SerializationError)


@contextmanager
def translated() -> Iterator[None]:
    """Raise the contract's error if a statement inside is refused.

    Raises:
        StoreUnavailableError: also for any error that no constraint of the tables explains.
    """
    try:
        yield
    except asyncpg.PostgresError as error:
        raise _refusal(error) from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # the driver could not encode an argument
            raise ValidationError("PostgreSQL cannot store a value") from error
        raise StoreUnavailableError(f"PostgreSQL: {error}") from error
    except OSError as error:
        raise StoreUnavailableError(f"PostgreSQL: {error}") from error


def _refusal(error: asyncpg.PostgresError) -> KeyweaveError:
    constraint = getattr(error, "constraint_name", None) or ""
    match error:
        case asyncpg.UniqueViolationError():
            return _TAKEN[constraint](f"{constraint}: taken")
        case asyncpg.ForeignKeyViolationError():
            entity, field, target = _REFERENCES[constraint]
            return ReferenceViolationError(
                f"{entity}.{field}: no such {target}", entity=entity, field=field, target=target
            )
        case asyncpg.CheckViolationError():
            field = _FIRST_FIELDS[constraint]
            return CheckViolationError(
                f"TaskState: {constraint} does not hold", entity="TaskState", field=field, rule=constraint
            )
        case asyncpg.LockNotAvailableError():
            return LockTimeoutError("a row stayed locked")
        case _ if isinstance(error, _LOST):
            return TransactionConflictError("another transaction came first", attempts=1)
        case _ if isinstance(error, _UNSTORABLE):
            return ValidationError("PostgreSQL cannot store a value")
        case _:
            return StoreUnavailableError(f"PostgreSQL: {error}")
