"""Every error that Keyweave raises, grouped by its cause.

    KeyweaveError
    ├── ConfigurationError            the program: a URL, an option or a schema override is invalid
    │   ├── FormatError               the generated code has a format that this version does not support
    │   ├── SchemaMismatchError       the namespace was made by code that defines it differently
    │   └── TenantNameError           the name of a tenant is empty, too long or no text
    ├── ValidationError               the caller: a value breaks its field's type or limits
    │   ├── CheckViolationError       a named check of the entity does not hold
    │   ├── InvalidCursorError        the cursor is damaged or belongs to another query
    │   ├── UnboundedQueryError       no view bounds the query, and it does not allow to read all rows
    │   └── NotLoadedError            `save` of a record that was never loaded or written
    ├── NotFoundError                 the row does not exist
    ├── MultipleRowsError             a query that may have one row has several
    ├── AlreadyExistsError            a row with this key exists
    ├── UniqueViolationError          another row holds this unique value
    ├── ReferenceViolationError       the row refers to a missing row, or another row still refers to it
    ├── ConflictError                 the row changed since it was loaded
    │   ├── ViewNotEmptyError         an insert required an empty view, and the view has a member
    │   └── TransactionConflictError  a transaction or a retried change lost every attempt to other writers
    ├── LockTimeoutError              an advisory lock was not free within its timeout
    ├── TransactionRequiredError      a locking read outside a transaction
    ├── CrossPartitionError           one atomic step would need two partitions
    ├── TransactionTooLargeError      one atomic step would need a longer command than the server accepts
    ├── ViewNotBuiltError             the view or constraint is new and not built yet
    ├── CorruptDocumentError          a stored key does not hold what Keyweave writes
    ├── ExportFileError               the file is not a complete export of this schema
    ├── DurabilityError               the write is there, and was not confirmed in time
    └── StoreUnavailableError         the server is down, slow, or refuses the command
        ├── StoreTimeoutError         no answer within the configured time
        ├── StoreLoadingError         the server is still loading its data
        ├── StoreReadOnlyError        the server accepts no writes, for example because it is a replica
        ├── StoreOutOfMemoryError     the server is at its memory limit
        ├── AuthenticationError       the server refused the credentials, or the user lacks a permission
        └── OutcomeUnknownError       a write may or may not have happened

Messages name entities, fields, rules, hosts and ports, and the key of the row that is read, written or deleted. They never
contain a credential or the value of another field. `key` of an error is the key as text; of a composite key it is the tuple of
the parts: numbers as they are, and everything else as text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class KeyweaveError(Exception):
    """The parent of all errors of Keyweave.

    Attributes:
        code: the code of the server's error reply, such as `OOM`; empty when there was none.
    """

    code: str = ""


class ConfigurationError(KeyweaveError, ValueError):
    """A URL, option, override or argument is invalid. Nothing was written."""


class FormatError(ConfigurationError):
    """The generated code has a format that this version of Keyweave does not support. Nothing was connected.

    Attributes:
        found: the format of the generated code; 0 when it has no number.
        known: the format that this version supports.
    """

    def __init__(self, message: str, *, found: int, known: int) -> None:
        super().__init__(message)
        self.found = found
        self.known = known


class SchemaMismatchError(ConfigurationError):
    """An index in the namespace has another definition in this code, or a group has another number of partitions.

    No row was read or written.
    """


class TenantNameError(ConfigurationError):
    """The name of a tenant is not text, empty, longer than 500 characters, or not valid Unicode. Nothing was sent.

    The message does not contain the name, which may come from a request.
    """


class ValidationError(KeyweaveError, ValueError):
    """A value was refused before anything was written.

    Attributes:
        entity: name of the entity.
        field: path of the invalid field (`usage[0].provider`), or None when no single field is invalid.
        rule: the rule that the value breaks, such as `Expected int, got str`.
        key: the key of the record that was refused; empty when no record was, or when the key itself is not valid.
    """

    key: Any = ""

    def __init__(self, message: str, *, entity: str = "", field: str | None = None, rule: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.field = field
        self.rule = rule


class CheckViolationError(ValidationError):
    """A named check of the entity does not hold; `rule` is the check's name, `field` its first field."""


class InvalidCursorError(ValidationError):
    """The cursor is damaged, or belongs to another query, order or direction."""


class UnboundedQueryError(ValidationError):
    """No view bounds the query, so it would read all rows. Nothing was sent.

    Add a filter that a view has, or a view, or allow it with `scan()`.
    """


class NotLoadedError(ValidationError):
    """`save` was called with a record that was neither loaded nor written, so it has no revision to guard."""


class NotFoundError(KeyweaveError, LookupError):
    """The row does not exist, or its retention has ended.

    Attributes:
        entity: name of the entity.
        key: the requested key; empty when the caller gave none.
    """

    def __init__(self, message: str, *, entity: str = "", key: Any = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.key = key


class MultipleRowsError(KeyweaveError, LookupError):
    """A query was asked for its only row and has several.

    Attributes:
        entity: name of the entity.
    """

    def __init__(self, message: str, *, entity: str = "") -> None:
        super().__init__(message)
        self.entity = entity


class AlreadyExistsError(KeyweaveError):
    """A row with this key exists.

    Attributes:
        entity: name of the entity.
        key: the key that is taken.
    """

    def __init__(self, message: str, *, entity: str = "", key: Any = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.key = key


class UniqueViolationError(KeyweaveError):
    """Another row holds this unique value.

    Attributes:
        entity: name of the entity.
        constraint: name of the unique constraint.
        fields: the fields that the constraint covers.
        key: the key of the row that was to be written.
    """

    def __init__(
        self,
        message: str,
        *,
        entity: str = "",
        constraint: str = "",
        fields: Sequence[str] = (),
        key: Any = "",
    ) -> None:
        super().__init__(message)
        self.entity = entity
        self.constraint = constraint
        self.fields = tuple(fields)
        self.key = key


class ReferenceViolationError(KeyweaveError):
    """A row refers to a row that does not exist, or another row still refers to it with restrict.

    Attributes:
        entity: name of the entity that was written or deleted.
        field: the referring field.
        target: name of the entity that the field refers to.
        key: the key of the row that was to be written or deleted.
    """

    def __init__(
        self, message: str, *, entity: str = "", field: str = "", target: str = "", key: Any = ""
    ) -> None:
        super().__init__(message)
        self.entity = entity
        self.field = field
        self.target = target
        self.key = key


class ConflictError(KeyweaveError):
    """The row changed since it was loaded, or its state forbids the step. Load the row again, then decide again.

    Attributes:
        key: the key of the row; empty when the caller gave none.
    """

    def __init__(self, message: str, *, key: Any = "") -> None:
        super().__init__(message)
        self.key = key


class ViewNotEmptyError(ConflictError):
    """An insert required that a view has no member with the row's values, and the view has one.

    Attributes:
        entity: name of the entity.
        view: name of the view.
    """

    def __init__(self, message: str, *, entity: str = "", view: str = "") -> None:
        super().__init__(message)
        self.entity = entity
        self.view = view


class TransactionConflictError(ConflictError):
    """A transaction, or a change that is retried, lost every attempt to other writers.

    Attributes:
        attempts: number of attempts.
    """

    def __init__(self, message: str, *, attempts: int = 0, key: Any = "") -> None:
        super().__init__(message, key=key)
        self.attempts = attempts


class LockTimeoutError(KeyweaveError, TimeoutError):
    """An advisory lock was not free within its timeout.

    Attributes:
        waited: seconds that the caller waited.
        key: the key of the locked row.
    """

    def __init__(self, message: str, *, waited: float = 0.0, key: Any = "") -> None:
        super().__init__(message)
        self.waited = waited
        self.key = key


class TransactionRequiredError(KeyweaveError):
    """A locking read was called outside a transaction, or a transaction was used after its end."""


class CrossPartitionError(KeyweaveError):
    """One atomic step would need two partitions. Nothing was sent."""


class TransactionTooLargeError(KeyweaveError):
    """One atomic step would need a command of more words than the option `command_words` permits. It was not sent.

    Attributes:
        words: the number of words that it would need.
        most: the number that is permitted.
    """

    def __init__(self, message: str, *, words: int, most: int) -> None:
        super().__init__(message)
        self.words = words
        self.most = most


class CorruptDocumentError(KeyweaveError):
    """A stored key does not hold what Keyweave writes: wrong type, no head, or a body that does not fit the entity.

    Attributes:
        entity: name of the entity, or empty when it is not known.
        key: the key of the row, if the caller gave it; empty otherwise.
    """

    key: Any = ""

    def __init__(self, message: str, *, entity: str = "") -> None:
        super().__init__(message)
        self.entity = entity


class ViewNotBuiltError(KeyweaveError):
    """A new view or unique constraint was read before it was built. Writes keep it; `keyweave backfill` builds it.

    Attributes:
        entity: name of the entity.
        view: name of the view or constraint.
    """

    def __init__(self, message: str, *, entity: str, view: str) -> None:
        super().__init__(message)
        self.entity = entity
        self.view = view


class ExportFileError(KeyweaveError):
    """The file is not an export, is incomplete, or belongs to another schema. Nothing was written."""


class DurabilityError(KeyweaveError):
    """The write is there, and the server did not confirm in time that it has the level of the option `durable`.

    Do not repeat the write. Other callers can read it, and a failure of the server may still lose it.

    Attributes:
        level: `disk` or `replicas:N`.
        result: what the call would have returned.
    """

    def __init__(self, message: str, *, level: str = "", result: Any = None) -> None:
        super().__init__(message)
        self.level = level
        self.result = result


class StoreUnavailableError(KeyweaveError):
    """The server is down, slow, or refuses the command. The message names host and port."""


class StoreTimeoutError(StoreUnavailableError, TimeoutError):
    """The server did not answer within the configured time. If the operation was a write, it did not happen."""


class StoreLoadingError(StoreUnavailableError):
    """The server is still loading its data from disk."""


class StoreReadOnlyError(StoreUnavailableError):
    """The server accepts no writes: a replica, a failed snapshot (MISCONF), or too few replicas (NOREPLICAS)."""


class StoreOutOfMemoryError(StoreUnavailableError):
    """The server is at its memory limit and refuses writes. Nothing was written."""


class AuthenticationError(StoreUnavailableError):
    """The server refused the credentials, or the user lacks a permission for a command or key."""


class OutcomeUnknownError(StoreUnavailableError):
    """A write may or may not have happened: it was sent, and the server did not answer before the deadline.

    Once the server can be reached again, `store.outcome(error)` returns whether the write happened, for 12 hours.

    Attributes:
        unsettled: what was sent, for `store.outcome`; None when nothing can be settled.
    """

    unsettled: Any = None
