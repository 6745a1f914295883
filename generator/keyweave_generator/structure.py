"""The shape of a schema file: which keys there are, and what kind of value each takes.

The shape itself is `schema.json`, which editors use too. This module reports each violation in one
sentence, with its position. It knows no names of fields, types or entities; `resolve` looks them up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from typing import Any, Final

from jsonschema import Draft7Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from .problems import Problems, listing, quote, suggestion
from .source_document import Document, KeyPath

PACKAGE_FILE: Final = "packageFile"
ENTITY_FILE: Final = "entityFile"

_TYPES: Final = {
    "string": "a string",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
}
_OWNERS: Final = {
    "groups": "a group",
    "enums": "an enum",
    "values": "a value",
    "sets": "a set",
    "records": "a record",
    "fields": "a field",
    "unique": "a unique constraint",
    "views": "a view",
    "references": "a field",
    "checks": "a check",
    "merge": "a field",
}


def json_schema(kind: str | None = None) -> dict[str, Any]:
    """Return the draft-07 JSON Schema of any schema file, or that of one kind: "package" or "entity"."""
    text = resources.files(__package__).joinpath("schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    if kind is not None:
        for key in ("if", "then", "else", "type"):
            del schema[key]
        schema["allOf"] = [{"$ref": f"#/definitions/{kind}File"}]
    return schema


def check_structure(document: Document, definition: str, problems: Problems) -> Document:
    """Report each way in which `document` differs in shape from `definition`; return it with these paths marked."""
    broken: set[KeyPath] = set()
    for error in _validator(definition).iter_errors(document.value):
        path = tuple(error.absolute_path)
        if not document.is_broken(path):
            broken.update(_report(document, path, error, problems))
    return document.without(frozenset(broken))


@cache
def _validator(definition: str) -> Any:
    schema = json_schema()
    rooted = {"definitions": schema["definitions"], "allOf": [{"$ref": f"#/definitions/{definition}"}]}
    return extend(Draft7Validator, {"pattern": _one_line_pattern})(rooted)  # type: ignore[no-untyped-call]


def _one_line_pattern(_: Any, pattern: str, value: object, __: Any) -> Iterator[ValidationError]:
    """As draft-07's `pattern`, but `$` does not accept a line break at the end, which Python's `re` would."""
    if isinstance(value, str) and ("\n" in value or not re.search(pattern, value)):
        yield ValidationError("does not match")


def _report(document: Document, path: KeyPath, error: ValidationError, problems: Problems) -> set[KeyPath]:
    """Report one violation and return the paths that later stages must not use."""
    rule = str(error.validator)
    if rule == "additionalProperties":
        return _unknown_keys(document, path, error, problems)
    if rule == "required":
        _missing_key(document, path, error, problems)
        return set()
    if "propertyNames" in error.absolute_schema_path:
        name = (*path, str(error.instance))
        problems.add(document.key_position(name), _bad_name(path, error))
        return {name}
    if rule == "uniqueItems":
        items: Any = error.instance
        index = _second(items)
        where = (*path, index)
        problems.add(document.position(where), f"{quote(items[index])} is listed twice")
        return {path}
    problems.add(document.position(path), _sentence(rule, error, path))
    return {path}


def _unknown_keys(
    document: Document, path: KeyPath, error: ValidationError, problems: Problems
) -> set[KeyPath]:
    rule: Any = error.schema
    mapping: Any = error.instance
    known: Mapping[str, object] = rule["properties"]
    unknown = [key for key in mapping if key not in known]
    for key in unknown:
        if " " in key and mapping[key] is None:
            hint = "; text with a comma, inside braces, must be in quotes"
        else:
            near = suggestion(key, [name for name in known if name not in mapping])
            hint = near or f"; the keys here are {listing(known)}"
        problems.add(document.key_position((*path, key)), f"unknown key {quote(key)}{hint}")
    return {(*path, key) for key in unknown}


def _missing_key(document: Document, path: KeyPath, error: ValidationError, problems: Problems) -> None:
    present: Mapping[str, object] = error.instance  # type: ignore[assignment]
    for key in error.validator_value:  # type: ignore[union-attr]
        if key not in present:
            problems.add(document.key_position(path), f"the key {quote(key)} is missing")


def _bad_name(path: KeyPath, error: ValidationError) -> str:
    owner = _OWNERS.get(str(path[-1]) if path else "", "a key")
    name = str(error.instance)
    return f"{quote(name)} cannot be {owner}'s name; {_description(error)}{_respelled(name, error)}"


def _respelled(name: str, error: ValidationError) -> str:
    """Suggest the same words in the case that the pattern requires."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+|(?<=[a-z0-9])(?=[A-Z])", name) if word]
    if not words or not name.isascii():
        return ""
    pattern = str(error.validator_value)
    for respelled in ("_".join(words).lower(), "".join(word[0].upper() + word[1:] for word in words)):
        if respelled != name and re.search(pattern, respelled):
            return f" (did you mean {respelled!r}?)"
    return ""


def _description(error: ValidationError) -> str:
    schema: Mapping[str, str] = error.schema  # type: ignore[assignment]
    return f"write {schema['description']}"


def _sentence(rule: str, error: ValidationError, path: KeyPath) -> str:
    value, limit = error.instance, error.validator_value
    if rule == "type":
        kinds = [limit] if isinstance(limit, str) else list(limit)  # type: ignore[arg-type]
        expected = " or ".join(_TYPES[str(kind)] for kind in kinds)
        return f"expected {expected}, not {quote(value)}{_type_hint(kinds, value)}"
    if rule == "enum":
        choices = [str(choice) for choice in limit]  # type: ignore[union-attr]
        near = suggestion(value, choices) if isinstance(value, str) else ""
        return f"{quote(value)} is not one of {listing(choices)}{near}"
    if rule == "pattern":
        name = str(value)
        return f"{quote(name)} is not valid here; {_description(error)}{_respelled(name, error)}"
    return _size_sentence(rule, value, limit, path)


def _type_hint(kinds: list[Any], value: object) -> str:
    if (
        kinds == ["boolean"]
        and isinstance(value, str)
        and value.lower() in {"yes", "on", "y", "no", "off", "n"}
    ):
        return f"; write {'true' if value.lower() in {'yes', 'on', 'y'} else 'false'}"
    if kinds == ["string"] and isinstance(value, bool | int | float):
        return "; put it in quotes"
    if value is None:
        return "; a value is missing"
    return ""


def _size_sentence(rule: str, value: object, limit: object, path: KeyPath) -> str:
    match rule:
        case "minimum":
            return f"{quote(value)} is too small; the minimum is {limit}"
        case "maximum":
            return f"{quote(value)} is too large; the maximum is {limit}"
        case "minProperties" | "minItems" if limit == 1:
            return f"{quote(path[-1] if path else '')} must not be empty"
        case "minLength":
            return "must not be empty"
        case "maxLength":
            return f"longer than {limit} characters"
        case "minItems" | "maxItems":
            bound = "at least" if rule == "minItems" else "at most"
            return f"expected {bound} {limit} elements, not {len(value)}"  # type: ignore[arg-type]
    return f"{quote(value)} is not allowed here"


def _second(items: Any) -> int:
    """Index of the first element that equals an earlier one."""
    for index, item in enumerate(items):
        if item in items[:index]:
            return index
    return 0
