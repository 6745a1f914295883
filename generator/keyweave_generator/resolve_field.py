"""Fields: types, bounds and defaults, of entities and of nested records alike."""

from __future__ import annotations

import itertools
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal

from .constant import CONSTANTS, constant, fits
from .expression import compile_expression
from .expression_compile import ExpressionError
from .model import SCALARS, Enum, Field, Managed, RecordType, TypeKind, TypeRef
from .names import field_name_problem, snake_case
from .node import Node
from .pattern import strict_end
from .problems import Problems, quote, suggestion

_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZED = {"string", "id", "bytes"}
_DEFAULTS = {"string": str, "id": str, "int": int, "bool": bool}
_NUMBERS = ("int", "float", "decimal")
_USUAL = {
    "string": "text str varchar char character",
    "int": "integer bigint smallint int4 int8 int32 int64 long",
    "float": "double real number float4 float8 float64",
    "decimal": "numeric money bigdecimal",
    "bool": "boolean",
    "datetime": "timestamp timestamptz instant moment",
    "duration": "interval timedelta",
    "uuid": "guid uuid4 uuid7",
    "bytes": "blob binary bytea",
    "json": "jsonb any object",
    "list": "array tuple sequence",
    "set": "frozenset",
    "map": "dict mapping hash",
}
"""Names that other languages and databases have for the types."""
_SAMPLES = {
    "uuid7": "019af000-0000-7000-8000-000000000000",
    "uuid4": "00000000-0000-4000-8000-000000000000",
    "ksuid": "0ujtsYcgvSTl8PAuAdqWYSMnLOv",
}
"""An id of each kind that a record can make."""
_CONTAINERS = {"list": TypeKind.LIST, "set": TypeKind.SET, "map": TypeKind.MAP}


@dataclass(frozen=True, slots=True)
class Types:
    """The meaning of type names. `declared` holds the names of all records; `broken` holds those of enums with a mistake."""

    enums: Mapping[str, Enum]
    records: Mapping[str, RecordType]
    declared: frozenset[str]
    broken: frozenset[str]

    def names(self) -> list[str]:
        """Every name that can be a type."""
        return [*SCALARS, *_CONTAINERS, *self.enums, *self.declared]


def parse_duration(text: str) -> timedelta:
    """`14d`, `36h`, `90m`, `10s` or `500ms`; the shape was checked before."""
    match = re.fullmatch(r"([0-9]{1,9})(ms|s|m|h|d)", text)
    assert match is not None
    return timedelta(milliseconds=int(match[1]) * _UNITS[match[2]])


def resolve_fields(
    node: Node, types: Types, problems: Problems, *, owner: str, in_entity: bool
) -> dict[str, Field]:
    """The fields of an entity or record by name; those with a mistake are left out."""
    parent = node.get("fields")
    if parent is None:
        return {}
    reserved_node = node.get("reserved")
    reserved = set(reserved_node.texts()) if reserved_node is not None else set()
    found: dict[str, Field] = {}
    for child in parent.items():
        where = f"{owner}.{child.name}"
        reason = field_name_problem(child.name)
        if reason is not None:
            other = (
                ""
                if reason.startswith("generated")
                else f"; write another name, such as {quote(_longer(owner, child.name))}"
            )
            problems.add(child.key_position, f"a field cannot be called {quote(child.name)}: {reason}{other}")
            continue
        if child.name in reserved:
            problems.add(child.key_position, f"{where}: the name is reserved")
            continue
        field = _field(child, types, problems, where=where, in_entity=in_entity)
        if field is not None:
            found[child.name] = field
    return {name: _derived(field, found, types, parent, problems, owner) for name, field in found.items()}


def _longer(owner: str, name: str) -> str:
    """Another name for a field of an entity or record."""
    return f"{snake_case(owner)}_{name}"


def _field(  # noqa: C901 - one clause per attribute
    node: Node, types: Types, problems: Problems, *, where: str, in_entity: bool
) -> Field | None:
    type_ = _type(node, types, problems, where)
    if type_ is None:
        return None
    scalar = type_.name if type_.kind is TypeKind.SCALAR else ""
    optional, managed_node = node.child_flag("optional"), node.get("managed")
    default_node = node.get("default")
    clean = True

    def refuse(key: str, message: str) -> None:
        nonlocal clean
        clean = False
        child = node.get(key)
        problems.add(child.key_position if child is not None else node.position, f"{where}: {message}")

    for key in ("min", "max"):
        if node.has(key) and scalar not in _NUMBERS:
            refuse(key, f"{key} is for numbers")
    for key in ("digits", "places"):
        if node.has(key) and scalar != "decimal":
            refuse(key, f"{key} is for decimals")
    for key in ("min_length", "max_length"):
        if node.has(key) and scalar not in _SIZED and type_.kind not in _CONTAINERS.values():
            refuse(key, f"{key} is for strings, bytes, lists, sets and maps")
    for key in ("pattern", "trim"):
        if node.has(key) and scalar not in ("string", "id"):
            refuse(key, f"{key} is for strings")
    _bounds(node, refuse)
    pattern = node.get("pattern")
    if pattern is not None and clean:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                re.compile(strict_end(pattern.text))
        except (re.error, RecursionError, OverflowError, Warning) as error:
            refuse("pattern", f"the pattern cannot be used: {error}")
    managed = None
    if managed_node is not None:
        managed = Managed(managed_node.text)
        if not in_entity:
            refuse("managed", "only fields of entities can be managed")
        elif scalar != "datetime":
            refuse("managed", "a managed field must be a datetime")
        elif optional or node.has("default") or node.child_flag("secret"):
            refuse("managed", "a managed field cannot be optional or secret, or have a default")
    _old_name(node, refuse, in_entity=in_entity)
    _auto(node, scalar, pattern.text if pattern is not None else "", refuse)
    if optional and node.has("default"):
        refuse("default", "an optional field is null by default; leave out one of optional and default")
    if node.has("when_zero") and scalar not in ("int", "float"):
        refuse("when_zero", "when_zero is for numbers")
    default: object = None
    if default_node is not None and clean:
        default, message = _default(type_, default_node, types)
        if message:
            refuse("default", message)
    if not clean:
        return None
    number = _exactly if scalar == "decimal" else _number
    field = Field(
        name=node.name,
        type=type_,
        optional=optional,
        has_default=default_node is not None,
        default=default,
        secret=node.child_flag("secret"),
        min=number(node, "min"),
        max=number(node, "max"),
        digits=_whole(node, "digits"),
        places=_whole(node, "places"),
        min_length=_whole(node, "min_length"),
        max_length=_whole(node, "max_length"),
        pattern=node.child_text("pattern") or None,
        trim=node.child_flag("trim"),
        managed=managed,
        renamed_from=node.child_text("renamed_from") or None,
        auto=node.child_text("auto") or None,
        doc=node.child_text("doc"),
    )
    if isinstance(default, Decimal) and not fits(default, field):
        refuse("default", f"the default {quote(str(default))} is out of the field's own bounds")
        return None
    return field


def _auto(node: Node, scalar: str, pattern: str, refuse: Callable[[str, str], None]) -> None:
    kind = node.child_text("auto")
    if not kind:
        return
    if scalar not in ("id", "string", "uuid"):
        refuse("auto", "auto is for ids, strings and uuids")
    elif scalar == "uuid" and kind == "ksuid":
        refuse("auto", "a ksuid is text; use uuid7, or the type id")
    else:
        sample = _SAMPLES[kind]
        low, high = _number(node, "min_length"), _number(node, "max_length")
        if (low is not None and low > len(sample)) or (high is not None and high < len(sample)):
            refuse("auto", f"a {kind} of {len(sample)} characters is out of the field's own bounds")
        elif pattern and not re.search(strict_end(pattern), sample):
            refuse("auto", f"a {kind} such as {quote(sample)} does not match the field's own pattern")


def _old_name(node: Node, refuse: Callable[[str, str], None], *, in_entity: bool) -> None:
    old = node.child_text("renamed_from")
    if not old:
        return
    reason = field_name_problem(old)
    siblings = Node(node.document, node.path[:-1], _parent_value(node))
    if not in_entity:
        refuse("renamed_from", "only fields of entities can be renamed; add a field to the record instead")
    elif node.has("managed"):
        refuse("renamed_from", "a managed field is not stored under its name; leave renamed_from out")
    elif reason is not None:
        refuse("renamed_from", f"{quote(old)} cannot have been the name of a field: {reason}")
    elif old in siblings.names():
        refuse("renamed_from", f"there is still a field {quote(old)}; a renamed field replaces it")
    elif any(each.child_text("renamed_from") == old for each in _before(node, siblings)):
        refuse("renamed_from", f"another field already has the old name {quote(old)}")


def _before(node: Node, siblings: Node) -> list[Node]:
    """The usable siblings before a node."""
    return list(itertools.takewhile(lambda each: each.name != node.name, siblings.items()))


def _bounds(node: Node, refuse: Callable[[str, str], None]) -> None:
    for least, most in (("min", "max"), ("min_length", "max_length")):
        low, high = _number(node, least), _number(node, most)
        if low is not None and high is not None and low > high:
            refuse(least, f"{least} is greater than {most}")
    digits, places = _number(node, "digits"), _number(node, "places")
    if places is not None and (digits is None or digits < places):
        refuse("places", "places needs digits, the number of all digits, which is at least as large")
    if node.child_text("type") == "id" and _number(node, "max_length") == 0:
        refuse("max_length", "an id is never empty, so max_length is at least 1")
    for key in ("min", "max"):
        if node.child_text("type") == "int" and isinstance(_number(node, key), float):
            refuse(key, f"{key} of an int must be a whole number")
    for key in ("min", "max", "min_length", "max_length"):
        value = _number(node, key)
        if value is not None and (value != value or abs(value) > 2**63):
            refuse(key, f"{key} is out of range")


def _number(node: Node, key: str) -> int | float | None:
    child = node.get(key)
    value = child.value if child is not None else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _exactly(node: Node, key: str) -> Decimal | None:
    value = _number(node, key)
    return Decimal(repr(value)) if value is not None else None


def _whole(node: Node, key: str) -> int | None:
    value = _number(node, key)
    return int(value) if value is not None else None


def _type(node: Node, types: Types, problems: Problems, where: str) -> TypeRef | None:
    """The type written at `node`, which is a mapping with `type` and `of`, or a name."""
    named = node.get("type") if isinstance(node.value, dict) else node
    if named is None or not named.text:
        return None
    name = named.text
    of = node.get("of") if isinstance(node.value, dict) else None
    if name in _CONTAINERS:
        if of is None:
            if not node.has("of"):
                problems.add(
                    named.position,
                    f"{where}: a {name} needs the type of its {'values' if name == 'map' else 'elements'}; add 'of'",
                )
            return None
        inner = _type(of, types, problems, where)
        if inner is None:
            return None
        if name == "set" and (inner.kind not in (TypeKind.SCALAR, TypeKind.ENUM) or inner.name == "json"):
            problems.add(
                of.position, f"{where}: a set holds scalars or values of an enum; write list for {inner.name}"
            )
            return None
        return TypeRef(_CONTAINERS[name], name, inner)
    if of is not None:
        problems.add(of.key_position, f"{where}: 'of' is for lists, sets and maps")
        return None
    if name in SCALARS:
        return TypeRef(TypeKind.SCALAR, name)
    if name in types.enums:
        return TypeRef(TypeKind.ENUM, name)
    if name in types.declared:
        return TypeRef(TypeKind.RECORD, name)
    if name in types.broken:
        return None
    usual = next((type_ for type_, words in _USUAL.items() if name.lower() in words.split()), None)
    near = f"; use {quote(usual)}" if usual else suggestion(name, types.names())
    problems.add(named.position, f"{where}: no type {quote(name)}{near}")
    return None


def _default(type_: TypeRef, node: Node, types: Types) -> tuple[object, str]:
    """The default's value, or a message why it does not fit."""
    value = node.value
    if type_.kind is TypeKind.ENUM:
        known = types.enums[type_.name].values
        if value in known:
            return value, ""
        return None, f"{type_.name} has no value {quote(value)}{suggestion(str(value), known)}"
    if type_.kind in (TypeKind.LIST, TypeKind.SET):
        return ([], "") if value == [] else (None, f"the only default of a {type_.name} is []")
    if type_.kind is TypeKind.MAP:
        return ({}, "") if value == {} else (None, "the only default of a map is {}")
    if type_.kind is TypeKind.RECORD:
        return None, "a record has no default"
    if type_.name == "float" and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value), _out_of_bounds(node, value, type_)
    if type_.name in CONSTANTS and value is not None and not isinstance(value, bool | dict | list):
        text = value if isinstance(value, str) else repr(value)
        made = constant(type_.name, text)
        if made is None:
            return None, f"the default {quote(value)} is not {CONSTANTS[type_.name]}"
        return made, ""
    expected = _DEFAULTS.get(type_.name)
    if expected is None:
        return None, f"a {type_.name} has no default"
    if type(value) is not expected:
        return None, f"the default {quote(value)} is not of type {type_.name}"
    return value, _out_of_bounds(node, value, type_)


def _out_of_bounds(node: Node, value: object, type_: TypeRef) -> str:
    parent = Node(node.document, node.path[:-1], _parent_value(node))
    size = len(value) if isinstance(value, str) else value
    suffix = "_length" if isinstance(value, str) else ""
    low, high = _number(parent, f"min{suffix}"), _number(parent, f"max{suffix}")
    if isinstance(size, bool) or not isinstance(size, int | float):
        return ""
    if (low is not None and size < low) or (high is not None and size > high):
        return f"the default {quote(value)} is out of the field's own bounds"
    if type_.name == "id" and value == "":
        return "an id is never empty"
    pattern = parent.child_text("pattern")
    if isinstance(value, str) and pattern and not re.search(strict_end(pattern), value):
        return f"the default {quote(value)} does not match the field's own pattern"
    return ""


def _parent_value(node: Node) -> object:
    value: object = node.document.value
    for part in node.path[:-1]:
        assert isinstance(value, dict | list)
        value = value[part]  # type: ignore[index]
    return value


def _derived(
    field: Field, fields: Mapping[str, Field], types: Types, parent: Node, problems: Problems, owner: str
) -> Field:
    node = parent.get(field.name)
    rule = node.get("when_zero") if node is not None else None
    if rule is None:
        return field
    try:
        derived = compile_expression(rule.text, fields, types.enums, wants=field.type.name)
    except ExpressionError as error:
        if set(fields) == set(parent.names()):
            problems.add(rule.position, f"{owner}.{field.name}: when_zero: {error}")
        return field
    for name in derived.fields:
        other = parent.get(name)
        if other is not None and other.has("when_zero"):
            problems.add(
                rule.position,
                f"{owner}.{field.name}: when_zero: {name} has a when_zero itself; use plain fields",
            )
    return replace(field, when_zero=derived)
