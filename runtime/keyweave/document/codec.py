"""Documents: `{"revision":R,"created":C,"expires":E,"op":"…", …fields}`, to and from records.

The managed head is written by the server, the body by the client; neither decodes the other's part. A
record is checked by reading back what would be stored, so what passes here is what every reader gets.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from keyweave.document.renaming import with_new_names
from keyweave.document.unknown import keep_unknown, unknown_members
from keyweave.errors import CorruptDocumentError, ValidationError
from keyweave.model.entity import Entity
from keyweave.model.entry import CREATED, REVISION, Entry, ViewEntry
from keyweave.model.message import without_value
from keyweave.model.moment import from_micros_all
from keyweave.model.record import MEMORY, Record, Stored, remember

R = TypeVar("R", bound=Record)

HEAD: Final = re.compile(rb'\{"revision":(\d+),"created":(\d+),"expires":(\d+),"op":"([^"]*)"')
HEAD_LENGTH: Final = 128
"""Bytes that certainly hold the whole head."""

_EXPIRES_OFFSET: Final = 66
_ZERO: Final = ord("0")
_EXPIRES_DIGITS: Final = 16

MAX_DOCUMENT: Final = 64 * 1024 * 1024
"""Most bytes of one document. Redis takes up to 512 MB; a document of this size is a mistake already."""

_LARGE: Final = 16 * 1024
"""Bytes of JSON from which on it is quicker to look for what did not change than to decode it again."""

_encode: Final = msgspec.json.Encoder().encode
_stored: Final = msgspec.json.Decoder(Stored).decode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_all_stored: Final = msgspec.json.Decoder(list[Stored]).decode


class Head(msgspec.Struct, frozen=True, gc=False):
    """The managed values of a document; moments in microseconds since 1970, `expires` 0 for none."""

    revision: int
    created: int
    expires: int
    op: str


class Prepared(msgspec.Struct, frozen=True, gc=False):
    """A record that is fit to be stored.

    Attributes:
        key: the row's id.
        body: JSON members with a leading comma and the closing brace, to be put behind a head.
        own: the record's own JSON, without what is carried along from the stored document.
        snapshot: the record as readers will get it.
        entries: every index entry that it implies.
        retain: microseconds until its deadline, or 0 for none.
        unknown: members that a newer schema wrote, carried along.
    """

    key: str
    body: bytes
    own: bytes
    snapshot: Any
    entries: list[Entry]
    retain: int
    unknown: bytes


def read_head(document: bytes) -> Head | None:
    """The head of a stored document, or None when it has none."""
    match = HEAD.match(document)
    if match is None:
        return None
    revision, created, expires, op = match.groups()
    return Head(int(revision), int(created), int(expires), op.decode())


class Codec:
    """Encodes and decodes one entity. Holds the typed decoder, which is costly to build and quick to use.

    Args:
        entity: the entity.
        retention: microseconds that rows live once their retention applies; 0 for an entity without retention.
    """

    __slots__ = ("_decode", "_scores", "entity", "retention")

    def __init__(self, entity: Entity[Any], retention: int = 0) -> None:
        self.entity = entity
        self.retention = retention
        self._decode = msgspec.json.Decoder(entity.record).decode
        self._scores = any(view.order not in (CREATED, REVISION) for view in entity.views.values())

    def load(self, document: bytes) -> Any:
        """The record in a stored document, remembering what the store holds.

        Raises:
            CorruptDocumentError: the document has no head, or its body is not this entity's.
        """
        stored = self.read_memory(document)
        assert stored.document is not None
        record = self._decode_stored(stored.document)
        self.entity.manage(record, stored.created, stored.revision)
        remember(record, stored)
        return record

    def read_memory(self, document: bytes) -> Stored:
        """What a record of a stored document would remember, for who needs no record.

        Raises:
            CorruptDocumentError: the document has no head.
        """
        if self.entity.renamed:
            document = with_new_names(document, self.entity.renamed)
        # The head's layout is fixed: `expires` begins at byte 66 and is 0 or has 16 digits.
        head = document[:67] if document[66:67] == b"0" else document[:82]
        try:
            stored = _stored(head + b"}")
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise self._unreadable(document) from None
        stored.document = document
        return stored

    def load_all(self, documents: Sequence[bytes]) -> list[Any]:
        """The records in stored documents, in the same order; see `load`.

        Lists are read here, so what can be done for all documents in one call of C is not done one by one.
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
            return [self.load(document) for document in documents]  # it names the one that cannot be read
        created, updated = self.entity.created, self.entity.updated
        firsts = [stored.created for stored in memories]
        revisions = [stored.revision for stored in memories]
        made = from_micros_all(firsts)
        # Rows that never changed, and most lists hold only such, need one moment each.
        written = made if revisions == firsts else from_micros_all(revisions)
        for record, stored, document, first, latest in zip(
            records, memories, documents, made, written, strict=True
        ):
            if created is not None:
                setattr(record, created, first)
            if updated is not None:
                setattr(record, updated, latest)
            stored.document = document
            record.__dict__[MEMORY] = stored
        return records

    def peek(self, document: bytes) -> tuple[Any, Head]:
        """The record in a stored document without its managed fields, and the head: what checking needs, and no more.

        Raises:
            CorruptDocumentError: the document has no head, or its body is not this entity's.
        """
        match = HEAD.match(document)
        # Readers rely on the layout: see `load`.
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
        """The record as the store holds it, decoded once; its managed fields are set."""
        if stored.snapshot is None and stored.document is not None:
            snapshot = self._decode_stored(stored.document)
            self.entity.manage(snapshot, stored.created, stored.revision)
            stored.unknown = unknown_members(stored.document, self.entity.known)
            stored.snapshot = snapshot
        return stored.snapshot

    def fresh_record(self, stored: Stored) -> Any:
        """A record of its own for what a write left, as loading the row would give it."""
        record = self._decode(_encode(self.snapshot_of(stored)))
        self.entity.manage(record, stored.created, stored.revision)
        remember(record, stored)
        return record

    def entries_of(self, stored: Stored) -> list[Entry]:
        """Every index entry that the stored document implies."""
        return self.entity.entries(self.snapshot_of(stored))

    def prepare(self, record: Any, stored: Stored | None) -> Prepared:
        """Check `record` and encode it.

        Args:
            record: what the caller wants to store.
            stored: what the store holds now, or None for a new row.

        Raises:
            ValidationError: a value breaks its field's type or limits.
            CheckViolationError: a check of the entity does not hold.
        """
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
        entries = entity.entries(snapshot)
        if self._scores:
            self._check_scores(entries)
        rule = entity.retention
        retain = self.retention if rule is not None and rule.applies(snapshot) else 0
        key: str = getattr(snapshot, entity.key)
        return self._with_unknown(key, body, snapshot, entries, retain, stored)

    def rebased(self, prepared: Prepared, stored: Stored | None) -> Prepared:
        """The same record, fit to replace another stored document."""
        return self._with_unknown(
            prepared.key, prepared.own, prepared.snapshot, prepared.entries, prepared.retain, stored
        )

    def _with_unknown(
        self,
        key: str,
        own: bytes,
        snapshot: Any,
        entries: list[Entry],
        retain: int,
        stored: Stored | None,
    ) -> Prepared:
        """A record's own JSON, joined by members of the stored document that this schema does not know."""
        entity, body, unknown = self.entity, own, b""
        if stored is not None:
            self.snapshot_of(stored)
            unknown = stored.unknown
            if entity.nested and stored.document is not None:
                body = keep_unknown(entity, body, snapshot, stored.snapshot, stored.document)
        if len(body) + len(unknown) > MAX_DOCUMENT:
            raise ValidationError(
                f"{entity.name}: the document has {len(body)} bytes, the limit is {MAX_DOCUMENT}",
                entity=entity.name,
                rule="max_document",
            )
        # A body never is `{}`: the key is required.
        members = b"," + body[1:] if not unknown else b"," + body[1:-1] + unknown + b"}"
        return Prepared(key, members, own, snapshot, entries, retain, unknown)

    def remember_write(
        self, record: Any, prepared: Prepared, revision: int, created: int, expires: int
    ) -> Stored:
        """Make `record` remember a write that succeeded, and return what it remembers."""
        self.entity.manage(record, created, revision)
        for name in self.entity.managed:
            setattr(prepared.snapshot, name, getattr(record, name))
        stored = self.memory(prepared, revision, created, expires)
        remember(record, stored)
        return stored

    def memory(self, prepared: Prepared, revision: int, created: int, expires: int) -> Stored:
        """What a record remembers of a write, buffered or done."""
        # The stored document is rebuilt only where nested unknown members may hide in it.
        document = None
        if self.entity.nested:
            head = f'{{"revision":{revision},"created":{created},"expires":{expires},"op":""'
            document = head.encode() + prepared.body
        return Stored(revision, created, expires, document, prepared.snapshot, prepared.unknown)

    def _check_scores(self, entries: list[Entry]) -> None:
        """Refuse what the server could not read as a score: it would fail in the middle of the write."""
        for entry in entries:
            if type(entry) is ViewEntry and type(entry.score) is int:
                try:
                    float(entry.score)
                except OverflowError:
                    self._refuse_field(self.entity.views[entry.view].order, "too large to order a view by")

    def _decode_stored(self, document: bytes) -> Any:
        try:
            return self._decode(document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise self._unreadable(document) from None

    def _unreadable(self, document: bytes) -> CorruptDocumentError:
        """What is wrong with a document that could not be loaded."""
        name = self.entity.name
        if read_head(document) is None:
            return CorruptDocumentError(f"{name}: a stored document has no head; run a check", entity=name)
        try:
            self._decode(document)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            text = without_value(str(error))
            return CorruptDocumentError(f"{name}: a stored document cannot be read: {text}", entity=name)
        return CorruptDocumentError(f"{name}: a stored document has a damaged head; run a check", entity=name)

    def _round_trip(self, record: Any, stored: Stored | None) -> tuple[bytes, Any]:
        entity = self.entity
        bare = record.__copy__()
        for name in entity.managed:
            setattr(bare, name, None)
        settled: dict[str, msgspec.Raw] = {}
        try:
            if stored is not None and stored.document is not None and len(stored.document) > _LARGE:
                settled = self._unchanged_json(record, stored, stored.document)
                for name in settled:
                    setattr(bare, name, None)
            body = _encode(bare)
            snapshot = self._decode(body)
        except (msgspec.MsgspecError, TypeError, ValueError, OverflowError, RecursionError) as error:
            self._refuse(record, error)
        for name in entity.enums:
            # Text that names a member is stored as the member; the record is to say what the store holds.
            member = getattr(snapshot, name)
            if getattr(record, name) is not member:
                setattr(record, name, member)
                setattr(bare, name, member)
        if not same_json(bare, snapshot):
            self._refuse_changed(bare, snapshot)
        if settled:
            assert stored is not None
            for name, text in settled.items():
                setattr(snapshot, name, getattr(stored.snapshot, name))
                setattr(bare, name, text)
            body = _encode(bare)
        return body, snapshot

    def _unchanged_json(self, record: Any, stored: Stored, document: bytes) -> dict[str, msgspec.Raw]:
        """The json fields that the stored document holds already, to the byte, as JSON text.

        Such text was decoded before, and what came of it equals the record's value, so it need not be decoded again.
        """
        old = self.snapshot_of(stored)
        same = [name for name in self.entity.json if same_json(getattr(record, name), getattr(old, name))]
        texts = {name: _encode(getattr(record, name)) for name in same}
        if sum(map(len, texts.values())) <= _LARGE:
            return {}
        members = _members(document)
        return {
            name: msgspec.Raw(text)
            for name, text in texts.items()
            if name in members and text == bytes(members[name])
        }

    def _refuse(self, record: Any, error: Exception) -> NoReturn:
        text = without_value(str(error))
        if isinstance(error, msgspec.ValidationError):
            rule, _, path = text.partition(" - at `$.")
            self._refuse_field(path.rstrip("`") or None, rule)
        for name in type(record).__struct_fields__:
            try:
                _encode(getattr(record, name))
            except UnicodeEncodeError:
                self._refuse_field(name, "text with a lone surrogate cannot be stored as UTF-8")
            except RecursionError:
                self._refuse_field(name, "nested too deeply")
            except (TypeError, ValueError, OverflowError, msgspec.MsgspecError) as cause:
                self._refuse_field(name, str(cause))
        self._refuse_field(None, text if not isinstance(error, RecursionError) else "nested too deeply")

    def _refuse_changed(self, record: Any, snapshot: Any) -> NoReturn:
        """Refuse what JSON takes but gives back as another value, such as text where bytes or a moment belong."""
        for name in type(record).__struct_fields__:
            given = getattr(record, name)
            if not same_json(given, getattr(snapshot, name)):
                plain = "plain JSON" if name in self.entity.json else "of the field's type"
                self._refuse_field(name, f"not {plain}: a {type(given).__name__} would come back changed")
        self._refuse_field(None, "it would come back changed")

    def _refuse_field(self, field: str | None, rule: str) -> NoReturn:
        where = f"{self.entity.name}.{field}" if field else self.entity.name
        # What led here may repeat the value, and a traceback would show it.
        raise ValidationError(f"{where}: {rule}", entity=self.entity.name, field=field, rule=rule) from None


def same_json(left: Any, right: Any) -> bool:
    """Whether two values are the same as far as JSON goes. Python's `==` is stricter about tuples, laxer about `1 == True`."""
    try:
        return bool(left == right)
    except RecursionError:
        return False
