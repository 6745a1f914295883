"""Whether a generated tree is what a schema gives, without generating it: by digests of everything that decides it.

The last run that generated or compared a tree leaves a stamp: a digest of the schema's files and of the generator, and one
of each file of the tree. The tree is fresh while all of them are the same. A stamp that is missing, damaged or about other
files only means that the tree is generated. Stamps are in a folder beside the schema's project that git ignores.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata, resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Final

STAMPS: Final = Path(".keyweave_cache")
"""The folder of the stamps, in the current folder."""

_LIBRARIES: Final = ("black", "jinja2", "jsonschema", "pyyaml")
"""Distributions on which the output depends."""


def inputs_digest(sources: Mapping[str, bytes]) -> str:
    """A digest of schema files and of everything else that decides what is generated from them."""
    digest = hashlib.sha256()
    parts: list[tuple[str, bytes]] = [(Path(name).name, content) for name, content in sorted(sources.items())]
    parts += sorted(_own_files(resources.files(__package__), ""))
    parts += [(name, _version(name)) for name in _LIBRARIES]
    parts.append(("python", sys.version.encode()))
    for name, content in parts:
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def fresh_files(schema: Path, output: Path, inputs: str) -> int | None:
    """The number of files of a tree that needs no generating; None when it has to be generated to know."""
    try:
        stamp = json.loads(_stamp(schema, output).read_bytes())
        files = stamp["files"]
        if stamp["inputs"] == inputs and all(
            _digest(output / path) == found for path, found in files.items()
        ):
            return len(files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return None


def leave_stamp(schema: Path, output: Path, inputs: str, paths: Iterable[str]) -> None:
    """Note that a tree is what the inputs give. A folder that cannot be written only makes the next run longer."""
    with contextlib.suppress(OSError):
        files = {path: _digest(output / path) for path in paths}
        stamp = _stamp(schema, output)
        stamp.parent.mkdir(exist_ok=True)
        (stamp.parent / ".gitignore").write_text("*\n", encoding="utf-8")
        beside = stamp.with_suffix(".new")
        beside.write_text(json.dumps({"inputs": inputs, "files": files}), encoding="utf-8")
        beside.replace(stamp)


def _stamp(schema: Path, output: Path) -> Path:
    places = f"{schema.resolve()}\n{output.resolve()}".encode()
    return STAMPS / f"{hashlib.sha256(places).hexdigest()[:32]}.json"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(distribution: str) -> bytes:
    try:
        return metadata.version(distribution).encode()
    except metadata.PackageNotFoundError:
        return b""


def _own_files(folder: Traversable, prefix: str) -> Iterable[tuple[str, bytes]]:
    """The generator's code, templates and scripts."""
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__":
                yield from _own_files(entry, f"{prefix}{entry.name}/")
        else:
            yield f"{prefix}{entry.name}", entry.read_bytes()
