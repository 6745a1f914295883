"""The engine's errors, and the general errors that its methods may raise."""

from __future__ import annotations

from compozy_store.errors import (
    APIKeyExistsError,
    APIKeyNotFoundError,
    EmailExistsError,
    TaskNotFoundError,
    UserNotFoundError,
    WorkflowNotFoundError,
)
from keyweave.errors import (
    AlreadyExistsError,
    CheckViolationError,
    ConflictError,
    DurabilityError,
    KeyweaveError,
    LockTimeoutError,
    NotFoundError,
    ReferenceViolationError,
    StoreUnavailableError,
    TransactionConflictError,
    TransactionRequiredError,
    UniqueViolationError,
    ValidationError,
    ViewNotEmptyError,
)

__all__ = [
    "APIKeyExistsError",
    "APIKeyNotFoundError",
    "AlreadyBootstrappedError",
    "AlreadyExistsError",
    "CheckViolationError",
    "ConflictError",
    "DurabilityError",
    "EmailExistsError",
    "KeyweaveError",
    "LockTimeoutError",
    "NotFoundError",
    "ReferenceViolationError",
    "StoreUnavailableError",
    "TaskNotFoundError",
    "TransactionConflictError",
    "TransactionRequiredError",
    "UniqueViolationError",
    "UserNotFoundError",
    "ValidationError",
    "ViewNotEmptyError",
    "WorkflowNotFoundError",
    "WorkflowNotReadyError",
]


class AlreadyBootstrappedError(ConflictError):
    """An admin exists already, or the id or email of the new admin is taken."""


class WorkflowNotReadyError(ConflictError):
    """The workflow cannot be completed: a top-level task is pending or running. Nothing changed."""
