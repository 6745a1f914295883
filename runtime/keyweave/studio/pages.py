"""The pages as values: what each shows, read by flows of the core. A secret value is in none of them."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from keyweave.integrity.drift import Report
from keyweave.look.question import question
from keyweave.look.row import ShownRow, row_shown
from keyweave.look.shown import one_line, plain
from keyweave.look.words import entity_named, key_of_words, members_of
from keyweave.model.entity import Entity
from keyweave.model.moment import from_micros
from keyweave.model.record import Record
from keyweave.read.answers import count
from keyweave.read.explain import explain
from keyweave.read.query_page import page
from keyweave.sync.session import Session

LIMIT: Final = 25
"""Rows of one page."""


@dataclass(frozen=True, slots=True)
class Summary:
    """An entity in the list of all: with its number of rows, or None if no view has them all."""

    entity: Entity[Any]
    doc: str
    rows: int | None


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an entity: the kind of its values, or its type where rows cannot be looked up by it."""

    name: str
    kind: str
    notes: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a reader of the rows of an entity asked for, as the words of the page's address."""

    view: str | None = None
    values: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    order: str | None = None
    reverse: bool = False
    scan: bool = False

    def words(self) -> list[tuple[str, str]]:
        """Return the words from which an address of the same rows is made."""
        found = [("view", self.view), ("order", self.order)]
        given = [(name, word) for name, word in found if word is not None]
        given += [("value", each) for each in self.values] + [("where", each) for each in self.where]
        return given + [(name, "1") for name in ("reverse", "scan") if getattr(self, name)]


@dataclass(frozen=True, slots=True)
class Listed:
    """Rows of one page as text, each with the words of its key; `cursor` is where the next page begins."""

    names: tuple[str, ...]
    rows: tuple[tuple[list[str], list[str]], ...]
    cursor: str | None
    explained: str


def summaries(session: Session) -> list[Summary]:
    """Return every entity, with its number of rows where a view has them all."""
    found = []
    for entity in session.context.package.entities.values():
        whole = any(view.whole and not view.selecting for view in entity.views.values())
        rows = session.run(count(session.context, question(entity))) if whole else None
        found.append(Summary(entity, doc_of(entity), rows))
    return found


def doc_of(entity: Entity[Any]) -> str:
    """Return what the schema says about an entity."""
    text = entity.record.__doc__
    return "" if text is None or text == Record.__doc__ else inspect.cleandoc(text).partition("\n\n")[0]


def fields_of(entity: Entity[Any]) -> list[Field]:
    """Return the fields of an entity."""
    secret = entity.record.__secret_fields__
    found = []
    for each in msgspec.structs.fields(entity.record):
        name = each.name
        notes = [
            text
            for text, holds in (
                ("key", name in entity.key_fields),
                ("secret", name in secret),
                ("managed", name in entity.managed),
                ("may be null", name in entity.nullable),
            )
            if holds
        ]
        kind = "enum" if name in entity.enums else entity.filters.get(name, "value")
        found.append(Field(name, kind, ", ".join(notes), tuple(members_of(entity, name))))
    return found


def listed(session: Session, name: str, asked: Asked, cursor: str | None) -> tuple[Entity[Any], Listed]:
    """Return a page of rows.

    Raises:
        ValidationError, InvalidCursorError, UnboundedQueryError: as for `keyweave ls`.
    """
    context = session.context
    entity = entity_named(context.package, name)
    query = question(
        entity,
        asked.view,
        asked.values,
        asked.where,
        order=asked.order,
        reverse=asked.reverse,
        scan=asked.scan,
    )
    found = session.run(page(context, query, LIMIT, cursor))
    explained = str(session.run(explain(context, query, LIMIT)))
    names = tuple(
        dict.fromkeys([*entity.key_fields, *[each.name for each in msgspec.structs.fields(entity.record)]])
    )
    rows = []
    for record in found.rows:
        shown = plain(record)
        rows.append((key_words(entity, record), [one_line(shown[each]) for each in names]))
    return entity, Listed(names, tuple(rows), found.cursor, explained)


def key_words(entity: Entity[Any], record: Any) -> list[str]:
    """Return the key of a row as words."""
    return [str(msgspec.to_builtins(getattr(record, name))) for name in entity.key_fields]


def row(session: Session, name: str, words: list[str]) -> tuple[Entity[Any], ShownRow, list[tuple[str, str]]]:
    """Return a row with its entries, and its fields as text.

    Raises:
        ValidationError, NotFoundError, CorruptDocumentError: as for `keyweave get`.
    """
    entity = entity_named(session.context.package, name)
    shown = session.run(row_shown(session.context, entity, key_of_words(entity, words)))
    fields = [(each, _paragraph(value)) for each, value in plain(shown.record).items()]
    return entity, shown, fields


def moments(shown: ShownRow) -> list[tuple[str, str]]:
    """Return the moments in the head of a document as text."""
    head = shown.head
    found = (("created", head.created), ("revision", head.revision), ("expires", head.expires))
    return [(name, from_micros(at).isoformat() if at else "never") for name, at in found]


def drift_of(report: Report) -> list[tuple[str, int]]:
    """Return what a check found, by place and kind."""
    return sorted((str(group), number) for group, number in report.drift.items())


def _paragraph(value: Any) -> str:
    """Return a value as text: long JSON over several lines."""
    if not isinstance(value, (dict, list)) or not value:
        return one_line(value)
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
