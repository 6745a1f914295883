"""One case uses every key of the language; together the cases use every type, option and form of expression."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from importlib import resources
from typing import Any

import yaml
from jsonschema import Draft7Validator

from keyweave_generator import expression_compile
from keyweave_generator.load import load_sources
from keyweave_generator.model import SCALARS, Expression, Field, MergeRule, Schema, TypeKind, TypeRef
from tests.generator.accepted.corpus import NAMES, sources

LANGUAGE: dict[str, Any] = json.loads(
    resources.files("keyweave_generator").joinpath("schema.json").read_text(encoding="utf-8")
)
SCHEMAS: list[Schema] = [load_sources(sources(name)) for name in NAMES]
TYPES = {*SCALARS, "enum", "record", "list", "set", "map"}
LOOKED_UP = {*SCALARS, "enum"} - {"float", "json"}

NOT_USED: dict[str, str] = {"#field.auto = uuid4": "An entity has one key; the case `sensors` has all kinds."}
"""What the case `complete`, which has a golden tree, does not use, with the reason."""


def declared(rule: Any, place: str = "#") -> Iterator[str]:
    """Everything that the JSON Schema offers: keys, values of enums, and forms that a value can have."""
    yield from (f"{place}.{key}" for key in rule.get("properties", ()))
    yield from (f"{place} = {value}" for value in rule.get("enum", ()))
    if isinstance(rule.get("type"), list):
        yield from (f"{place} as {form}" for form in rule["type"])
    for place_inside, inside in parts(rule, place):
        yield from declared(inside, place_inside)
    for name, definition in rule.get("definitions", {}).items():
        yield from declared(definition, f"#{name}")


def parts(rule: Any, place: str) -> Iterator[tuple[str, Any]]:
    """The rules inside a rule, with their places; references are not followed."""
    yield from ((f"{place}.{key}", inside) for key, inside in rule.get("properties", {}).items())
    yield from ((place, inside) for inside in rule.get("allOf", ()))
    for key in ("then", "else", "items", "additionalProperties"):
        if isinstance(rule.get(key), dict):
            yield f"{place}/{key}", rule[key]


def used(value: Any, rule: Any, place: str = "#") -> Iterator[str]:
    """What a value uses of everything that is `declared`."""
    if "$ref" in rule:
        name = rule["$ref"].removeprefix("#/definitions/")
        yield from used(value, LANGUAGE["definitions"][name], f"#{name}")
        return
    if isinstance(value, dict):
        yield from (f"{place}.{key}" for key in value if key in rule.get("properties", ()))
    yield from (f"{place} = {each}" for each in rule.get("enum", ()) if each == value)
    forms: dict[type, str] = {dict: "object", list: "array", str: "string"}
    if isinstance(rule.get("type"), list):
        yield f"{place} as {forms[type(value)]}"
    for place_inside, inside in parts(rule, place):
        key = place_inside.removeprefix(place)[1:]
        if key in ("then", "else") and "if" in rule:
            if Draft7Validator(rule["if"]).is_valid(value) == (key == "then"):
                yield from used(value, inside, place_inside)
        elif key == "items":
            yield from (found for each in listed(value) for found in used(each, inside, place_inside))
        elif key == "additionalProperties" and isinstance(value, dict):
            others = [name for name in value if name not in rule.get("properties", ())]
            yield from (found for name in others for found in used(value[name], inside, place_inside))
        elif key == "additionalProperties":
            continue
        elif not key:
            yield from used(value, inside, place)
        elif key in value:
            yield from used(value[key], inside, place_inside)


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def test_every_key_and_option_of_the_language_is_used_by_one_case() -> None:
    everything = set(declared(LANGUAGE))
    found = {
        name: {place for text in sources(name).values() for place in used(yaml.safe_load(text), LANGUAGE)}
        for name in NAMES
    }
    assert set().union(*found.values()) <= everything
    assert sorted(everything - found["complete"]) == sorted(NOT_USED)


def test_the_walk_through_the_language_sees_what_it_should() -> None:
    everything = set(declared(LANGUAGE))
    assert len(everything) > 80
    assert everything > {
        "#field.when_zero",
        "#field.managed = updated",
        "#entityFile.references/additionalProperties.on_delete = cascade",
        "#entityFile.merge/additionalProperties.rules/additionalProperties = union",
        "#normalize as array",
        "#normalize/items = trim",
        "#element as object",
        "#packageFile.namespace.tenant",
    }
    assert set(used({"type": "int", "min": 1}, LANGUAGE["definitions"]["field"], "#field")) == {
        "#field.type",
        "#field.min",
    }


def kind(type_: TypeRef) -> str:
    return type_.name if type_.kind is TypeKind.SCALAR else type_.kind.value


def elements(type_: TypeRef) -> Iterator[tuple[str, str]]:
    """(what holds the elements, what they are), however deep."""
    if type_.of is not None:
        yield type_.kind.value, kind(type_.of)
        yield from elements(type_.of)


def all_fields() -> list[Field]:
    fields = [field for schema in SCHEMAS for entity in schema.entities for field in entity.fields]
    return fields + [field for schema in SCHEMAS for record in schema.records for field in record.fields]


def test_every_type_stands_alone_and_optional_and_in_lists_and_maps() -> None:
    fields = all_fields()
    assert {kind(field.type) for field in fields if not field.optional} == TYPES
    assert {kind(field.type) for field in fields if field.optional} == TYPES
    inside = {pair for field in fields for pair in elements(field.type)}
    in_sets = {("set", each) for each in {*SCALARS, "enum"} - {"json"}}
    assert inside == {(holder, each) for holder in ("list", "map") for each in TYPES} | in_sets


def test_every_type_that_can_have_a_default_has_one() -> None:
    defaults = {kind(field.type) for field in all_fields() if field.has_default}
    without = {"datetime", "duration", "bytes", "json", "record"}
    assert defaults == TYPES - without


def test_every_type_is_looked_up_and_every_order_is_used() -> None:
    viewed, ordered, claimed = set(), set(), set()
    for entity in (entity for schema in SCHEMAS for entity in schema.entities):
        kinds = {field.name: kind(field.type) for field in entity.fields}
        viewed |= {kinds[name] for view in entity.views for name in view.fields}
        claimed |= {kinds[name] for unique in entity.uniques for name in unique.fields}
        ordered |= {
            kinds[view.order_field] if view.order_field else view.order.value for view in entity.views
        }
    assert viewed == LOOKED_UP
    assert claimed == LOOKED_UP
    assert ordered == {
        *("created", "revision", "int", "float", "decimal"),
        *("datetime", "date", "time", "duration", "string", "id"),
    }


def test_every_merge_rule_is_used_with_every_type_that_it_fits() -> None:
    met: dict[MergeRule, set[str]] = {rule: set() for rule in MergeRule}
    keys = set()
    for schema in SCHEMAS:
        records = {record.name: record for record in schema.records}
        for merge in (merge for entity in schema.entities for merge in entity.merges):
            types = {field.name: field.type for field in records[merge.record].fields}
            keys |= {kind(types[name]) for name in merge.key}
            for name, rule in merge.rules.items():
                of = types[name].of
                united = rule is MergeRule.UNION and of is not None and types[name].kind is TypeKind.LIST
                met[rule].add(kind(of) if united and of is not None else kind(types[name]))
    ordered = {"int", "float", "decimal", "datetime", "date", "time", "duration", "string", "id"}
    assert keys == {"string", "id", "int", "decimal", "bool", "date", "time", "uuid", "enum"}
    assert met[MergeRule.SUM] == {"int", "float", "decimal"}
    assert met[MergeRule.MIN] == met[MergeRule.MAX] == ordered
    assert met[MergeRule.UNION] == {"string", "id", "int", "enum", "set"}
    assert met[MergeRule.FIRST] >= {"record", "enum", "bool", "map", "bytes", "json", "list"}


def all_expressions() -> list[Expression]:
    return [
        rule
        for schema in SCHEMAS
        for entity in schema.entities
        for rule in (
            *(check.rule for check in entity.checks),
            *([entity.retention.when] if entity.retention is not None and entity.retention.when else []),
        )
    ] + [field.when_zero for field in all_fields() if field.when_zero is not None]


def test_every_form_of_expression_is_used() -> None:
    nodes = [node for rule in all_expressions() for node in ast.walk(ast.parse(rule.source, mode="eval"))]
    operators = {type(node) for node in nodes}
    assert {*expression_compile.COMPARE, *expression_compile.ARITHMETIC} <= operators
    assert {ast.And, ast.Or, ast.Not, ast.USub, ast.List, ast.Call, ast.Attribute} <= operators
    assert {type(node.value) for node in nodes if isinstance(node, ast.Constant)} == {int, float, str}
    assert {"true", "false", "null"} <= {node.id for node in nodes if isinstance(node, ast.Name)}
    assert any(isinstance(node, ast.Compare) and len(node.ops) > 1 for node in nodes)
    measured = {
        kind(field.type)
        for entity in (entity for schema in SCHEMAS for entity in schema.entities)
        for field in entity.fields
        for check in entity.checks
        if f"len({field.name})" in check.rule.source
    }
    assert measured == {"string", "bytes", "list", "set", "map"}
    sets_and_values = {
        f"{node.value.id}.{node.attr}"
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    assert {"Kind.with_guests", "Kind.cleaning", "OrderState.closed"} <= sets_and_values
