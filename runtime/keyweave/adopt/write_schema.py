"""Writes a schema as texts: one file for the package, one for each entity, and the map of the adoption."""

from __future__ import annotations

from typing import Any, Final

from keyweave.adopt.design import Design, EntityDesign, Note, Section
from keyweave.adopt.mapping import MAP, map_of, write_map
from keyweave.adopt.naming import module, plural
from keyweave.adopt.yaml import comment, comments, entry, inline, scalar

GROUP: Final = "main"


def files(design: Design) -> dict[str, str]:
    """Return the files of the schema, by their names in its folder."""
    found = {"package.yaml": _package(design)}
    for entity in design.entities:
        name = module(entity.name)
        found["package_.yaml" if name == "package" else f"{name}.yaml"] = _entity(entity)
    found[MAP] = write_map(map_of(design))
    return found


def _notes(notes: list[Note], indent: str) -> list[str]:
    return comments((f"{note.kind}: {note.text}" for note in notes), indent)


def _package(design: Design) -> str:
    lines = comment(f"Adopted from the PostgreSQL database {design.database} by keyweave adopt.", "")
    lines += _notes(design.notes, "")
    lines += [
        f"package: {design.package}",
        f"doc: {scalar(f'The tables of the PostgreSQL database {design.database}.')}",
        "namespace:",
        f"  app: {scalar(design.app[:62])}",
        "  version: v1",
        "  environment: dev",
        "  tenant: default",
        "groups:",
        f"  {GROUP}: {{doc: All tables.}}",
    ]
    if design.enums:
        lines.append("enums:")
    for name, enum in design.enums.items():
        lines += _notes(enum.notes, "  ")
        values = f"values: {inline(enum.values)}"
        one = f"  {scalar(name)}: {{{values}}}"
        if len(one) <= 110:
            lines.append(one)
        else:
            lines.append(f"  {scalar(name)}:")
            lines += (
                entry("values", enum.values, "    ") if isinstance(enum.values, dict) else ["    values:"]
            )
            if isinstance(enum.values, list):
                lines += [f"      - {scalar(value)}" for value in enum.values]
    return "\n".join(lines) + "\n"


def _entity(entity: EntityDesign) -> str:
    lines = comment(f"Adopted from the table {entity.schema}.{entity.table}.", "")
    lines += _notes(entity.notes, "")
    lines.append(f"entity: {scalar(entity.name)}")
    if entity.plural != plural(module(entity.name)):
        lines.append(f"plural: {scalar(entity.plural)}")
    if entity.doc:
        lines.append(f"doc: {scalar(entity.doc)}")
    lines.append(f"group: {GROUP}")
    lines.append(f"key: {inline(entity.key[0] if len(entity.key) == 1 else entity.key)}")
    lines += ["", "fields:"]
    for field in entity.fields.values():
        lines += _notes(field.notes, "  ")
        lines += entry(field.name, field.attributes, "  ")
    for title, section in (
        ("unique", entity.unique),
        ("views", entity.views),
        ("references", entity.references),
        ("checks", entity.checks),
    ):
        lines += _section(title, section)
    return "\n".join(lines) + "\n"


def _section(title: str, section: Section) -> list[str]:
    if not section.parts and not section.notes:
        return []
    if not section.parts:
        return ["", *_notes(section.notes, "")]
    lines = ["", f"{title}:"]
    for name, part in section.parts.items():
        lines += _notes(part.notes, "  ")
        attributes: dict[str, Any] = part.attributes
        lines += entry(name, attributes, "  ")
    return [*lines, *_notes(section.notes, "  ")]
