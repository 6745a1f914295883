"""Records as plain values and as text for people. The value of a secret field is never in either."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from keyweave.model.record import Value

HIDDEN: Final = "<secret>"
"""What is shown instead of a secret value."""


def plain(value: Any) -> Any:
    """Return a record, or a value of a field, as JSON has it, with `HIDDEN` for each secret field."""
    if isinstance(value, Value):
        secret = type(value).__secret_fields__
        return {
            name: HIDDEN if name in secret else plain(getattr(value, name))
            for name in value.__struct_fields__
        }
    if isinstance(value, Mapping):
        return {key_shown(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each) for each in value]
    return msgspec.to_builtins(value)


def key_shown(key: object) -> str:
    """Return the key of a map as JSON has it."""
    return str(msgspec.to_builtins(key, str_keys=True))


def one_line(value: Any) -> str:
    """Return a plain value as one printable line: text as it is, null as `-`, anything else as JSON."""
    if value is None:
        return "-"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
