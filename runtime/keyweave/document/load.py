"""Loading: stored documents become records that remember them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from keyweave.document.compact import stored_name, twin_of
from keyweave.document.head import EXPIRES_DIGITS, EXPIRES_OFFSET, HEAD, NO_DEADLINE, Head, read_head
from keyweave.document.rename import with_new_names
from keyweave.errors import CorruptDocumentError
from keyweave.model.entity import Entity
from keyweave.model.message import without_value
from keyweave.model.moment import from_micros_all
from keyweave.model.record import Record, Stored, remember

_stored: Final = msgspec.json.Decoder(Stored).decode
_all_stored: Final = msgspec.json.Decoder(list[Stored]).decode


class Loader:
    """Decodes the documents of one entity. Holds the typed decoder, which is expensive to build and fast to use.

    Args:
        entity: the entity.
    """

    __slots__ = ("_decode", "entity")

    def __init__(self, entity: Entity[Any]) -> None:
        self.entity = entity
        self._decode = _decoder(entity.record)

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
            heads = [
                document[:67] if document[66] == NO_DEADLINE else document[:82] for document in documents
            ]
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
            or match.start(3) != EXPIRES_OFFSET
            or (match[3] != b"0" and len(match[3]) != EXPIRES_DIGITS)
        ):
            raise CorruptDocumentError(
                f"{self.entity.name}: a stored document has no head", entity=self.entity.name
            )
        head = Head(int(match[1]), int(match[2]), int(match[3]), match[4].decode())
        if self.entity.renamed:
            document = with_new_names(document, self.entity.renamed)
        return self._decode_stored(document), head

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
