"""The manifest of a generated package: which files it has, and the schema that they were made from."""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, Final

from .model import Schema
from .modules.text import micros
from .stamp import FORMAT, NOTICE

TEXTS: Final = frozenset({"doc", "why"})
"""Attributes that explain the schema to people. Neither code nor data depend on them."""


def fingerprint(schema: Schema) -> str:
    """A digest of the schema, without comments, positions and texts."""
    return hashlib.sha256(json.dumps(_plain(schema, TEXTS), sort_keys=True).encode()).hexdigest()


def manifest(schema: Schema, paths: Iterable[str]) -> str:
    """The manifest of a package that has the files at `paths`."""
    content = {
        "comment": f"{NOTICE}. Do not edit.",
        "format": FORMAT,
        "package": schema.package,
        "fingerprint": fingerprint(schema),
        "files": sorted(paths),
        "schema": _plain(schema),
    }
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _plain(value: Any, without: frozenset[str] = frozenset()) -> Any:
    """Values of the resolved schema as JSON, without the attributes that `without` names."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name), without)
            for field in dataclasses.fields(value)
            if field.compare
            and field.name not in without
            and getattr(value, field.name) not in (None, (), "")
        }
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, timedelta):
        return micros(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(item, without) for name, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item, without) for item in value]
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return str(value)
