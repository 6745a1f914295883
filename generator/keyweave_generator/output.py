"""Writing generated files: all of them or none, and nothing that the generator did not write itself.

A file is overwritten only if the last run listed it in its manifest, or if it carries the generator's mark; it is
deleted only if the last run listed it and this one does not. If anything fails, the folder stays as it was.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

from .stamp import NOTICE

MANIFEST: Final = "manifest.json"
_MARK_WITHIN: Final = 1000


class OutputError(Exception):
    """The output folder cannot be read or written; the text names the path and the reason, in one line."""


class Kind(enum.Enum):
    """How a file on disk differs from what the schema gives."""

    CHANGED = "changed"
    MISSING = "missing"
    ORPHANED = "orphaned"


@dataclass(frozen=True, slots=True, order=True)
class Difference:
    """One file that differs. `path` is relative to the output folder, with forward slashes."""

    path: str
    kind: Kind = field(compare=False)


def outdated(root: Path, files: Mapping[str, str]) -> list[Difference]:
    """Return how the folder `root` differs from `files`, sorted by path.

    Args:
        root: the output folder; it need not exist.
        files: path below `root` -> text.

    Raises:
        OutputError: a file is there and cannot be read.
    """
    found = [
        Difference(path, Kind.MISSING if current is None else Kind.CHANGED)
        for path, text in files.items()
        if (current := _read(root / path)) != text.encode()
    ]
    found += [Difference(path, Kind.ORPHANED) for path in _listed(root, files) if path not in files]
    return sorted(found)


def write(root: Path, files: Mapping[str, str]) -> list[Difference]:
    """Make the folder `root` hold `files`, and return what had to change. Files that are up to date are not touched.

    Args:
        root: the output folder; created when it is not there.
        files: path below `root` -> text.

    Raises:
        OutputError: a path cannot be written, or holds a file that is not generated. Nothing was changed.
    """
    differences = outdated(root, files)
    listed = set(_listed(root, files))
    for difference in differences:
        if difference.kind is Kind.CHANGED and difference.path not in listed:
            _refuse_foreign(root / difference.path)
    step = _Step()
    with _one_line_errors():
        try:
            for difference in differences:
                if difference.kind is not Kind.ORPHANED:
                    step.stage(root / difference.path, files[difference.path].encode())
            step.publish()
            for difference in differences:
                if difference.kind is Kind.ORPHANED:
                    step.remove(root / difference.path)
        except BaseException:
            step.undo()
            raise
    _remove_empty_folders(root, differences)
    return differences


@dataclass(slots=True)
class _Step:
    """What one run has done so far, so that it can be undone."""

    staged: dict[Path, Path] = field(default_factory=dict)
    replaced: dict[Path, bytes | None] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    def stage(self, path: Path, content: bytes) -> None:
        """Write `content` next to `path`, so that one rename publishes it."""
        self._make_folder(path.parent)
        if path.is_dir():
            raise OutputError(f"{path}: there is a folder where a file has to be written")
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        self.staged[path] = beside
        beside.write_bytes(content)

    def publish(self) -> None:
        """Rename every staged file to its own path."""
        for path, beside in self.staged.items():
            self._publish_one(path, beside)

    def _publish_one(self, path: Path, beside: Path) -> None:
        content = _read(path)
        beside.replace(path)
        self.replaced[path] = content

    def remove(self, path: Path) -> None:
        """Delete a file."""
        content = _read(path)
        path.unlink(missing_ok=True)
        self.replaced[path] = content

    def undo(self) -> None:
        """Restore everything; what cannot be restored is left for the next run to repair."""
        for path, content in self.replaced.items():
            with contextlib.suppress(OSError):
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(content)
        for beside in self.staged.values():
            with contextlib.suppress(OSError):
                beside.unlink(missing_ok=True)
        for folder in reversed(self.folders):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def _make_folder(self, folder: Path) -> None:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        for path in reversed(missing):
            path.mkdir()
            self.folders.append(path)


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(_reason(error)) from error


def _reason(error: OSError, path: Path | None = None) -> str:
    where = path if path is not None else error.filename
    return f"{where}: {error.strerror or error}"


def _read(path: Path) -> bytes | None:
    """Return the bytes at `path`, or None when there is no file."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        raise OutputError(f"{path}: there is a folder where a file has to be written") from None
    except OSError as error:
        raise OutputError(_reason(error, path)) from error


def _listed(root: Path, files: Mapping[str, str]) -> list[str]:
    """Return the files that the last run's manifests list and that still exist."""
    found: set[str] = set()
    for manifest in files:
        place = PurePosixPath(manifest)
        if place.name == MANIFEST and len(place.parts) == 2:
            found.update(_manifest_entries(root, place))
    return sorted(path for path in found if (root / path).is_file())


def _manifest_entries(root: Path, place: PurePosixPath) -> list[str]:
    """Return the manifest's paths that lie in its own package; a damaged manifest lists nothing."""
    content = _read(root / place)
    try:
        manifest = json.loads(content) if content is not None else {}
    except (ValueError, RecursionError):
        return []
    listed = manifest.get("files") if isinstance(manifest, dict) else None
    entries = [path for path in listed if isinstance(path, str)] if isinstance(listed, list) else []
    return [path for path in entries if _lies_in(path, place.parts[0])]


def _lies_in(path: str, package: str) -> bool:
    parts = PurePosixPath(path).parts
    return len(parts) > 1 and parts[0] == package and ".." not in parts and "\0" not in path


def _refuse_foreign(path: Path) -> None:
    start = (_read(path) or b"")[:_MARK_WITHIN]
    if NOTICE.encode() not in start:
        raise OutputError(
            f"{path}: not a generated file, so it is not overwritten; move it away, then try again"
        )


def _remove_empty_folders(root: Path, differences: list[Difference]) -> None:
    """Remove folders that held nothing but orphans."""
    for difference in differences:
        if difference.kind is Kind.ORPHANED:
            folder = (root / difference.path).parent
            while folder != root:
                try:
                    folder.rmdir()
                except OSError:
                    break
                folder = folder.parent
