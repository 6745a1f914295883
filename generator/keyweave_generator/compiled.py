"""The expressions of an old schema as its generated package evaluates them.

An older generator may have given the same text another meaning. The manifest of the package that it wrote shows which one.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from typing import Any

from .model import Entity, Expression, Schema


def as_generated(schema: Schema, manifests: Iterable[bytes]) -> Schema:
    """The schema with the meaning that its expressions have in the package of one of `manifests`, if that is its package."""
    for text in manifests:
        try:
            found = json.loads(text)
            if found["package"] == schema.package:
                known = {entity["name"]: entity for entity in found["schema"]["entities"]}
                entities = tuple(_entity(entity, known.get(entity.name, {})) for entity in schema.entities)
                return dataclasses.replace(schema, entities=entities)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # some other manifest
    return schema


def _entity(entity: Entity, known: dict[str, Any]) -> Entity:
    rules = {each["name"]: each["rule"] for each in known.get("checks", ())}
    checks = tuple(
        dataclasses.replace(check, rule=_expression(check.rule, rules.get(check.name)))
        for check in entity.checks
    )
    retention = entity.retention
    if retention is not None:
        when = retention.when
        if when is not None:
            when = _expression(when, known.get("retention", {}).get("when"))
        retention = dataclasses.replace(retention, when=when)
    return dataclasses.replace(entity, checks=checks, retention=retention)


def _expression(expression: Expression, known: dict[str, Any] | None) -> Expression:
    if known is None or known["source"] != expression.source:
        return expression
    return dataclasses.replace(expression, python=known["python"])
