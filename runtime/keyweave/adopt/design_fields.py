"""The fields of an entity, from the columns of a table."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from keyweave.adopt.catalog import Column, Table
from keyweave.adopt.column_type import FieldType, enum_values, field_type, key_type
from keyweave.adopt.default import auto, constant
from keyweave.adopt.design import DECIDED, HINT, LOST, Design, EntityDesign, EnumDesign, FieldDesign, Note
from keyweave.adopt.naming import field_name, members, module, own, pascal, snake
from keyweave.adopt.sql import Among, Col, Const, IsNull, Junction, Node, Op, UnknownSqlError, parse
from keyweave.adopt.yaml import one_line

_SECRET: Final = re.compile(
    r"(?:^|_)(?:password|passwd|secret|private_key|api_key|access_token|refresh_token)(?:$|_)"
)
_ENDS: Final = re.compile(
    r"(?:^|_)(?:expires?|expired|expiry|expiration|valid_until|ends?|delete_after)(?:_at|_on|_date|$)"
)
_LONGEST_DOC: Final = 4000


class FieldMaker:
    """Makes the fields of one entity.

    Args:
        design: the schema; gets the enums.
        entity: gets the fields.
        table: the table.
        referring: columns that hold the key of another row.
        as_text: types that are kept as text.
    """

    def __init__(
        self,
        design: Design,
        entity: EntityDesign,
        table: Table,
        referring: Collection[str],
        as_text: Collection[str],
    ) -> None:
        self._design = design
        self._entity = entity
        self._table = table
        self._referring = referring
        self._as_text = as_text
        self.unsupported: list[str] = []
        self.used_checks: set[str] = set()
        """Names of checks that became an enum."""

    def make(self, key: tuple[str, ...]) -> None:
        """Make all fields, and the key."""
        listed = self._listed(key)
        for place, column in enumerate(self._table.columns, 1):
            found = self._type(column, key, listed)
            if found is None:
                self.unsupported.append(f"{self._table.label}.{column.name} is {column.type.shown}")
                continue
            name = field_name(column.name, module(self._entity.name), place, self._entity.fields)
            self._entity.fields[name] = self._field(name, column, found, key)
        names = {field.column: field.name for field in self._entity.fields.values()}
        self._entity.key = [names[column] for column in key if column in names]

    def _type(
        self, column: Column, key: tuple[str, ...], listed: dict[str, tuple[str, tuple[str, ...]]]
    ) -> FieldType | None:
        enum = self._enum_of_type(column) if column.type.kind == "e" else None
        found = field_type(column, as_text=self._as_text, enum=enum)
        if found is None:
            return None
        if column.name in self._referring:
            return key_type(column, found, composite=False)
        if column.name in key:
            return key_type(column, found, composite=len(key) > 1)
        if column.name in listed and found.attributes["type"] == "string" and found.kind == "string":
            check, values = listed[column.name]
            enum = self._enum_name(f"{self._entity.name}{pascal(snake(column.name) or 'Value')}")
            names = members(values)
            self._design.enums[enum] = EnumDesign(names if names is not None else list(values))
            self.used_checks.add(check)
            notes = [note for note in found.notes if note.kind == LOST]
            return FieldType(
                {"type": enum}, "enum", [*notes, Note(DECIDED, f"the check {check} became the enum {enum}")]
            )
        return found

    def _enum_of_type(self, column: Column) -> str | None:
        """The enum of the schema for an enum of PostgreSQL, which several columns may have."""
        labels = column.type.labels
        if not enum_values(labels):
            return None
        origin = f"the type {column.type.shown.removesuffix('[]')}"
        for name, enum in self._design.enums.items():
            if any(note.text.startswith(f"{origin},") for note in enum.notes):
                return name
        short = column.type.name
        name = self._enum_name(pascal(snake(short) or "value"))
        names = members(labels)
        self._design.enums[name] = EnumDesign(
            names if names is not None else list(labels), [Note(DECIDED, f"{origin}, as an enum")]
        )
        return name

    def _enum_name(self, name: str) -> str:
        if not name[:1].isalpha():
            name = f"Enum{name}"
        classes = {each.name for each in self._design.entities} | set(self._design.enums)
        if name in classes or name in ("None", "True", "False", "PACKAGE"):
            name = f"{name}Value"
        return own(name, classes).replace("_", "")

    def _listed(self, key: tuple[str, ...]) -> dict[str, tuple[str, tuple[str, ...]]]:
        """Columns of text for which a check lists the values: the check and the values."""
        unfit = {*key, *self._referring}
        for index in self._table.indexes:
            for part in index.parts:
                column_name = part.column or next(
                    (each.name for each in self._table.columns if each.name in part.text), ""
                )
                if not part.column or "pattern" in part.opclass:
                    unfit.add(column_name)
        found: dict[str, tuple[str, tuple[str, ...]]] = {}
        for check in self._table.checks:
            values = _values_in(check.text)
            if values is not None and check.valid and values[0] not in unfit and enum_values(values[1]):
                found.setdefault(values[0], (check.name, values[1]))
        return found

    def _field(self, name: str, column: Column, found: FieldType, key: tuple[str, ...]) -> FieldDesign:
        field = FieldDesign(
            dict(found.attributes), list(found.notes), name, column.name, found.kind, column.nullable
        )
        if found.kind == "enum":
            enum = self._design.enums[field.type]
            field.values = tuple(enum.values.values() if isinstance(enum.values, dict) else enum.values)
        if name != column.name:
            field.notes.insert(0, Note(DECIDED, f"the column is called {column.name!r}"))
        is_key = column.name in key
        if self._managed(field, column):
            pass
        elif column.nullable:
            field.attributes["optional"] = True
        self._default(field, column, is_key=is_key)
        if column.generated:
            field.notes.append(
                Note(LOST, f"generated always as {column.generated}: the application sets the value")
            )
        if column.nullable and column.type.name in ("json", "jsonb") and not column.type.array:
            field.notes.append(Note(LOST, "a JSON null and no value are the same here"))
        if self._is_secret(column, is_key=is_key):
            field.attributes["secret"] = True
            field.notes.append(Note(DECIDED, "secret, by its name: the value is never shown in repr or logs"))
        if _ENDS.search(snake(column.name)) and field.type == "datetime" and not field.managed:
            field.notes.append(
                Note(HINT, f"if rows end at this moment, add to this file: retention: {{at: {name}}}")
            )
        if column.doc:
            field.attributes["doc"] = one_line(column.doc)[:_LONGEST_DOC]
        return field

    def _managed(self, field: FieldDesign, column: Column) -> bool:
        moments = self._table.moments
        if (
            moments is None
            or field.type != "datetime"
            or column.name not in (moments.created, moments.updated)
        ):
            return False
        word = "created" if column.name == moments.created else "updated"
        problem = moments.created_problem if word == "created" else moments.updated_problem
        problem = problem or self._indexed_problem(column)
        if problem:
            field.notes.append(
                Note(DECIDED, f"not managed as {word}, because {problem}; the application sets it")
            )
            return False
        field.attributes["managed"] = word
        when = "when the row is created" if word == "created" else "with every write"
        field.notes.append(Note(DECIDED, f"managed: the store sets it {when}; adopted rows keep theirs"))
        if column.nullable:
            field.notes.append(Note(DECIDED, "the column may be null, and no row has null"))
        return True

    def _indexed_problem(self, column: Column) -> str:
        for index in self._table.indexes:
            if index.unique and column.name in index.columns:
                return f"{index.name} needs its value"
        return "another row refers to it" if column.name in self._referring else ""

    def _default(self, field: FieldDesign, column: Column, *, is_key: bool) -> None:
        if column.identity or column.default.startswith("nextval("):
            what = "identity" if column.identity else "serial"
            field.notes.append(
                Note(LOST, f"{what}: no sequence counts here; the application gives the number")
            )
            return
        text = column.default
        if not text or text.startswith("NULL::") or field.managed:
            return
        refers = column.name in self._referring
        if is_key and not refers and field.type in ("uuid", "string", "id") and auto(text):
            field.attributes["auto"] = auto(text)
            field.notes.append(Note(DECIDED, "the record makes the key, so that a retry writes the same row"))
            return
        value = constant(text, field.attributes, field.values)
        if field.type == "json":
            reason = "a json field has none"
        elif value is None:
            reason = "it is no constant of the field's type"
        elif is_key or refers:
            reason = "a key has none" if is_key else "a reference has none"
        elif column.nullable:
            reason = "a field that may be null has none"
        else:
            field.attributes["default"] = value
            return
        field.notes.append(Note(LOST, f"the default {text}: {reason}; the application gives the value"))

    def _is_secret(self, column: Column, *, is_key: bool) -> bool:
        if is_key or column.name in self._referring or not _SECRET.search(snake(column.name)):
            return False
        views = (index for index in self._table.indexes if not index.unique)
        return not any(column.name in index.columns or column.name in index.where for index in views)


def _values_in(text: str) -> tuple[str, tuple[str, ...]] | None:
    """The column and the values of a check that does nothing but list them."""
    try:
        node = parse(text)
    except UnknownSqlError:
        return None
    parts = list(node.parts) if isinstance(node, Junction) and node.word == "or" else [node]
    columns: set[str] = set()
    values: list[str] = []
    for part in parts:
        if isinstance(part, IsNull) and not part.negated and isinstance(part.part, Col):
            columns.add(part.part.name)
            continue
        found = _equal_to(part)
        if found is None:
            return None
        columns.add(found[0])
        values += found[1]
    return (columns.pop(), tuple(dict.fromkeys(values))) if len(columns) == 1 and values else None


def _equal_to(node: Node) -> tuple[str, list[str]] | None:
    if isinstance(node, Among) and not node.negated and isinstance(node.left, Col):
        values = [each.value for each in node.elements if isinstance(each, Const) and each.kind == "text"]
        return (node.left.name, values) if len(values) == len(node.elements) else None
    if isinstance(node, Op) and node.word == "=" and isinstance(node.left, Col):
        right = node.right
        if isinstance(right, Const) and right.kind == "text":
            return node.left.name, [right.value]
    return None
