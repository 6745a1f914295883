"""Documents: `{"revision":R,"created":C,"expires":E,"op":"…", …fields}`, to and from records.

The server writes the managed head and the client writes the body; neither decodes the other's part. A record is
checked by decoding the JSON that would be stored, so every reader gets exactly the record that passed the check.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from datetime import datetime
from typing import Any, Final, TypeVar

import msgspec

from keyweave.document.compact import compact_json, twin_of
from keyweave.document.head import EXPIRES_OFFSET, HEAD_LENGTH, LAST_DEADLINE, NO_DEADLINE
from keyweave.document.load import Loader
from keyweave.document.order import order_problem
from keyweave.document.refuse import refuse_changed, refuse_depth, refuse_error, refuse_field
from keyweave.document.unchanged import LARGE, unchanged_json
from keyweave.document.unknown import keep_unknown, unknown_members
from keyweave.errors import ValidationError
from keyweave.model.entity import Entity, Retention
from keyweave.model.entry import CREATED, REVISION, Entry
from keyweave.model.exact import Problem, problem_finder
from keyweave.model.fidelity import MAX_DEPTH, TOO_DEEP, deeper_than, same_value
from keyweave.model.moment import from_micros, to_micros
from keyweave.model.record import Record, Stored, memory_of, remember

R = TypeVar("R", bound=Record)

MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Maximum size of a document in bytes. Redis accepts 512 MB, but a document larger than this is a mistake."""

_NEVER: Final = -1
"""A revision that no stored document has."""

_encode: Final = msgspec.json.Encoder().encode


class Prepared(msgspec.Struct, gc=False):
    """A record that was checked and encoded.

    Attributes:
        entity: the row's entity.
        key: the row's id.
        body: JSON members with a leading comma and the closing brace; a head comes before it.
        own: the record's own JSON, without members that are carried over from the stored document.
        snapshot: the record as readers will get it.
        retain: the deadline as a plan writes it (see `Plan.put`), or 0 for none.
        unknown: members that a newer schema wrote, carried over from the stored document.
        known_entries: `entries`, or None until they are first needed.
    """

    entity: Entity[Any]
    key: str
    body: bytes
    own: bytes
    snapshot: Any
    retain: int | str
    unknown: bytes
    known_entries: list[Entry] | None = None

    @property
    def entries(self) -> list[Entry]:
        """Every index entry that the record implies."""
        found = self.known_entries
        if found is None:
            found = self.known_entries = self.entity.entries(self.snapshot)
        return found


class Codec(Loader):
    """Encodes and decodes one entity.

    Args:
        entity: the entity.
        retention: microseconds that rows live once their retention applies; 0 for an entity without retention.
    """

    __slots__ = ("_changed", "_nests", "_ordered", "_problem", "_twin", "retention")

    def __init__(self, entity: Entity[Any], retention: int = 0) -> None:
        super().__init__(entity)
        self.retention = retention
        self._nests = bool(entity.json or entity.nested)
        self._twin: type | None = None
        self._changed: tuple[str, ...] = ()
        self._problem: Callable[[Any], Problem | None] | None = None
        self._ordered = any(view.order not in (CREATED, REVISION) for view in entity.views.values())

    def snapshot_of(self, stored: Stored) -> Any:
        """Return the record as the store holds it, with managed fields; decoded on first use."""
        if stored.snapshot is None and stored.document is not None:
            snapshot = self._decode_stored(stored.document)
            self.entity.manage(snapshot, stored.created, stored.revision)
            stored.unknown = unknown_members(stored.document, self.entity.known)
            stored.snapshot = snapshot
        return stored.snapshot

    def fresh_record(self, stored: Stored, body: bytes = b"") -> Any:
        """Return a new record from what a write left in the store, equal to a record loaded from there.

        Args:
            body: the document behind its head, if the caller has it.
        """
        record = self._decode(b"{" + body[1:] if body else compact_json(self.snapshot_of(stored)))
        self.entity.manage(record, stored.created, stored.revision)
        remember(record, stored)
        return record

    def entries_of(self, stored: Stored) -> list[Entry]:
        """Return every index entry that the stored document implies."""
        self.snapshot_of(stored)
        return entries_of(self.entity, stored)

    def prepare(self, record: Any, stored: Stored | None) -> Prepared:
        """Check `record` and encode it.

        Args:
            record: what the caller wants to store.
            stored: what the store holds now, or None for a new row.

        Raises:
            ValidationError: a value breaks its field's type or limits.
            CheckViolationError: a check of the entity does not hold.
        """
        try:
            return self._prepare(record, stored)
        except ValidationError as error:
            self.entity.name_row(error, self._key_shown(record))
            raise

    def _key_shown(self, record: Any) -> str:
        """Return the key of a record that was refused, or nothing when it is the key that is wrong."""
        try:
            key: Any = self.entity.stored_key(self.entity.key_in(record))
        except (ValidationError, AttributeError):
            return ""
        return key if isinstance(key, str) else ""

    def _prepare(self, record: Any, stored: Stored | None) -> Prepared:
        entity = self.entity
        if type(record) is not entity.record:
            raise ValidationError(
                f"{entity.name}: expected a {entity.record.__name__}, got a {type(record).__name__}",
                entity=entity.name,
            )
        body, snapshot = self._round_trip(record, stored)
        if entity.normalize is not None and entity.normalize(snapshot):
            normal = snapshot
            body, snapshot = self._round_trip(normal, stored)
            for name in entity.normalized:
                setattr(record, name, getattr(normal, name))
        entity.check(snapshot)
        entries: list[Entry] | None = None
        if self._ordered:
            entries = entity.entries(snapshot)
            problem = order_problem(entity, entries)
            if problem is not None:
                refuse_field(entity, *problem)
        rule = entity.retention
        retain = self._retain(rule, snapshot) if rule is not None and rule.applies(snapshot) else 0
        # Nearly every key is text, and costs no call.
        text = entity.key_kind == "str"
        key: str = getattr(snapshot, entity.key) if text else entity.key_of(snapshot)
        prepared = Prepared(entity, key, b"," + body[1:], body, snapshot, retain, b"", entries)
        # Nothing is carried over from a row that is not there.
        if stored is None and len(body) <= MAX_DOCUMENT:
            return prepared
        return self._with_unknown(prepared, stored)

    def _retain(self, rule: Retention, snapshot: Any) -> int | str:
        """Return the deadline of a record that has one, as a plan writes it."""
        if rule.at:
            deadline = to_micros(getattr(snapshot, rule.at))
            if deadline > LAST_DEADLINE:
                refuse_field(self.entity, rule.at, "a row cannot end after the year 2286")
            return f"={deadline}"
        return -self.retention if rule.sliding else self.retention

    def rebased(self, prepared: Prepared, stored: Stored | None) -> Prepared:
        """Return the same record, prepared to replace another stored document."""
        return self._with_unknown(copy(prepared), stored)

    def _with_unknown(self, prepared: Prepared, stored: Stored | None) -> Prepared:
        """Combine a record's own JSON with the members of the stored document that this schema does not know."""
        entity, body, unknown = self.entity, prepared.own, b""
        if stored is not None:
            self.snapshot_of(stored)
            unknown = stored.unknown
            if entity.nested and stored.document is not None:
                try:
                    body = keep_unknown(entity, body, prepared.snapshot, stored.snapshot, stored.document)
                except RecursionError:
                    refuse_field(entity, None, TOO_DEEP)
        if len(body) + len(unknown) > MAX_DOCUMENT:
            raise ValidationError(
                f"{entity.name}: the document has {len(body)} bytes, the limit is {MAX_DOCUMENT}",
                entity=entity.name,
                rule="max_document",
            )
        # A body is never `{}`: the key is required.
        prepared.body = b"," + body[1:] if not unknown else b"," + body[1:-1] + unknown + b"}"
        prepared.unknown = unknown
        return prepared

    def remember_write(
        self,
        record: Any,
        prepared: Prepared,
        head: tuple[int, int, int],
        op: str,
        moment: datetime | None = None,
    ) -> Stored:
        """Make `record` remember a successful write, and return this memory.

        Args:
            head: revision, created and expires of the document that was written.
            op: the plan that wrote it.
            moment: the moment of the revision, where the caller has it already.
        """
        revision, created, expires = head
        entity, snapshot = self.entity, prepared.snapshot
        latest = from_micros(revision) if moment is None else moment
        if entity.created is not None:
            first = latest
            if created != revision:
                before = memory_of(record)
                known = before is not None and before.created == created and before.snapshot is not None
                first = getattr(before.snapshot, entity.created) if before and known else from_micros(created)
            setattr(record, entity.created, first)
            setattr(snapshot, entity.created, first)
        if entity.updated is not None:
            setattr(record, entity.updated, latest)
            setattr(snapshot, entity.updated, latest)
        stored = self.memory(prepared, revision, created, expires, op)
        remember(record, stored)
        return stored

    def record_after(self, prepared: Prepared, created: int, now: int) -> Any:
        """Return a new record with the values of a write that is not sent yet. What it remembers can never be saved.

        Args:
            created: when the row was created, in microseconds since 1970; 0 for a new row.
            now: the server's time, which stands for that of the write.
        """
        record = self._decode(prepared.own)
        for target in (record, prepared.snapshot):
            self.entity.manage(target, created or now, now)
        remember(record, self.memory(prepared, _NEVER, created or now, 0))
        return record

    def remember_superseded(
        self, record: Any, prepared: Prepared, head: tuple[int, int, int], op: str
    ) -> None:
        """Make `record` remember a state of its row that later writers of the same plan have replaced.

        A later save of it is refused as after any other write: no document has this op and another revision than the plan's.

        Args:
            head: as of the document, but with an earlier revision, which orders the states of the plan.
        """
        revision, created, expires = head
        for target in (record, prepared.snapshot):
            self.entity.manage(target, created, revision)
        remember(record, self.memory(prepared, revision, created, expires, op))

    def memory(self, prepared: Prepared, revision: int, created: int, expires: int, op: str = "") -> Stored:
        """Return what a record remembers of a write, buffered or applied; `op` is empty for a buffered one."""
        # The stored document is needed later only to keep unknown members of nested records, and to compare large values.
        document, body = None, prepared.body
        if self.entity.nested and (len(body) != len(prepared.own) or len(body) > LARGE):
            head = f'{{"revision":{revision},"created":{created},"expires":{expires},"op":""'
            document = head.encode() + body
        return Stored(
            revision,
            created,
            expires,
            document,
            prepared.snapshot,
            prepared.unknown,
            op,
            prepared.known_entries,
        )

    def _round_trip(self, record: Any, stored: Stored | None) -> tuple[bytes, Any]:
        entity = self.entity
        if self._twin is None:
            self._twin, self._changed = twin_of(entity.record)
            record_class: type[Record] = entity.record
            self._problem = problem_finder(record_class)
        if self._problem is not None:
            found = self._problem(record)
            if found is not None:
                refuse_field(entity, *found)
        bare = record.__copy__()
        for name in entity.managed:
            setattr(bare, name, None)
        unchanged: dict[str, msgspec.Raw] = {}
        try:
            if stored is not None and stored.document is not None and len(stored.document) > LARGE:
                unchanged = unchanged_json(entity, record, self.snapshot_of(stored), stored.document)
                for name in unchanged:
                    setattr(bare, name, None)
            body = self._compact(bare)
            snapshot = self._decode(body)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
            refuse_error(entity, record, error)
        for name in entity.enums:
            # A string that equals a member is stored as the member, so the record gets the member as well.
            member = getattr(snapshot, name)
            if getattr(record, name) is not member:
                setattr(record, name, member)
                setattr(bare, name, member)
        try:
            same = bool(bare == snapshot)
        except RecursionError:
            same = False
        if not same and not same_value(bare, snapshot):
            refuse_changed(entity, bare, snapshot)
        # A short body has no place for so many brackets.
        if self._nests and len(body) > 2 * MAX_DEPTH and deeper_than(body, MAX_DEPTH + 1):
            refuse_depth(entity, bare, self.snapshot_of(stored) if stored is not None else None)
        if unchanged:
            assert stored is not None
            for name, text in unchanged.items():
                setattr(snapshot, name, getattr(stored.snapshot, name))
                setattr(bare, name, text)
            body = self._compact(bare)
        return body, snapshot

    def _compact(self, record: Any) -> bytes:
        """Return what `compact_json` returns for a record of the entity. Most hold no records or sets, and need no copy."""
        for name in self._changed:
            if getattr(record, name):
                return compact_json(record)
        record.__class__ = self._twin
        try:
            return _encode(record)
        finally:
            record.__class__ = self.entity.record


def op_of(stored: Stored) -> str:
    """Return the id of the plan that wrote a row, from its memory or the head of its document; empty when not known."""
    if not stored.op and stored.document is not None:
        start = 67 if stored.document[EXPIRES_OFFSET] == NO_DEADLINE else 82
        head = stored.document[start : start + HEAD_LENGTH]
        if head.startswith(b',"op":"'):
            stored.op = head[7 : head.index(b'"', 7)].decode()
    return stored.op


def entries_of(entity: Entity[Any], stored: Stored) -> list[Entry]:
    """Return every index entry that the snapshot of a stored row implies."""
    if stored.entries is None:
        stored.entries = entity.entries(stored.snapshot)
    entries: list[Entry] = stored.entries
    return entries
