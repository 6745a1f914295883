"""The file of an export: a header, one line of JSON for each document, and an end that proves that the file is whole.

    {"keyweave_export":1,"package":"...","fingerprint":"...","time":<µs>}
    {"entity":"User","document":{"revision":...,...}}
    {"end":true,"documents":1,"counts":{"User":1},"left_out":0,"sha256":"..."}

Documents are the stored bytes, so members of a newer schema are in it too. The digest covers every line before
the end. Nothing here opens a file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

import msgspec

from keyweave.errors import ExportFileError
from keyweave.model.entity import Package

FORMAT: Final = 1

_encode: Final = msgspec.json.encode


class Header(msgspec.Struct, frozen=True):
    """The first line.

    Attributes:
        keyweave_export: version of the format.
        package: import name of the generated package.
        fingerprint: digest of its schema.
        time: the server's time when the export began, in microseconds since 1970.
    """

    keyweave_export: int
    package: str
    fingerprint: str
    time: int


class Line(msgspec.Struct, frozen=True):
    """One document."""

    entity: str
    document: msgspec.Raw


class End(msgspec.Struct, frozen=True):
    """The last line.

    Attributes:
        end: always true.
        documents: number of lines between header and end.
        counts: the same by entity.
        left_out: documents that could not be read.
        sha256: of all lines before.
    """

    end: bool
    documents: int
    counts: dict[str, int]
    left_out: int
    sha256: str


_header: Final = msgspec.json.Decoder(Header).decode
_end: Final = msgspec.json.Decoder(End).decode
read_line: Final = msgspec.json.Decoder(Line).decode


@dataclass(slots=True)
class Writer:
    """Makes the bytes of an export, in order, and counts them."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    expired: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def header(self, package: Package, time: int) -> bytes:
        """The first line."""
        return self._seen(_encode(Header(FORMAT, package.name, package.fingerprint, time)) + b"\n")

    def lines(self, entity: str, documents: Iterable[bytes]) -> bytes:
        """Lines of documents of one entity."""
        # Between the tokens of a document that somebody wrote by hand there may be line breaks; within strings, never.
        made = [
            b'{"entity":"%b","document":%b}\n' % (entity.encode(), document.replace(b"\n", b" "))
            for document in documents
        ]
        self.counts[entity] += len(made)
        return self._seen(b"".join(made))

    def end(self) -> bytes:
        """The last line."""
        end = End(
            True,
            self.counts.total(),
            dict(sorted(self.counts.items())),
            self.left_out,
            self._digest.hexdigest(),
        )
        return _encode(end) + b"\n"

    def _seen(self, made: bytes) -> bytes:
        self._digest.update(made)
        return made


@dataclass(frozen=True, slots=True)
class Contents:
    """What a whole file says of itself."""

    header: Header
    end: End


def verify(lines: Iterable[bytes]) -> Contents:
    """Read a whole file.

    Args:
        lines: with their line breaks.

    Raises:
        ExportFileError: it is no export, or not all of one, or was changed.
    """
    header: Header | None = None
    digest = hashlib.sha256()
    number, last = 0, b""
    for line in lines:
        if header is None:
            header = _read_header(line)
        else:
            digest.update(last)
            number += 1
        last = line
    if header is None:
        raise ExportFileError("the file is empty")
    try:
        end = _end(last)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ExportFileError(f"the file is cut off: it has no end after line {number + 1}") from None
    if not last.endswith(b"\n") or end.documents != number - 1 or end.sha256 != digest.hexdigest():
        raise ExportFileError("the file is not what was exported: its count or digest does not match")
    return Contents(header, end)


def check_schema(contents: Contents, package: Package, *, other_schema: bool) -> None:
    """Make sure that a file can be imported with this package.

    Raises:
        ExportFileError: it is of another schema, and that was not asked for; or has entities that this one lacks.
    """
    if contents.header.fingerprint != package.fingerprint and not other_schema:
        raise ExportFileError(
            f"the file was exported with another schema ({contents.header.package}, "
            f"{contents.header.fingerprint[:12]}; this one is {package.name}, {package.fingerprint[:12]})"
        )
    unknown = sorted(contents.end.counts.keys() - package.entities.keys())
    if unknown:
        raise ExportFileError(f"the file has rows of {unknown[0]}, which this schema lacks")


def _read_header(line: bytes) -> Header:
    try:
        header = _header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ExportFileError("the file is no export: its first line is no header") from None
    if header.keyweave_export != FORMAT:
        raise ExportFileError(f"the file has format {header.keyweave_export}; this release reads {FORMAT}")
    return header
