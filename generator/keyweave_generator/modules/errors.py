"""The module of the errors that a schema names."""

from __future__ import annotations

from dataclasses import dataclass

from keyweave_generator.model import Schema

from .identifiers import not_found_name
from .imports import Imports
from .text import sentence

_PARENTS = ("AlreadyExistsError", "NotFoundError", "UniqueViolationError")


@dataclass(frozen=True, slots=True)
class ErrorClass:
    """An error class."""

    name: str
    parent: str
    doc: str


@dataclass(frozen=True, slots=True)
class ErrorsModule:
    """The module of the errors that a schema names. It also exports their parents."""

    imports: Imports
    errors: tuple[ErrorClass, ...]

    @property
    def exported(self) -> list[str]:
        """Names of all errors."""
        return [*_PARENTS, *(error.name for error in self.errors)]


def errors_module(schema: Schema) -> ErrorsModule:
    """The view model for a schema."""
    imports = Imports()
    for parent in _PARENTS:
        imports.runtime(parent)
    return ErrorsModule(imports, error_classes(schema))


def error_classes(schema: Schema) -> tuple[ErrorClass, ...]:
    """Every error that the schema names, once, sorted by name."""
    found: dict[str, ErrorClass] = {}
    for entity in schema.entities:
        name = not_found_name(entity)
        found[name] = ErrorClass(
            name, "NotFoundError", f"The {entity.name} does not exist, or its retention has ended."
        )
        if entity.exists_error:
            found[entity.exists_error] = ErrorClass(
                entity.exists_error, "AlreadyExistsError", f"A {entity.name} with this key exists already."
            )
        for unique in entity.uniques:
            if unique.error and unique.error != "UniqueViolationError":
                doc = unique.doc or f"Another {entity.name} has the same {' and '.join(unique.fields)}."
                found.setdefault(
                    unique.error, ErrorClass(unique.error, "UniqueViolationError", sentence(doc))
                )
    return tuple(found[name] for name in sorted(found))
