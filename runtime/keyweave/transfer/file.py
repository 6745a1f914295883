"""The file of an export: a header, one line of JSON per document, and a last line that proves the file complete.

    {"keyweave_export":1,"package":"...","fingerprint":"...","time":<µs>}
    {"entity":"User","document":{"revision":...,...}}
    {"end":true,"documents":1,"counts":{"User":1},"left_out":0,"sha256":"..."}

Documents are the stored bytes, so they include fields of a newer schema. The digest covers every line before the last.
Nothing here opens a file.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

import msgspec

from keyweave.errors import ExportFileError
from keyweave.model.entity import Package

FORMAT: Final = 1

_encode: Final = msgspec.json.encode

SUFFIX: Final = ".ndjson"
"""How the file of a tenant ends."""

_PLAIN: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789-_")


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
        documents: number of lines between the first and the last.
        counts: the same by entity.
        left_out: number of documents that could not be read.
        sha256: digest of all lines before, in hexadecimal.
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
    """Formats the bytes of an export, in order, and counts documents."""

    counts: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    expired: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def header(self, package: Package, time: int) -> bytes:
        """Return the first line."""
        return self._digested(_encode(Header(FORMAT, package.name, package.fingerprint, time)) + b"\n")

    def lines(self, entity: str, documents: Iterable[bytes]) -> bytes:
        """Return the lines of documents of one entity."""
        # A document written by hand may have line breaks between its tokens; a JSON string cannot contain one.
        lines = [
            b'{"entity":"%b","document":%b}\n' % (entity.encode(), document.replace(b"\n", b" "))
            for document in documents
        ]
        self.counts[entity] += len(lines)
        return self._digested(b"".join(lines))

    def end(self) -> bytes:
        """Return the last line."""
        end = End(
            True,
            self.counts.total(),
            dict(sorted(self.counts.items())),
            self.left_out,
            self._digest.hexdigest(),
        )
        return _encode(end) + b"\n"

    def _digested(self, text: bytes) -> bytes:
        self._digest.update(text)
        return text


@dataclass(frozen=True, slots=True)
class Contents:
    """The first and the last line of a complete file."""

    header: Header
    end: End


def verify(lines: Iterable[bytes]) -> Contents:
    """Read a complete file and return its first and last line.

    Args:
        lines: all lines, with their line breaks.

    Raises:
        ExportFileError: the file is no export, is not complete, or was changed.
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
        raise ExportFileError(
            f"the file is cut off: line {number + 1} is not the last line of an export; export again"
        ) from None
    if not last.endswith(b"\n") or end.documents != number - 1 or end.sha256 != digest.hexdigest():
        raise ExportFileError("the file is not what was exported: its count or digest does not match")
    return Contents(header, end)


def check_schema(contents: Contents, package: Package, *, other_schema: bool) -> None:
    """Check that a file can be imported with this package.

    Args:
        other_schema: accept a file that was exported with another schema.

    Raises:
        ExportFileError: the file was exported with another schema, or has entities that this schema lacks.
    """
    if contents.header.fingerprint != package.fingerprint and not other_schema:
        raise ExportFileError(
            f"the file was exported with another schema ({contents.header.package}, "
            f"{contents.header.fingerprint[:12]}; this one is {package.name}, {package.fingerprint[:12]}); "
            "import it anyway with --other-schema"
        )
    unknown = sorted(contents.end.counts.keys() - package.entities.keys())
    if unknown:
        raise ExportFileError(f"the file has rows of {unknown[0]}, which this schema lacks")


def _read_header(line: bytes) -> Header:
    try:
        header = _header(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise ExportFileError("the file is not an export: its first line is not a header") from None
    if header.keyweave_export != FORMAT:
        raise ExportFileError(
            f"the file has format {header.keyweave_export}; this release reads format {FORMAT}"
        )
    return header


def file_of(tenant: str) -> str:
    """Return the name of the file with the export of a tenant.

    Capital letters are escaped as well: some file systems do not distinguish them.
    """
    return "".join([chr(byte) if byte in _PLAIN else f"%{byte:02x}" for byte in tenant.encode()]) + SUFFIX


def tenant_of(file: str) -> str | None:
    """Return the tenant whose export has this name; None for any other name."""
    try:
        tenant = unquote(file.removesuffix(SUFFIX), errors="strict")
    except UnicodeDecodeError:
        return None
    return tenant if tenant and file_of(tenant) == file else None
