"""The functions that merge two elements of a keyed list into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from keyweave_generator.literal import tuple_of
from keyweave_generator.model import Entity, Merge, MergeRule, Schema

from .identifiers import merge_name, normalizer_name
from .imports import Imports
from .normalizers import normalized_fields

_COMBINE: Final = {
    MergeRule.SUM: "add",
    MergeRule.MIN: "least",
    MergeRule.MAX: "greatest",
    MergeRule.UNION: "union",
    MergeRule.FIRST: "first",
}
"""The function of the runtime for each rule."""


@dataclass(frozen=True, slots=True)
class MergeFunctions:
    """The descriptor of a merge and the functions that it names. `record` and `normalizer` are texts."""

    constant: str
    field: str
    record: str
    key: str
    combines: tuple[str, ...]
    tidies: tuple[str, ...]
    normalizer: str


def merge_functions(merge: Merge, entity: Entity, schema: Schema, imports: Imports) -> MergeFunctions:
    """The view of one merge, in the module of its entity."""
    imports.runtime("Merge")
    models = imports.use("..", "models")
    record = next(each for each in schema.records if each.name == merge.record)
    types = {field.name: field.type.name for field in record.fields}
    functions = {name: _combine(rule, types[name]) for name, rule in merge.rules.items()}
    keys = [_key_part(name, types[name], merge.normalize.get(name, ()), imports) for name in merge.key]
    combines = [
        f"left.{name} = {imports.runtime(function)}(left.{name}, right.{name})"
        for name, function in functions.items()
    ]
    tidies = [
        f"value.{name} = union(value.{name}, None)"
        for name, function in functions.items()
        if function == "union"
    ]
    normalized = normalized_fields(record.fields, schema)
    return MergeFunctions(
        merge_name(entity, merge.field),
        merge.field,
        f"{models}.{merge.record}",
        tuple_of(keys),
        tuple(combines),
        tuple(tidies),
        f"{models}.{normalizer_name(record.name)}" if normalized else "None",
    )


def _combine(rule: MergeRule, type_name: str) -> str:
    """The function of the runtime that makes one value of two."""
    if rule is MergeRule.SUM and type_name == "decimal":
        return "add_exact"
    return "union_of_sets" if rule is MergeRule.UNION and type_name == "set" else _COMBINE[rule]


def _key_part(name: str, type_name: str, steps: tuple[str, ...], imports: Imports) -> str:
    """The key text of one key field of an element called `value`."""
    text = f"value.{name}"
    if "lower" in steps and "trim" in steps:
        text = f"{imports.runtime('compact')}({text})"
    elif "lower" in steps:
        text = f"{text}.lower()"
    elif "trim" in steps:
        text = f"{text}.strip()"
    if type_name in ("decimal", "date", "time", "uuid"):
        return f"{imports.runtime('key_text')}({text})"
    return text if type_name in ("string", "id") else f"str({text})"
