"""The part of a blocking repository that does not depend on the schema: rows by their key."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from typing import Any

from keyweave.errors import KeyweaveError
from keyweave.model.entity import Entity
from keyweave.model.keyed import K, Keyed, N, R, V
from keyweave.read import get as _get
from keyweave.read import lock as _lock
from keyweave.sync.session import Session
from keyweave.write import delete as _delete
from keyweave.write import delete_many as _delete_many
from keyweave.write import many as _many
from keyweave.write import require as _require
from keyweave.write import save as _save
from keyweave.write import update as _update


class RepositoryOfRecords(Keyed[R, K, N, V]):
    """The rows of one entity, as records. A generated repository adds what the schema says: views, unique values, merges.

    The parent of `Repository`, and of the repositories of entities with a composite key, which take its parts as arguments.

    Every method may raise `StoreUnavailableError` or a subclass. Where a method names `NotFoundError`, `AlreadyExistsError` or
    `UniqueViolationError`, the schema may have given the entity a subclass of it.

    Args:
        session: the store's, or a transaction's.
        entity: the descriptor of the entity.
    """

    __slots__ = ("_context", "_entity", "_run", "_session")

    def __init__(self, session: Session, entity: Entity[R]) -> None:
        self._session = session
        self._context = session.context
        self._run = session.run_for(entity)
        self._entity = entity

    def get_many(self, keys: Sequence[K]) -> list[R | None]:
        """The rows with these keys, in the same order; None for a key without a row."""
        entity = self._entity
        return self._run(_get.get_many(self._context, entity, entity.stored_keys(keys)), "get_many")

    def create(self, record: R, *, if_none: V | None = None) -> R:
        """Insert a row. The record gets its managed values.

        With `if_none`, insert only if no row has the same values of the fields of that view.

        Raises:
            ValidationError: a value breaks its type, a limit or a check; nothing was sent.
            AlreadyExistsError: the key is taken.
            UniqueViolationError: another row has a unique value of this one.
            ReferenceViolationError: a referenced row does not exist.
            ViewNotEmptyError: with `if_none`, there is such a row.
        """
        return self._run(_save.create(self._context, self._entity, record, if_none=if_none), "create")

    def create_many(self, records: Iterable[R]) -> list[R | KeyweaveError]:
        """Insert rows in few round trips, as if by `create`, one after another. Each row is written whole or not at all.

        An error of one row is returned in its place and does not affect the other rows. Inside a transaction the first error
        is raised.

        Returns:
            For each record in order: the record with its managed values, or the error.
        """
        return self._run(_many.create_many(self._context, self._entity, records), "create_many")

    def save(self, record: R) -> R:
        """Write a loaded record back, unless another write has changed the row since.

        Raises:
            NotLoadedError: the record was never loaded or written.
            ConflictError: the row has changed.
            NotFoundError: the row no longer exists.
            ValidationError, UniqueViolationError, ReferenceViolationError: as for `create`.
        """
        return self._run(_save.save(self._context, self._entity, record), "save")

    def save_many(self, records: Iterable[R]) -> list[R | KeyweaveError]:
        """Write loaded records back in few round trips, as if by `save`, one after another; otherwise as `create_many`.

        Returns:
            For each record in order: the record, or the error.
        """
        return self._run(_many.save_many(self._context, self._entity, records), "save_many")

    def upsert(self, record: R) -> R:
        """Insert a row, or replace everything but its time of creation; the last write wins.

        Raises:
            ValidationError, UniqueViolationError, ReferenceViolationError: as for `create`.
            TransactionConflictError: every attempt lost to other writers.
        """
        return self._run(_save.upsert(self._context, self._entity, record), "upsert")

    def upsert_many(self, records: Iterable[R]) -> list[R | KeyweaveError]:
        """Insert or replace rows in few round trips, as if by `upsert`, one after another; otherwise as `create_many`.

        Returns:
            For each record in order: the record with its managed values, or the error.
        """
        return self._run(_many.upsert_many(self._context, self._entity, records), "upsert_many")

    def delete_many(self, keys: Iterable[K]) -> list[bool | KeyweaveError]:
        """Delete rows in few round trips, as if by `discard`, one after another; otherwise as `create_many`.

        Returns:
            For each key in order: whether the row existed, or the error.
        """
        entity = self._entity
        flow = _delete_many.delete_many(self._context, entity, entity.stored_keys(keys))
        return self._run(flow, "delete_many")


class Repository(RepositoryOfRecords[R, K, N, V]):
    """The rows of one entity whose key is one field. What one key asks for has that key as an argument."""

    __slots__ = ()

    def get(self, key: K) -> R:
        """The row with this key.

        Raises:
            NotFoundError: it does not exist, or its retention has ended.
        """
        entity = self._entity
        return self._run(_get.get(self._context, entity, entity.stored_key(key)), "get")

    def find(self, key: K) -> R | None:
        """The row with this key, or None."""
        entity = self._entity
        return self._run(_get.find(self._context, entity, entity.stored_key(key)), "find")

    def exists(self, key: K) -> bool:
        """Return whether there is a row with this key, in one round trip, without reading all of the row."""
        entity = self._entity
        return self._run(_get.exists(self._context, entity, entity.stored_key(key)), "exists")

    def get_for_update(self, key: K, *, wait: float | None = None) -> R:
        """The row, locked until the transaction ends; `wait` is in seconds.

        Raises:
            TransactionRequiredError: outside a transaction.
            NotFoundError: it does not exist.
            LockTimeoutError: another transaction held the lock for all of that time.
        """
        entity = self._entity
        flow = _lock.get_for_update(self._context, entity, entity.stored_key(key), wait=wait)
        return self._run(flow, "get_for_update")

    def require(self, key: K) -> None:
        """Let the transaction commit only if a row with this key exists. Other writers may change the row.

        Nothing is sent for it: the commit checks it. If there is no such row, the function runs again, and this call reads and raises.
        A transaction that writes nothing reads its required rows at its end. A later delete by the transaction itself is no error.

        Raises:
            TransactionRequiredError: outside a transaction.
            NotFoundError: it does not exist, or its retention has ended.
            CrossPartitionError: the transaction uses another group or partition.
        """
        entity = self._entity
        self._run(_require.require(self._context, entity, entity.stored_key(key)), "require")

    def change(self, key: K, function: Callable[[R], Any]) -> R:
        """Read the row, let `function` change it, and write it; try again if another write came in between.

        Raises:
            NotFoundError: it does not exist.
            TransactionConflictError: every attempt lost to other writers.
            ValidationError, UniqueViolationError, ReferenceViolationError: as for `create`.
        """
        entity = self._entity
        return self._run(_save.change(self._context, entity, entity.stored_key(key), function), "change")

    def increment(self, key: K, field: N, by: int | float | Decimal = 1) -> R:
        """Add to a number of the row; try again if another write came in between.

        Args:
            key: the row's.
            field: name of a field of int, float or decimal.
            by: what is added; a whole number for an int, no float for a decimal.

        Raises:
            NotFoundError: it does not exist.
            ValidationError: the field has no numbers or is null, `by` does not fit it, or the sum breaks a limit or a check.
            TransactionConflictError: every attempt lost to other writers.
        """
        entity = self._entity
        flow = _update.increment(self._context, entity, entity.stored_key(key), field, by)
        return self._run(flow, "increment")

    def delete(self, key: K) -> None:
        """Delete the row, and the rows that refer to it with cascade.

        Raises:
            NotFoundError: it does not exist.
            ReferenceViolationError: a row refers to it with restrict.
        """
        entity = self._entity
        self._run(_delete.delete(self._context, entity, entity.stored_key(key)), "delete")

    def discard(self, key: K) -> bool:
        """Delete the row like `delete`, and return whether it existed."""
        entity = self._entity
        return self._run(_delete.discard(self._context, entity, entity.stored_key(key)), "discard")
