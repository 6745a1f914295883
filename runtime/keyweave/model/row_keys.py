"""The keys of an entity's rows in their three forms: as callers give them, as ids, and as messages show them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from keyweave.errors import ValidationError
from keyweave.model.identity import id_text, joined_id, key_of_id, parts_of_id
from keyweave.model.keytext import check_kind, check_value

LONGEST_KEY_SHOWN: Final = 100
"""Characters of a key in a message."""


class RowKeys:
    """The part of the descriptor of an entity that knows its keys; `keyweave.model.entity` describes the attributes."""

    __slots__ = ()

    name: str
    key: str
    key_kind: str
    parts: Mapping[str, type]
    partition_by: str
    filters: Mapping[str, str]
    trimmed: tuple[str, ...]
    normalize_key: Callable[[Any], str] | None

    def key_of(self, record: Any) -> str:
        """Return the id of a record, as keys, entries and cursors write it."""
        if self.key_kind == "str":
            key: str = getattr(record, self.key)
            return key
        if self.parts:
            return joined_id(*[getattr(record, name) for name in self.parts])
        return id_text(getattr(record, self.key))

    def key_in(self, record: Any) -> Any:
        """Return the key of a record as callers give it: the value of the key field, or the tuple of those of several."""
        if self.parts:
            return tuple([getattr(record, name) for name in self.parts])
        return getattr(record, self.key)

    def key_value(self, text: str) -> Any:
        """Return the key with the id `text`, as callers give it.

        Raises:
            ValueError: no key has this id.
        """
        if self.key_kind == "str":
            return text
        if self.parts:
            return parts_of_id(text, tuple(self.parts.values()))
        return key_of_id(text, int if self.key_kind == "int" else UUID)

    def stored_key(self, key: Any) -> str:
        """Return the id of a row by the key that a caller gives. A text is checked where it is used.

        Raises:
            ValidationError: keys are no texts, and this one has another type, or another number of parts.
        """
        if self.parts:
            return self._joined_key(key)
        if self.key_kind != "str":
            check_kind(key, self.key_kind, entity=self.name, field=self.key)
            return id_text(key)
        normalize = self.normalize_key
        return normalize(key) if normalize is not None else key

    def _joined_key(self, key: Any) -> str:
        """Return the id of a row by a composite key."""
        if not isinstance(key, tuple) or len(key) != len(self.parts):
            rule = f"expected a key of {len(self.parts)} parts: {', '.join(self.parts)}"
            raise ValidationError(f"{self.name}: {rule}", entity=self.name, rule=rule)
        for (name, kind), value in zip(self.parts.items(), key, strict=True):
            if type(value) is not kind:
                text = "str" if issubclass(kind, str) else kind.__name__
                check_kind(value, text, entity=self.name, field=name)
        trimmed = self.trimmed
        if trimmed:
            parts = zip(self.parts, key, strict=True)
            key = tuple([value.strip() if name in trimmed else value for name, value in parts])
        return joined_id(*key)

    def stored_keys(self, keys: Any) -> Any:
        """Return the ids of rows by keys that a caller gives; what is not several keys stays as it is."""
        normalize = self.normalize_key if self.key_kind == "str" else self.stored_key
        if normalize is None or isinstance(keys, str) or not isinstance(keys, Iterable):
            return keys
        return [normalize(key) for key in keys]

    def partition_value(self, value: Any) -> Any:
        """Return a value of the field that selects the partition, as rows have it.

        Raises:
            ValidationError: the field cannot have it.
        """
        name = self.partition_by
        if (
            type(value) is str
            and value.isascii()
            and self.filters[name] == "str"
            and name not in self.trimmed
        ):
            return value  # nearly every value, which costs no call
        value = check_value(value, self.filters[name], entity=self.name, field=name)
        return value.strip() if name in self.trimmed else value

    def shown(self, key: str) -> Any:
        """Return how errors give a key by its id: text, or the tuple of the parts of a composite key.

        Enum members and UUIDs in it are text. An id that no key has stays as it is.
        """
        if not key or self.key_kind == "str":
            return key
        try:
            value = self.key_value(key)
        except ValueError:
            return key
        return tuple(map(_shown_part, value)) if self.parts else str(value)

    def row(self, key: str) -> str:
        """Return how messages name a row: by the entity, and by the key if the caller gave one."""
        return f"{self.name} {self.key_shown(key)}" if key else self.name

    def key_shown(self, key: str) -> str:
        """Return how messages show a key by its id."""
        shown = self.shown(key)
        if isinstance(shown, str):
            return _shortened(shown)
        parts = [_shortened(part) if isinstance(part, str) else repr(part) for part in shown]
        return f"({', '.join(parts)})"


def _shortened(text: str) -> str:
    return repr(text if len(text) <= LONGEST_KEY_SHOWN else f"{text[:LONGEST_KEY_SHOWN]}...")


def _shown_part(value: Any) -> Any:
    return value if type(value) is int else str(value)
