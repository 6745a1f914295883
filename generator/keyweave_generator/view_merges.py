"""View models of merges: how two entries of a keyed list become one."""

from __future__ import annotations

from .model import Entity, Merge, MergeRule, Schema
from .names import snake_case
from .view_fields import normalizing_steps
from .view_models import MergeView

COMBINE = {
    MergeRule.SUM: "add",
    MergeRule.MIN: "least",
    MergeRule.MAX: "greatest",
    MergeRule.UNION: "union",
    MergeRule.FIRST: "first",
}


def merge_view(merge: Merge, entity: Entity, schema: Schema) -> MergeView:
    """The functions and the method of one merge."""
    record = next(record for record in schema.records if record.name == merge.record)
    parts = []
    for name in merge.key:
        place = f"value.{name}"
        steps = merge.normalize.get(name, ())
        if "lower" in steps and "trim" in steps:
            place = f"compact({place})"
        elif "lower" in steps:
            place = f"{place}.lower()"
        elif "trim" in steps:
            place = f"{place}.strip()"
        parts.append(
            place
            if next(f for f in record.fields if f.name == name).type.name in ("string", "id")
            else f"str({place})"
        )
    combines, tidies = [], []
    for name, rule in merge.rules.items():
        combines.append(f"left.{name} = {COMBINE[rule]}(left.{name}, right.{name})")
        if rule is MergeRule.UNION:
            tidies.append(f"value.{name} = union(value.{name}, None)")
    normalizer = (
        f"normalize_{snake_case(record.name)}" if normalizing_steps(record.fields, schema) else "None"
    )
    return MergeView(
        merge.field,
        merge.record,
        f"{snake_case(entity.name).upper()}_{merge.field.upper()}",
        f"({', '.join(parts)},)",
        tuple(combines),
        tuple(tidies),
        normalizer,
    )
