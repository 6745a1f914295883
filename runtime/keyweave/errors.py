"""Every error that Keyweave raises, by who can do something about it.

    KeyweaveError
    ├── ConfigurationError            the program: a URL, an option or a schema override makes no sense
    │   ├── FormatError               generated code has a format that this version does not know
    │   └── SchemaMismatchError       an index of the namespace has another definition than this code's
    ├── ValidationError               the caller: a value breaks its field's type or limits
    │   ├── CheckViolationError       a named check of the entity does not hold
    │   ├── InvalidCursorError        a cursor that this view did not hand out
    │   └── NotLoadedError            a guarded write of a record that was never loaded or written
    ├── NotFoundError                 the row is not there
    ├── AlreadyExistsError            a row with this key is there
    ├── UniqueViolationError          another row holds this unique value
    ├── ReferenceViolationError       the row refers to one that is not there, or is referred to
    ├── ConflictError                 the row changed since it was loaded
    │   ├── ViewNotEmptyError         a row was to be inserted only if none like it is there
    │   └── TransactionConflictError  a transaction or retried change lost every one of its tries
    ├── LockTimeoutError              an advisory lock was not free within its time
    ├── TransactionRequiredError      a locking read outside a transaction
    ├── CrossPartitionError           one atomic step would need two partitions
    ├── ViewNotBuiltError             the view or constraint is new, and not built yet
    ├── CorruptDocumentError          a stored key does not hold what Keyweave writes
    ├── ExportFileError               a file that is no whole export of this schema
    └── StoreUnavailableError         the server: down, slow or refusing
        ├── StoreTimeoutError         no answer within the configured time
        ├── StoreLoadingError         the server still loads its data
        ├── StoreReadOnlyError        a replica, or a server that stopped taking writes
        ├── StoreOutOfMemoryError     the server is at its memory limit
        ├── AuthenticationError       credentials were refused, or lack a permission
        └── OutcomeUnknownError       a write may or may not have happened

Messages name entities, fields, rules, hosts and ports; never a credential, never the value of a secret field.
"""

from __future__ import annotations

from collections.abc import Sequence


class KeyweaveError(Exception):
    """The parent of all errors of Keyweave.

    Attributes:
        code: the error code that the server refused with, such as `OOM`; empty when it refused nothing.
    """

    code: str = ""


class ConfigurationError(KeyweaveError, ValueError):
    """A URL, option or override makes no sense. Raised before anything is connected."""


class FormatError(ConfigurationError):
    """The generated code has another format than this version of Keyweave runs. Nothing was connected.

    Attributes:
        found: the format of the generated code; 0 when it has no number.
        known: the format that this version runs.
    """

    def __init__(self, message: str, *, found: int, known: int) -> None:
        super().__init__(message)
        self.found = found
        self.known = known


class SchemaMismatchError(ConfigurationError):
    """An index that the namespace holds has another definition in this code. Nothing was read or written."""


class ValidationError(KeyweaveError, ValueError):
    """A record was refused before anything was sent.

    Attributes:
        entity: name of the entity.
        field: path of the offending field (`usage[0].provider`), or None when no single field is at fault.
        rule: what the value breaks, such as `Expected int, got str`.
    """

    def __init__(self, message: str, *, entity: str = "", field: str | None = None, rule: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.field = field
        self.rule = rule


class CheckViolationError(ValidationError):
    """A named check of the entity does not hold; `rule` is the check's name, `field` its first field."""


class InvalidCursorError(ValidationError):
    """A cursor is damaged, or comes from a view with another order."""


class NotLoadedError(ValidationError):
    """`save` was given a record that was neither loaded nor written, so there is no revision to guard it by."""


class NotFoundError(KeyweaveError, LookupError):
    """The row is not there, or its retention has ended.

    Attributes:
        entity: name of the entity.
        key: the key that was asked for; kept out of the message, because keys can be sensitive.
    """

    def __init__(self, message: str, *, entity: str = "", key: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.key = key


class AlreadyExistsError(KeyweaveError):
    """A row with this key is there.

    Attributes:
        entity: name of the entity.
        key: the key that is taken.
    """

    def __init__(self, message: str, *, entity: str = "", key: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.key = key


class UniqueViolationError(KeyweaveError):
    """Another row holds this unique value.

    Attributes:
        entity: name of the entity.
        constraint: name of the unique constraint.
        fields: the fields that it covers.
    """

    def __init__(
        self, message: str, *, entity: str = "", constraint: str = "", fields: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.entity = entity
        self.constraint = constraint
        self.fields = tuple(fields)


class ReferenceViolationError(KeyweaveError):
    """A row refers to one that is not there, or a restricted row is still referred to.

    Attributes:
        entity: name of the entity that was written or deleted.
        field: the referring field.
        target: name of the entity that the field refers to.
    """

    def __init__(self, message: str, *, entity: str = "", field: str = "", target: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.field = field
        self.target = target


class ConflictError(KeyweaveError):
    """The row changed since it was loaded, or the state forbids the step. Load it again and decide again."""


class ViewNotEmptyError(ConflictError):
    """A row was to be inserted only if a view had no member with its values, and it has one.

    Attributes:
        entity: name of the entity.
        view: name of the view.
    """

    def __init__(self, message: str, *, entity: str = "", view: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.view = view


class TransactionConflictError(ConflictError):
    """A transaction, or a change that is retried, lost every one of its tries to other writers.

    Attributes:
        attempts: how often it was tried.
    """

    def __init__(self, message: str, *, attempts: int = 0) -> None:
        super().__init__(message)
        self.attempts = attempts


class LockTimeoutError(KeyweaveError, TimeoutError):
    """An advisory lock was not free within its time.

    Attributes:
        waited: seconds.
    """

    def __init__(self, message: str, *, waited: float = 0.0) -> None:
        super().__init__(message)
        self.waited = waited


class TransactionRequiredError(KeyweaveError):
    """A locking read was asked for outside a transaction, or a transaction was used after its end."""


class CrossPartitionError(KeyweaveError):
    """One atomic step would need two partitions. Nothing was sent."""


class CorruptDocumentError(KeyweaveError):
    """A stored key does not hold what Keyweave writes: wrong type, no head, or a body that is not the entity's.

    Attributes:
        entity: name of the entity, where it is known.
    """

    def __init__(self, message: str, *, entity: str = "") -> None:
        super().__init__(message)
        self.entity = entity


class ViewNotBuiltError(KeyweaveError):
    """A new view or unique constraint was to be read before it was built. Writes keep it; `keyweave backfill` builds it.

    Attributes:
        entity: name of the entity.
        view: name of the view or constraint.
    """

    def __init__(self, message: str, *, entity: str, view: str) -> None:
        super().__init__(message)
        self.entity = entity
        self.view = view


class ExportFileError(KeyweaveError):
    """A file is no export, not all of one, or one of another schema. Nothing was written."""


class StoreUnavailableError(KeyweaveError):
    """The server cannot be used: it is down, slow, or refuses. The message names host and port."""


class StoreTimeoutError(StoreUnavailableError, TimeoutError):
    """The server did not answer within the configured time. A read, or a write that is known not to have happened."""


class StoreLoadingError(StoreUnavailableError):
    """The server is still loading its data from disk."""


class StoreReadOnlyError(StoreUnavailableError):
    """The server takes no writes: a replica, a failed snapshot (MISCONF), or too few replicas (NOREPLICAS)."""


class StoreOutOfMemoryError(StoreUnavailableError):
    """The server is at its memory limit and refuses writes. Nothing was written."""


class AuthenticationError(StoreUnavailableError):
    """The server refused the credentials, or the user lacks a permission for a command or key."""


class OutcomeUnknownError(StoreUnavailableError):
    """A write may or may not have happened: the connection broke, and the row has changed again since."""
