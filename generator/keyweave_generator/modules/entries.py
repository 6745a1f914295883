"""Index entries: the expressions that derive them from a record, and those that find a row by them."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from keyweave_generator.literal import tuple_of
from keyweave_generator.model import Entity, Expression, Field, OrderBy, TypeKind, TypeRef, Unique, View
from keyweave_generator.names import argument_name

from .annotations import kind
from .imports import Imports

_SCORES: Final = {
    "datetime": "to_micros",
    "duration": "duration_micros",
    "date": "to_days",
    "time": "time_micros",
    "decimal": "decimal_score",
}
"""The function of the runtime that turns a value into a score; a number is one."""

ROW_ID: Final = "row_id"
"""The variable for the id of a record, if it is not the text of a field."""


@dataclass(frozen=True, slots=True)
class EntryStatement:
    """One entry of `index_entries`, or one for each element of a list or set.

    Attributes:
        has: the condition for a row to have it; empty when every row has it.
        expression: the entry.
        fields: the fields that it depends on, without the key, which never changes.
        moves: whether every write changes its score.
        elements: the elements, each called `element`; empty for one entry.
        sets: the list of `index_places` that takes the key of its sorted set; empty for a claim.
        key: the key of its sorted set.
    """

    has: str
    expression: str
    fields: tuple[str, ...]
    moves: bool = False
    elements: str = ""
    sets: str = ""
    key: str = ""

    @property
    def conditions(self) -> list[str]:
        """The condition for it to be one of the entries that are asked for, and that for a row to have it, where there are some."""
        asked = ["other is None", *(f"record.{name} != other.{name}" for name in self.fields)]
        found = ["" if self.moves else " or ".join(asked), self.has]
        return [each for each in found if each]

    @property
    def added(self) -> str:
        """The statement that adds the entries to `entries`."""
        if self.elements:
            return f"entries.extend({self.expression} for element in {self.elements})"
        return f"entries.append({self.expression})"

    @property
    def placed(self) -> str:
        """The statement that adds the key of its sorted set, or the claim, to a list of `index_places`."""
        if not self.sets:
            return f"claims.append({self.expression})"
        if self.elements:
            return f"{self.sets}.extend({self.key} for element in {self.elements})"
        return f"{self.sets}.append({self.key})"


@dataclass(frozen=True, slots=True)
class OrderStatement:
    """The sorted sets of one order in `index_places`.

    Attributes:
        sets: the list of their keys.
        place: name of the order, the row's member and score, and the list.
        has: the condition for a row to have a place in the order; empty when every row has one.
    """

    sets: str
    place: str
    has: str


def row_id(entity: Entity, imports: Imports) -> str:
    """The id of a record called `record`, as an expression."""
    if len(entity.key_names) > 1:
        return f"{imports.runtime('joined_id')}({', '.join(f'record.{name}' for name in entity.key_names)})"
    (key,) = entity.key_parts
    return _id(key.type, f"record.{key.name}", imports)


def _member(entity: Entity) -> str:
    """The id of a record where it stands in an entry: text as it is; any other id is a variable."""
    key, *more = entity.key_parts
    return f"record.{key.name}" if not more and kind(key.type) == "str" else ROW_ID


def view_entry(view: View, entity: Entity, imports: Imports, plain: frozenset[str]) -> EntryStatement:
    """The entry of a record called `record` in a view.

    Args:
        plain: the enums whose values stand in keys as they are.
    """
    fields = {field.name: field for field in entity.fields}
    texts = [_stored_text(entity, fields[name], imports) for name in view.fields]
    types = [fields[name].type for name in view.fields]
    elements, names = "", view.fields
    if view.each is not None:
        of = fields[view.each].type.of
        assert of is not None
        ordered = "sorted" if fields[view.each].type.kind is TypeKind.SET else "dict.fromkeys"
        elements, names = f"{ordered}(record.{view.each})", (*names, view.each)
        texts.append(_text(of, "element", imports))
        types.append(of)
    values = tuple_of(texts)
    parts = [_in_key(text, type_, plain, imports) for text, type_ in zip(texts, types, strict=True)]
    key = " + ".join([f'keys["{view.name}"]', ' + ":" + '.join(parts)] if parts else [f'keys["{view.name}"]'])
    entry, member = imports.runtime("ViewEntry"), _member(entity)
    if view.by_text:
        member = f"{imports.runtime('text_member')}(record.{view.order_field}, {member})"
    order = (view.order_field,) if view.order_field is not None else ()
    return EntryStatement(
        _has(names, fields, view.where, imports),
        f'{entry}("{view.name}", {values}, {member}, {_score(view, fields, imports)})',
        _changing((*names, *order), view.where, entity),
        view.order is OrderBy.REVISION,
        elements,
        _sets(view),
        key,
    )


def _in_key(text: str, type_: TypeRef, plain: frozenset[str], imports: Imports) -> str:
    """The part of a key for a value whose key text is a piece of Python."""
    if type_.name in plain or type_.name in ("int", "bool"):
        return text
    return f"{imports.runtime('escape')}({text})"


def _sets(view: View) -> str:
    """The list of `index_places` for the sorted sets in the order of a view."""
    return f"{view.order_field or view.order.value}_sets"


def order_statements(entity: Entity, imports: Imports) -> list[OrderStatement]:
    """What `index_places` says of each order of an entity's views, in the order in which the views first name them."""
    fields = {field.name: field for field in entity.fields}
    found: dict[str, OrderStatement] = {}
    for view in entity.views:
        name, order = _sets(view), view.order_field or view.order.value
        if name not in found:
            member = _member(entity)
            if view.by_text:
                member = f"{imports.runtime('text_member')}(record.{view.order_field}, {member})"
            optional = view.order_field is not None and fields[view.order_field].optional
            found[name] = OrderStatement(
                name,
                f'("{order}", {member}, {_score(view, fields, imports)}, {name})',
                f"record.{view.order_field} is not None" if optional else "",
            )
    return list(found.values())


def claim_entry(unique: Unique, entity: Entity, imports: Imports) -> EntryStatement:
    """The claim of a record called `record` to a unique value."""
    fields = {field.name: field for field in entity.fields}
    value = _claimed(
        unique, lambda name: _stored_text(entity, fields[name], imports), lambda: imports.runtime("join")
    )
    claim = imports.runtime("ClaimEntry")
    return EntryStatement(
        _has(unique.fields, fields, unique.where, imports),
        f'{claim}("{unique.name}", {value}, {_member(entity)})',
        _changing(unique.fields, unique.where, entity),
    )


def _changing(names: tuple[str, ...], where: Expression | None, entity: Entity) -> tuple[str, ...]:
    """The fields that an entry depends on, each once and without the key."""
    found = dict.fromkeys((*names, *(where.fields if where is not None else ())))
    return tuple(name for name in found if name not in entity.key_names)


def argument_text(entity: Entity, field: Field, imports: Imports) -> str:
    """The key text of the argument for a field, as a method uses it: trimmed where the field is."""
    text = looked_up(field, argument_name(field.name), imports, of_row=field.name in entity.referring_numbers)
    return f'{text}{".strip()" if field.trim else ""}'


def looked_up(field: Field, value: str, imports: Imports, *, of_row: bool) -> str:
    """The key text of a value, a piece of Python, by which rows are looked up, or the id of the row whose key it is."""
    return f'{imports.aliased("id_text" if of_row else "key_text")}({value}, "{kind(field.type)}")'


def claimed_by_arguments(unique: Unique, entity: Entity, imports: Imports) -> str:
    """The unique value of the arguments for its fields."""
    fields = {field.name: field for field in entity.fields}
    return _claimed(
        unique, lambda name: argument_text(entity, fields[name], imports), lambda: imports.aliased("join")
    )


def _claimed(unique: Unique, text: Callable[[str], str], join: Callable[[], str]) -> str:
    """A unique value; `text` gives the key text of a field, and `join` the function that joins several."""
    steps = {"lower": ".lower()", "trim": ".strip()"}
    suffix = "".join(steps[step] for step in sorted(unique.normalize, reverse=True))
    parts = [f"{text(name)}{suffix}" for name in unique.fields]
    return parts[0] if len(parts) == 1 else f"{join()}({tuple_of(parts)})"


def _stored_text(entity: Entity, field: Field, imports: Imports) -> str:
    """The key text of a record's value; a value that is text already needs no call."""
    of_row = field.name in entity.referring_numbers
    return (_id if of_row else _text)(field.type, f"record.{field.name}", imports)


def _id(type_: TypeRef, value: str, imports: Imports) -> str:
    """The id of the row whose key is a value, a piece of Python."""
    return f"{imports.runtime('int_id')}({value})" if type_.name == "int" else _text(type_, value, imports)


def _text(type_: TypeRef, value: str, imports: Imports) -> str:
    """The key text of a value, a piece of Python."""
    if type_.kind is TypeKind.ENUM or type_.name in ("string", "id"):
        return value
    return f"{imports.runtime('key_text')}({value})"


def _score(view: View, fields: Mapping[str, Field], imports: Imports) -> str:
    if view.order is not OrderBy.FIELD:
        return imports.runtime(view.order.value.upper())
    if view.by_text:
        return "0"
    assert view.order_field is not None
    value = f"record.{view.order_field}"
    convert = _SCORES.get(fields[view.order_field].type.name)
    return f"{imports.runtime(convert)}({value})" if convert is not None else value


def _has(
    names: tuple[str, ...], fields: Mapping[str, Field], where: Expression | None, imports: Imports
) -> str:
    """The condition for a record to have an entry: the schema's own condition, and none of the values is null.

    The last word is that a value is not null, so type checkers take it for one even if the schema's condition says otherwise.
    """
    parts = []
    if where is not None:
        for module, name in where.imports:
            imports.use(module, name)
        parts.append(where.python)
    parts += [f"record.{name} is not None" for name in names if fields[name].optional]
    return " and ".join(parts) if len(parts) != 1 else _bare(parts[0])


def _bare(condition: str) -> str:
    """A condition without parentheses around all of it, as it stands behind `if`."""
    while condition.startswith("("):
        inside = condition[1:-1]
        try:
            ast.parse(inside, mode="eval")
        except SyntaxError:
            break
        condition = inside
    return condition
