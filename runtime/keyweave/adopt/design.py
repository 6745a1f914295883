"""A schema that is being made from a catalogue: its parts in the order of the file, each with notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

DECIDED: Final = "decided"
LOST: Final = "lost"
HINT: Final = "hint"


@dataclass(frozen=True, slots=True)
class Note:
    """A comment of the schema: a decision, something that the language cannot say, or a hint."""

    kind: str
    text: str


@dataclass(slots=True)
class Part:
    """A field, constraint, view, reference or check: its attributes, and the notes before it."""

    attributes: dict[str, Any]
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class FieldDesign(Part):
    """A field, with what the adoption of rows needs.

    Attributes:
        name: the field.
        column: the column of PostgreSQL.
        kind: how values are read and compared; see `keyweave.adopt.value`.
        nullable: whether the column may be null.
        values: those of the enum, for a field of one.
    """

    name: str = ""
    column: str = ""
    kind: str = ""
    nullable: bool = False
    values: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The type of the field."""
        return str(self.attributes["type"])

    @property
    def managed(self) -> str:
        """`created`, `updated` or empty."""
        return str(self.attributes.get("managed", ""))


@dataclass(slots=True)
class Section:
    """A section of an entity: its parts by name, and the notes of what has no part."""

    parts: dict[str, Part] = field(default_factory=dict)
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class EntityDesign:
    """One entity, made from one table."""

    name: str
    plural: str
    schema: str
    table: str
    doc: str
    only: bool
    notes: list[Note] = field(default_factory=list)
    key: list[str] = field(default_factory=list)
    fields: dict[str, FieldDesign] = field(default_factory=dict)
    unique: Section = field(default_factory=Section)
    views: Section = field(default_factory=Section)
    references: Section = field(default_factory=Section)
    checks: Section = field(default_factory=Section)

    def by_column(self, column: str) -> FieldDesign | None:
        """The field of a column."""
        return next((each for each in self.fields.values() if each.column == column), None)

    def all_notes(self) -> list[Note]:
        """Every note of the entity."""
        sections = (self.unique, self.views, self.references, self.checks)
        found = [*self.notes, *[note for each in self.fields.values() for note in each.notes]]
        for section in sections:
            found += section.notes
            found += [note for part in section.parts.values() for note in part.notes]
        return found


@dataclass(slots=True)
class EnumDesign:
    """An enum: `values` is a list, or a mapping of names to values."""

    values: list[str] | dict[str, str]
    notes: list[Note] = field(default_factory=list)


@dataclass(slots=True)
class Design:
    """The whole schema."""

    package: str
    app: str
    database: str
    enums: dict[str, EnumDesign] = field(default_factory=dict)
    entities: list[EntityDesign] = field(default_factory=list)
    notes: list[Note] = field(default_factory=list)

    def all_notes(self) -> list[Note]:
        """Every note of the schema."""
        found = [*self.notes, *[note for each in self.enums.values() for note in each.notes]]
        return [*found, *[note for each in self.entities for note in each.all_notes()]]
