"""The files of a schema folder: those that are read, and those that are not, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .model import Position
from .problems import Problems, SchemaError

SUFFIXES: Final = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class Folder:
    """The files of a schema folder.

    Attributes:
        name: the folder, as it was given.
        files: content by path.
        unread: a sentence for each file, link and folder that is not read, with its path.
    """

    name: str
    files: Mapping[str, bytes]
    unread: tuple[str, ...]


def read_folder(folder: Path) -> Folder:
    """Read every schema file of a folder. Hidden files that are no schema files are left out of `unread`.

    Raises:
        SchemaError: the folder, or a file with the name of a schema file, cannot be read.
    """
    problems = Problems()
    files: dict[str, bytes] = {}
    unread: list[str] = []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        problems.add(Position(str(folder), 0, 0), f"cannot read the schema folder: {error.strerror}")
        raise SchemaError(problems.sorted()) from None
    for path in paths:
        if path.suffix in SUFFIXES and path.is_file():
            try:
                files[str(path)] = path.read_bytes()
            except OSError as error:
                problems.add(Position(str(path), 0, 0), f"cannot read the file: {error.strerror}")
        elif path.name.startswith("."):
            continue
        elif path.is_symlink() and not path.exists():
            problems.add(
                Position(str(path), 0, 0),
                f"cannot read the file: it is a link to {path.readlink()}, which is not there",
            )
        else:
            unread.append(f"{path}: not read: {_reason(path)}")
    if problems:
        raise SchemaError(problems.sorted())
    return Folder(str(folder), files, tuple(unread))


def _reason(path: Path) -> str:
    if path.is_dir():
        return "it is a folder, and a schema has no folders inside"
    if path.suffix in SUFFIXES:
        return "it is not a regular file"
    return f"the name of a schema file ends in {' or '.join(SUFFIXES)}"
