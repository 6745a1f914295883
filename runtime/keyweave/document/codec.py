"""Documents: `{"revision":R,"created":C,"expires":E,"op":"…", …fields}`, to and from records.

The server writes the managed head and the client writes the body; neither decodes the other's part. A record is
checked by decoding the JSON that would be stored, so every reader gets exactly the record that passed the check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from keyweave.document.compact import compact_json, stored_name, twin_of
from keyweave.document.order import order_problem
from keyweave.document.rename import with_new_names
from keyweave.document.unknown import keep_unknown, unknown_members
from keyweave.errors import CorruptDocumentError, ValidationError
from keyweave.model.entity import Entity, Retention
from keyweave.model.entry import CREATED, REVISION, Entry
from keyweave.model.exact import Problem, problem_finder
from keyweave.model.fidelity import MAX_DEPTH, TOO_DEEP, deeper_than, same_value
from keyweave.model.message import without_value
from keyweave.model.moment import from_micros, from_micros_all, to_micros
from keyweave.model.record import Record, Stored, memory_of, remember

R = TypeVar("R", bound=Record)

HEAD: Final = re.compile(rb'\{"revision":(\d+),"created":(\d+),"expires":(\d+),"op":"([^"]*)"')
HEAD_LENGTH: Final = 128
"""Number of bytes that always include the whole head."""

_EXPIRES_OFFSET: Final = 66
_ZERO: Final = ord("0")
_EXPIRES_DIGITS: Final = 16
_LAST_DEADLINE: Final = 10**_EXPIRES_DIGITS - 1

MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Maximum size of a document in bytes. Redis accepts 512 MB, but a document larger than this is a mistake."""

_NEVER: Final = -1
"""A revision that no stored document has."""

_LARGE: Final = 16 * 1024
"""Size of JSON in bytes above which finding the unchanged fields is faster than decoding everything again."""

_encode: Final = msgspec.json.Encoder().encode
_stored: Final = msgspec.json.Decoder(Stored).decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_all_stored: Final = msgspec.json.Decoder(list[Stored]).decode


class Head(msgspec.Struct, frozen=True, gc=False):
    """The managed values of a document: moments in microseconds since 1970 (`expires` 0 for none), and the op."""

    revision: int
    created: int
    expires: int
    op: str


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


def read_head(document: bytes) -> Head | None:
    """Return the head of a stored document, or None when it has none."""
    match = HEAD.match(document)
    if match is None:
        return None
    revision, created, expires, op = match.groups()
    return Head(int(revision), int(created), int(expires), op.decode())


class Codec:
    """Encodes and decodes one entity. Holds the typed decoder, which is expensive to build and fast to use.

    Args:
        entity: the entity.
        retention: microseconds that rows live once their retention applies; 0 for an entity without retention.
    """

    __slots__ = ("_changed", "_decode", "_nests", "_ordered", "_problem", "_twin", "entity", "retention")

    def __init__(self, entity: Entity[Any], retention: int = 0) -> None:
        self.entity = entity
        self.retention = retention
        self._decode = _decoder(entity.record)
        self._nests = bool(entity.json or entity.nested)
        self._twin: type | None = None
        self._changed: tuple[str, ...] = ()
        self._problem: Callable[[Any], Problem | None] | None = None
        self._ordered = any(view.order not in (CREATED, REVISION) for view in entity.views.values())

    def load(self, document: bytes, key: str = "") -> Any:
        """Decode a stored document into a record that remembers it.

        Args:
            key: the row's id, if the caller has asked for it: an error names it.

        Raises:
            CorruptDocumentError: the document has no head, or its body does not fit the entity.
        """
        try:
            stored = self.read_memory(document)
            assert stored.document is not None
            record = self._decode_stored(stored.document)
        except CorruptDocumentError as error:
            self.entity.name_row(error, key)
            raise
        self.entity.manage(record, stored.created, stored.revision)
        remember(record, stored)
        return record

    def read_memory(self, document: bytes) -> Stored:
        """Return the memory of a stored document (head and bytes) without decoding a record.

        Raises:
            CorruptDocumentError: the document has no head.
        """
        if self.entity.renamed:
            document = with_new_names(document, self.entity.renamed)
        # The layout of the head is fixed: `expires` begins at byte 66 and is 0 or has 16 digits.
        head = document[:67] if document[66:67] == b"0" else document[:82]
        try:
            stored = _stored(head + b"}")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._unreadable(document) from None
        stored.document = document
        return stored

    def load_all(self, documents: Sequence[bytes]) -> list[Any]:
        """Decode stored documents into records, in the same order; see `load`.

        Heads and moments are decoded for all documents in one call each, which makes long lists faster.
        """
        if not documents:
            return []
        if self.entity.renamed:
            documents = [with_new_names(document, self.entity.renamed) for document in documents]
        try:
            heads = [document[:67] if document[66] == _ZERO else document[:82] for document in documents]
            memories = _all_stored(b"[" + b"},".join(heads) + b"}]")
            records = list(map(self._decode, documents))
        except (IndexError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            # One by one, so that the error describes the unreadable document.
            return [self.load(document) for document in documents]
        created, updated = self.entity.created, self.entity.updated
        firsts = [stored.created for stored in memories]
        revisions = [stored.revision for stored in memories]
        created_at = from_micros_all(firsts)
        # A row that never changed has one moment for both fields, and most lists hold only such rows.
        updated_at = created_at if revisions == firsts else from_micros_all(revisions)
        for record, stored, document, first, latest in zip(
            records, memories, documents, created_at, updated_at, strict=True
        ):
            if created is not None:
                setattr(record, created, first)
            if updated is not None:
                setattr(record, updated, latest)
            stored.document = document
            record._keyweave = stored
        return records

    def peek(self, document: bytes) -> tuple[Any, Head]:
        """Return the record of a stored document, without managed fields, and the head. For integrity checks.

        Raises:
            CorruptDocumentError: the document has no head, or its body does not fit the entity.
        """
        match = HEAD.match(document)
        # Readers rely on the layout; see `read_memory`.
        if (
            match is None
            or match.start(3) != _EXPIRES_OFFSET
            or (match[3] != b"0" and len(match[3]) != _EXPIRES_DIGITS)
        ):
            raise CorruptDocumentError(
                f"{self.entity.name}: a stored document has no head", entity=self.entity.name
            )
        head = Head(int(match[1]), int(match[2]), int(match[3]), match[4].decode())
        if self.entity.renamed:
            document = with_new_names(document, self.entity.renamed)
        return self._decode_stored(document), head

    def snapshot_of(self, stored: Stored) -> Any:
        """Return the record as the store holds it, with managed fields; decoded on first use."""
        if stored.snapshot is None and stored.document is not None:
            snapshot = self._decode_stored(stored.document)
            self.entity.manage(snapshot, stored.created, stored.revision)
            stored.unknown = unknown_members(stored.document, self.entity.known)
            stored.snapshot = snapshot
        return stored.snapshot

    def fresh_record(self, stored: Stored) -> Any:
        """Return a new record from what a write left in the store, equal to a record loaded from there."""
        record = self._decode(compact_json(self.snapshot_of(stored)))
        self.entity.manage(record, stored.created, stored.revision)
        remember(record, stored)
        return record

    def entries_of(self, stored: Stored) -> list[Entry]:
        """Return every index entry that the stored document implies."""
        if stored.entries is None:
            stored.entries = self.entity.entries(self.snapshot_of(stored))
        entries: list[Entry] = stored.entries
        return entries

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
                self._refuse_field(*problem)
        rule = entity.retention
        retain = self._retain(rule, snapshot) if rule is not None and rule.applies(snapshot) else 0
        # Nearly every key is text, and costs no call.
        text = entity.key_kind == "str"
        key: str = getattr(snapshot, entity.key) if text else entity.key_of(snapshot)
        return self._with_unknown(Prepared(entity, key, b"", body, snapshot, retain, b"", entries), stored)

    def _retain(self, rule: Retention, snapshot: Any) -> int | str:
        """Return the deadline of a record that has one, as a plan writes it."""
        if rule.at:
            deadline = to_micros(getattr(snapshot, rule.at))
            if deadline > _LAST_DEADLINE:
                self._refuse_field(rule.at, "a row cannot end after the year 2286")
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
                    self._refuse_field(None, TOO_DEEP)
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

    def remember_write(self, record: Any, prepared: Prepared, head: tuple[int, int, int], op: str) -> Stored:
        """Make `record` remember a successful write, and return this memory.

        Args:
            head: revision, created and expires of the document that was written.
            op: the plan that wrote it.
        """
        revision, created, expires = head
        entity, snapshot = self.entity, prepared.snapshot
        if entity.created is not None:
            before = memory_of(record)
            known = before is not None and before.created == created and before.snapshot is not None
            first = getattr(before.snapshot, entity.created) if before and known else from_micros(created)
            setattr(record, entity.created, first)
            setattr(snapshot, entity.created, first)
        if entity.updated is not None:
            latest = from_micros(revision)
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
        # The stored document is needed later only to keep unknown members of nested records.
        document = None
        if self.entity.nested:
            head = f'{{"revision":{revision},"created":{created},"expires":{expires},"op":""'
            document = head.encode() + prepared.body
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

    def _decode_stored(self, document: bytes) -> Any:
        try:
            return self._decode(document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._unreadable(document) from None

    def _unreadable(self, document: bytes) -> CorruptDocumentError:
        """Return the error for a document that could not be loaded."""
        name = self.entity.name
        if read_head(document) is None:
            return CorruptDocumentError(
                f"{name}: a stored document has no head; run: keyweave check", entity=name
            )
        try:
            self._decode(document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            text = without_value(str(error))
            return CorruptDocumentError(f"{name}: a stored document cannot be read: {text}", entity=name)
        return CorruptDocumentError(
            f"{name}: a stored document has a damaged head; run: keyweave check", entity=name
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
                self._refuse_field(*found)
        bare = record.__copy__()
        for name in entity.managed:
            setattr(bare, name, None)
        unchanged: dict[str, msgspec.Raw] = {}
        try:
            if stored is not None and stored.document is not None and len(stored.document) > _LARGE:
                unchanged = self._unchanged_json(record, stored, stored.document)
                for name in unchanged:
                    setattr(bare, name, None)
            body = self._compact(bare)
            snapshot = self._decode(body)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self._refuse(record, error)
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
            self._refuse_changed(bare, snapshot)
        # A short body has no place for so many brackets.
        if self._nests and len(body) > 2 * MAX_DEPTH and deeper_than(body, MAX_DEPTH + 1):
            self._refuse_depth(bare, stored)
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

    def _unchanged_json(self, record: Any, stored: Stored, document: bytes) -> dict[str, msgspec.Raw]:
        """Return the JSON text of those `json` fields that the stored document already holds byte for byte.

        The snapshot holds the decoded value of this text, and it equals the record's value. Decoding it again is
        unnecessary.
        """
        old = self.snapshot_of(stored)
        same = [name for name in self.entity.json if same_value(getattr(record, name), getattr(old, name))]
        texts = {name: _encode(getattr(record, name)) for name in same}
        if sum(map(len, texts.values())) <= _LARGE:
            return {}
        members = _members(document)
        return {
            name: msgspec.Raw(text)
            for name, text in texts.items()
            if text == bytes(members.get(stored_name(name), b""))
        }

    def _refuse(self, record: Any, error: Exception) -> NoReturn:
        text = without_value(str(error))
        if isinstance(error, msgspec.ValidationError):
            rule, _, path = text.partition(" - at `$.")
            self._refuse_field(path.rstrip("`").removeprefix("@") or None, rule)
        for name in type(record).__struct_fields__:
            try:
                _encode(getattr(record, name))
            except UnicodeEncodeError:
                self._refuse_field(name, "text with a lone surrogate cannot be stored as UTF-8")
            except RecursionError:
                self._refuse_field(name, TOO_DEEP)
            except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as cause:
                self._refuse_field(name, str(cause))
        self._refuse_field(None, text if not isinstance(error, RecursionError) else TOO_DEEP)

    def _refuse_changed(self, record: Any, snapshot: Any) -> NoReturn:
        """Refuse values that JSON decodes as other values, such as a string in a field of bytes or a datetime."""
        for name in type(record).__struct_fields__:
            given = getattr(record, name)
            if not same_value(given, getattr(snapshot, name)):
                plain = "plain JSON" if name in self.entity.json else "of the field's type"
                self._refuse_field(
                    name, f"not {plain}: a {type(given).__name__} would be read back as another value"
                )
        self._refuse_field(None, "it would be read back as another value")

    def _refuse_depth(self, record: Any, stored: Stored | None) -> None:
        """Refuse values that are nested too deeply, except for those that the store holds already."""
        before = self.snapshot_of(stored) if stored is not None else None
        for name in type(record).__struct_fields__:
            value = getattr(record, name)
            if deeper_than(_encode(value), MAX_DEPTH):
                if before is None or not same_value(value, getattr(before, name)):
                    self._refuse_field(name, TOO_DEEP)

    def _refuse_field(self, field: str | None, rule: str) -> NoReturn:
        where = f"{self.entity.name}.{field}" if field else self.entity.name
        # The cause may quote the value, and a traceback would print it.
        raise ValidationError(f"{where}: {rule}", entity=self.entity.name, field=field, rule=rule) from None


def _decoder(record: type[Record]) -> Callable[[bytes], Any]:
    """Return the function that decodes a document into a record, without its managed fields."""
    if not any(stored_name(name) != name for name in record.__struct_fields__):
        return msgspec.json.Decoder(record).decode
    twin, _ = twin_of(record)
    decode: Callable[[bytes], Any] = msgspec.json.Decoder(twin).decode

    def decoded(document: bytes) -> Any:
        found = decode(document)
        found.__class__ = record
        return found

    return decoded


def op_of(stored: Stored) -> str:
    """Return the id of the plan that wrote a row, from its memory or the head of its document; empty when not known."""
    if not stored.op and stored.document is not None:
        start = 67 if stored.document[_EXPIRES_OFFSET] == _ZERO else 82
        head = stored.document[start : start + HEAD_LENGTH]
        if head.startswith(b',"op":"'):
            stored.op = head[7 : head.index(b'"', 7)].decode()
    return stored.op
