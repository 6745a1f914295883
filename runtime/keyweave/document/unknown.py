"""Unknown members: a write keeps the members of a stored document that this schema does not know.

A newer schema may have added fields to the entity or to a nested record type. An unknown member is copied as
bytes and never decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec

from keyweave.document.compact import compact, compact_json, record_fields, stored_name
from keyweave.model.entity import Entity
from keyweave.model.record import Value

_Key: TypeAlias = Callable[[Any], Any]

_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode: Final = msgspec.json.encode


def unknown_members(document: bytes, known: frozenset[str]) -> bytes:
    """Return the members whose names are not in `known`, as JSON text with a leading comma; empty for none."""
    members = _members(document)
    if members.keys() <= known:
        return b""
    return b"".join(
        b"," + _encode(name) + b":" + bytes(raw) for name, raw in members.items() if name not in known
    )


def keep_unknown(entity: Entity[Any], body: bytes, snapshot: Any, old: Any, document: bytes) -> bytes:
    """Copy unknown members of nested records from the stored `document` into a new `body`.

    In a list, an element takes the unknown members of the stored element that it equals, or else of the one with the same
    identity: the key of the field's merge, or without a merge the values of the fields that have no default. Members of a
    stored element without such a partner are dropped: they never move to another element.
    """
    replaced: dict[str, bytes] = {}
    stored: dict[str, msgspec.Raw] | None = None
    for name in entity.nested:
        value, before = getattr(snapshot, name), getattr(old, name)
        if value is None or before is None:
            continue
        stored = stored or _members(document)
        raw = stored.get(stored_name(name))
        # A value that encodes to the stored bytes has no unknown members, which is the common case.
        if raw is None or bytes(raw) == compact_json(before):
            continue
        rule = entity.merges.get(name)
        merged = _merge(value, before, bytes(raw), rule.key if rule is not None else None)
        if merged is not None:
            replaced[stored_name(name)] = merged
    if not replaced:
        return body
    members = {name: replaced.get(name, raw) for name, raw in _members(body).items()}
    return b"{" + b",".join(_encode(name) + b":" + bytes(raw) for name, raw in members.items()) + b"}"


def _merge(value: Any, before: Any, raw: bytes, key: _Key | None = None) -> bytes | None:
    """Return the JSON of `value` with the unknown members of `raw`, or None when there are none to keep.

    Args:
        before: `raw` as this schema decodes it.
        key: returns the identity of an element, if `value` is a list that has a merge.
    """
    if isinstance(value, Value) and type(value) is type(before):
        stored = _members(raw)
        extra = {name: bytes(part) for name, part in stored.items() if name not in value.__struct_fields__}
        inner = {
            name: _merge(getattr(value, name), getattr(before, name), bytes(stored[name]))
            for name in record_fields(type(value))
            if name in stored
        }
        if not extra and not any(inner.values()):
            return None
        parts = {name: inner.get(name) or bytes(part) for name, part in _members(compact_json(value)).items()}
        return _object(parts | extra)
    if isinstance(value, dict) and isinstance(before, dict):
        stored = _members(raw)
        inner = {
            name: _merge(value[name], before[name], bytes(stored[name])) for name in value if name in before
        }
        if not any(inner.values()):
            return None
        return _object({name: inner.get(name) or compact_json(part) for name, part in value.items()})
    if isinstance(value, list) and isinstance(before, list):
        return _merge_list(value, before, [bytes(part) for part in _elements(raw)], key)
    return None


def _object(parts: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(_encode(name) + b":" + part for name, part in parts.items()) + b"}"


def _merge_list(value: list[Any], before: list[Any], raw: list[bytes], key: _Key | None) -> bytes | None:
    if all(_merge(element, element, part) is None for element, part in zip(before, raw, strict=True)):
        return None
    free = list(range(len(before)))
    partners: dict[int, int] = {}
    for index, element in enumerate(value):
        equal = next((each for each in free if before[each] == element), None)
        if equal is not None:
            free.remove(equal)
            partners[index] = equal
    new = _places(value, key or _required)
    for identity, places in _places(before, key or _required).items():
        # Without a merge, several elements may have one identity, and then it distinguishes none of them from the others.
        if identity in new and (key is not None or len(places) == len(new[identity]) == 1):
            ours = (each for each in new[identity] if each not in partners)
            partners |= dict(zip(ours, (each for each in places if each in free), strict=False))
    parts = []
    for index, element in enumerate(value):
        partner = partners.get(index)
        merged = None if partner is None else _merge(element, before[partner], raw[partner])
        parts.append(merged or compact_json(element))
    return b"[" + b",".join(parts) + b"]"


def _places(elements: list[Any], key: _Key) -> dict[Any, list[int]]:
    """Return the positions of the elements by identity; elements without one are left out."""
    found: defaultdict[Any, list[int]] = defaultdict(list)
    for index, element in enumerate(elements):
        identity = key(element) if isinstance(element, Value) else None
        if identity is not None:
            found[identity].append(index)
    return found


def _required(element: Value) -> bytes | None:
    """Return the JSON of the fields that have no default; None when every field has one."""
    names = [each.name for each in msgspec.structs.fields(element) if each.required]
    return _encode([compact(getattr(element, name)) for name in names]) if names else None
