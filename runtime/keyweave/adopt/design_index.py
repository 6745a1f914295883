"""The unique constraints and views of an entity, from the indexes of a table."""

from __future__ import annotations

import re
from typing import Any, Final

from keyweave.adopt.catalog import Column, Index, IndexPart, Table
from keyweave.adopt.condition import where_of
from keyweave.adopt.design import DECIDED, LOST, EntityDesign, FieldDesign, Note, Part
from keyweave.adopt.naming import own, snake
from keyweave.adopt.sql import UnknownSqlError, parse

_INDEXABLE: Final = {
    *(
        "string",
        "int",
        "decimal",
        "bool",
        "datetime",
        "date",
        "time",
        "duration",
        "uuid",
        "bytes",
        "enum",
        "local",
        "text",
    ),
}
_ORDERABLE: Final = {"float", "decimal", "datetime", "local", "date", "time", "duration"}
_DATED: Final = {"date", "time", "timestamp", "timestamptz"}
_EXACT_DIGITS: Final = 15
_LONGEST_ORDER: Final = 4096
_MOST_FIELDS: Final = 16
_LOWER: Final = re.compile(r"lower\(\(*(?P<name>\"(?:[^\"]|\"\")+\"|[\w$]+)(?:\)::text)?\)*\Z")


class IndexMaker:
    """Makes the unique constraints and views of one entity.

    Args:
        entity: gets them.
        table: the table.
        referring: columns that hold the key of another row.
    """

    def __init__(self, entity: EntityDesign, table: Table, referring: set[str]) -> None:
        self._entity = entity
        self._table = table
        self._referring = referring
        self._explained = False

    def make(self) -> None:
        """Make a constraint or view of every index, or a note."""
        for index in self._table.indexes:
            if index.unique and not index.primary:
                self._unique(index)
        self._all_rows()
        for index in sorted(self._table.indexes, key=lambda index: bool(index.where)):
            if not index.unique:
                self._view(index)
        if self._explained:
            text = "a view finds rows by all of its fields together; a row in which one of them is null is not in it"
            self._entity.views.notes.append(Note(DECIDED, text))
        for name in self._table.exclusions:
            self._entity.unique.notes.append(Note(LOST, f"the exclusion constraint {name}"))

    def _unique(self, index: Index) -> None:
        notes = self._common_notes(index)
        fields, lowered, problem = self._unique_fields(index)
        where, no_where = self._where(index)
        problem = problem or no_where
        if not index.valid:
            problem = "it is not valid, so rows may break it"
        if problem:
            self._entity.unique.notes.append(Note(LOST, f"the unique index {index.name}: {problem}"))
            return
        names = [field.name for field in fields]
        if not where and set(names) == set(self._entity.key):
            self._entity.unique.notes.append(
                Note(DECIDED, f"{index.name} is the key, which is unique by itself")
            )
            return
        if self._same_unique(names, where):
            self._entity.unique.notes.append(
                Note(DECIDED, f"{index.name} covers the same fields as another one")
            )
            return
        if index.nulls_not_distinct and any(field.attributes.get("optional") for field in fields):
            notes.append(Note(LOST, "NULLS NOT DISTINCT: a row with a null makes no claim"))
        if lowered:
            notes.append(
                Note(DECIDED, "lower(...) of the index is `normalize: lower`, the lower case of Unicode")
            )
        attributes: dict[str, Any] = {"fields": names}
        if lowered:
            attributes["normalize"] = "lower"
        if where:
            attributes["where"] = where
        name = own("_".join(names), [*self._entity.unique.parts, *self._entity.views.parts])
        self._entity.unique.parts[name] = Part(attributes, notes)

    def _unique_fields(self, index: Index) -> tuple[list[FieldDesign], bool, str]:
        """The fields, whether they are compared in lower case, and the problem if there is one."""
        fields: list[FieldDesign] = []
        lowered: set[bool] = set()
        for part in index.parts:
            name, lower = self._column_of(part)
            field = self._entity.by_column(name) if name else None
            if field is None:
                return [], False, f"the expression {part.text}"
            if field.kind not in _INDEXABLE or field.managed:
                return [], False, f"a field of type {field.type} cannot be unique"
            fields.append(field)
            lowered.add(lower)
        if len(lowered) > 1:
            return [], False, "lower case of some of its fields only"
        if len(fields) > _MOST_FIELDS:
            return [], False, f"more than {_MOST_FIELDS} fields"
        return fields, lowered == {True}, ""

    def _column_of(self, part: IndexPart) -> tuple[str, bool]:
        """The column of a part of a unique index, and whether it is compared in lower case."""
        if part.column:
            column = self._table.column(part.column)
            return part.column, column is not None and column.type.name == "citext"
        match = _LOWER.match(part.text)
        if match is None:
            return "", False
        name = match["name"]
        name = name[1:-1].replace('""', '"') if name.startswith('"') else name
        field = self._entity.by_column(name)
        return (name, True) if field is not None and field.kind == "string" else ("", False)

    def _same_unique(self, names: list[str], where: str) -> bool:
        return any(
            set(part.attributes["fields"]) == set(names) and part.attributes.get("where", "") == where
            for part in self._entity.unique.parts.values()
        )

    def _all_rows(self) -> None:
        note = Note(DECIDED, "a view of all rows, for lists; PostgreSQL reads these from the table itself")
        name = own("all", self._entity.unique.parts)
        why = "Lists of all rows, and pages of keyweave ls and keyweave studio."
        self._entity.views.parts[name] = Part({"fields": [], "order": "created", "why": why}, [note])

    def _view(self, index: Index) -> None:
        where, problem = self._where(index)
        if not problem and index.method == "gin":
            problem = self._element_view(index, where)
        elif not problem and index.method in ("btree", "hash", "brin"):
            problem = self._sorted_view(index, where)
        elif not problem:
            problem = f"{index.method} has no twin here"
        if problem:
            self._entity.views.notes.append(Note(LOST, f"the index {index.name}: {problem}"))

    def _element_view(self, index: Index, where: str) -> str:
        field = self._entity.by_column(index.columns[0]) if len(index.parts) == 1 else None
        if field is None or not field.kind.startswith("list:") or field.kind[5:] not in _INDEXABLE:
            return "a gin index of something that is no array of simple values"
        attributes: dict[str, Any] = {"fields": [], "each": field.name, "order": "created"}
        self._add(index, f"by_{field.name}", attributes, where, self._common_notes(index))
        return ""

    def _sorted_view(self, index: Index, where: str) -> str:
        fields: list[FieldDesign] = []
        for part in index.parts:
            field = self._entity.by_column(part.column) if part.column else None
            if field is None:
                return f"the expression {part.text}"
            fields.append(field)
        order, selecting = self._order(index, fields)
        for field in selecting:
            if field.managed:
                word = "created" if field.managed == "created" else "revision"
                return f"{field.name} is set by the store, so it orders a view ({word}) and selects no rows"
            if field.kind not in _INDEXABLE:
                return f"{field.name} of type {field.type} selects no rows"
        if len(selecting) > _MOST_FIELDS:
            return f"more than {_MOST_FIELDS} fields"
        names = [field.name for field in selecting]
        own_key = self._entity.fields[self._entity.key[0]]
        refers = len(self._entity.key) == 1 and own_key.column in self._referring
        if set(self._entity.key) <= set(names) and not refers:
            self._entity.views.notes.append(
                Note(DECIDED, f"no view for the index {index.name}: the key finds its rows")
            )
            return ""
        notes = self._common_notes(index)
        if len(names) > 1 or any(field.attributes.get("optional") for field in fields):
            self._explained = True
        if fields[-1].kind == "decimal" and fields[-1] in selecting:
            text = f"the order of {fields[-1].name}: a view orders decimals of at most {_EXACT_DIGITS} digits"
            notes.append(Note(LOST, text))
        ordered = order.partition(" ")[0]
        by_time = ordered in ("created", "revision")
        short = snake(index.name.removeprefix(f"{self._table.name}_"))
        name = (
            short
            if where and short[:1].isalpha()
            else "_".join(["by", *(names or []), *([] if by_time and names else [ordered])])
        )
        self._add(index, name, {"fields": names, "order": order}, where, notes)
        return ""

    def _order(self, index: Index, fields: list[FieldDesign]) -> tuple[str, list[FieldDesign]]:
        """The order of a view, and the fields that select its rows: the last column orders, if it is one that counts."""
        last, part = fields[-1], index.parts[-1]
        column = self._table.column(last.column)
        if last.managed:
            return ("created" if last.managed == "created" else "revision"), fields[:-1]
        if index.method != "hash" and column is not None and self._counts(last, column, part, len(fields)):
            return f"{last.name} {'desc' if part.descending else 'asc'}", fields[:-1]
        return "created", fields

    def _counts(self, field: FieldDesign, column: Column, part: IndexPart, number: int) -> bool:
        """Whether rows are likely sorted by a column, rather than found by its value."""
        if field.kind == "text" and column.type.name in _DATED and field.name not in ("created", "revision"):
            return True  # the text of a date or moment is in the order of the calendar
        if field.attributes.get("secret") or field.name in ("created", "revision", *self._entity.key):
            return False
        if field.kind == "decimal":
            return 0 < int(field.attributes.get("digits", 0)) <= _EXACT_DIGITS
        if field.kind in _ORDERABLE:
            return True
        if field.kind == "int":
            identifies = column.name in self._referring or re.search(r"(?:^|_)id$", snake(column.name))
            return not identifies
        if field.kind == "string":
            short = int(field.attributes.get("max_length", 0)) <= _LONGEST_ORDER
            return short and ("pattern" in part.opclass or (part.descending and number > 0))
        return False

    def _add(
        self, index: Index, name: str, attributes: dict[str, Any], where: str, notes: list[Note]
    ) -> None:
        if where:
            attributes["where"] = where
        for known, part in self._entity.views.parts.items():
            if _shape(part.attributes) == _shape(attributes):
                self._entity.views.notes.append(
                    Note(DECIDED, f"the index {index.name} is served by the view {known}")
                )
                return
        attributes["why"] = f"The index {index.name} of PostgreSQL."
        taken = [*self._entity.views.parts, *self._entity.unique.parts]
        self._entity.views.parts[own(name, taken)] = Part(attributes, notes)

    def _where(self, index: Index) -> tuple[str, str]:
        """The condition of a partial index, and why there is none although the index has one."""
        if not index.where:
            return "", ""
        try:
            return where_of(parse(index.where), self._entity.by_column), ""
        except UnknownSqlError as error:
            return "", f"its condition {index.where} has {error}"

    def _common_notes(self, index: Index) -> list[Note]:
        notes = []
        if index.included:
            notes.append(
                Note(DECIDED, f"INCLUDE ({', '.join(index.included)}): a row is read as one document anyway")
            )
        if index.deferrable:
            notes.append(Note(LOST, f"{index.name} is deferrable: here it is checked with every write"))
        return notes


def _shape(attributes: dict[str, Any]) -> tuple[object, ...]:
    order = str(attributes["order"]).partition(" ")[0]
    return tuple(sorted(attributes["fields"])), order, attributes.get("each"), attributes.get("where", "")
