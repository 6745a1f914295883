"""Loading a schema: a folder of YAML files, or their texts, becomes a `Schema` or a `SchemaError` with every mistake."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .folder import read_folder
from .model import Position, Schema
from .problems import Problems, SchemaError
from .resolve import resolve
from .source import read
from .source_document import Document
from .source_map import SourceMap
from .structure import ENTITY_FILE, PACKAGE_FILE, check_structure


@dataclass(frozen=True, slots=True)
class Located:
    """A schema, and where its parts are written."""

    schema: Schema
    source_map: SourceMap


def load(folder: Path) -> Schema:
    """The schema in `folder`: `package.yaml` and a file per entity.

    Raises:
        SchemaError: holds every mistake, with file names as `folder` was given.
    """
    return load_located(folder).schema


def load_located(folder: Path) -> Located:
    """The schema in `folder`, as `load` gives it, and where its parts are written.

    Raises:
        SchemaError: holds every mistake.
    """
    found = read_folder(folder)
    return locate_sources(found.files, folder=found.name)


def load_sources(sources: Mapping[str, str | bytes], *, folder: str = "schema") -> Schema:
    """The schema in texts by file name.

    Raises:
        SchemaError: holds every mistake.
    """
    return locate_sources(sources, folder=folder).schema


def locate_sources(sources: Mapping[str, str | bytes], *, folder: str = "schema") -> Located:
    """The schema in texts by file name, and where its parts are written.

    Raises:
        SchemaError: holds every mistake.
    """
    problems = Problems()
    packages: list[Document] = []
    entities: list[Document] = []
    complete = True
    for file in sorted(sources):
        document = read(file, sources[file], problems)
        if document is None:
            complete = False
            continue
        value = document.value
        if (
            isinstance(value, dict)
            and "entity" not in value
            and ("package" in value or _stem(file) == "package")
        ):
            packages.append(check_structure(document, PACKAGE_FILE, problems))
        else:
            entities.append(check_structure(document, ENTITY_FILE, problems))
    for extra in packages[1:]:
        problems.add(Position(extra.file, 1, 1), f"there is already a package file: {packages[0].file}")
    if not packages:
        named = [document for document in entities if _stem(document.file) == "package"]
        for document in named:
            problems.add(
                document.key_position(("entity",)),
                "package.yaml names the package and its namespace; move the entity to a file of its own",
            )
        if not any(_stem(file) == "package" for file in sources):
            problems.add(
                Position(folder, 0, 0), "there is no package.yaml; it names the package and its namespace"
            )
        raise SchemaError(problems.sorted())
    schema = resolve(packages[0], entities, problems, complete=complete)
    if problems or schema is None:
        raise SchemaError(problems.sorted())
    return Located(schema, SourceMap(packages[0], entities))


def _stem(file: str) -> str:
    return Path(file).stem
