"""Unknown members: a write keeps the members of a stored document that this schema does not know.

A newer schema may have added fields to the entity or to a nested record type. An unknown member is copied as
bytes and never decoded.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keyweave.document.compact import compact, compact_json
from keyweave.model.entity import Entity

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

    In a list, an element takes the unknown members of the stored element that it equals, or else of the unmatched
    stored element at the same index.
    """
    replaced: dict[str, bytes] = {}
    stored: dict[str, msgspec.Raw] | None = None
    for name in entity.nested:
        value, before = getattr(snapshot, name), getattr(old, name)
        if value is None or before is None:
            continue
        stored = stored or _members(document)
        raw = stored.get(name)
        # A value that encodes to the stored bytes has no unknown members, which is the common case.
        if raw is None or bytes(raw) == compact_json(before):
            continue
        merged = _merge(msgspec.to_builtins(compact(value)), msgspec.to_builtins(compact(before)), bytes(raw))
        if merged is not None:
            replaced[name] = merged
    if not replaced:
        return body
    members = {name: replaced.get(name, raw) for name, raw in _members(body).items()}
    return b"{" + b",".join(_encode(name) + b":" + bytes(raw) for name, raw in members.items()) + b"}"


def _merge(value: Any, before: Any, raw: bytes) -> bytes | None:
    """Return the JSON of `value` with the unknown members of `raw`, or None when there are none to keep.

    `before` is `raw` as this schema decodes it, so a member of `raw` that `before` lacks is unknown.
    """
    if isinstance(value, dict) and isinstance(before, dict):
        stored = _members(raw)
        extra = {
            name: bytes(part) for name, part in stored.items() if name not in before and name not in value
        }
        inner = {
            name: _merge(value[name], before[name], bytes(part))
            for name, part in stored.items()
            if name in value and name in before
        }
        if not extra and not any(inner.values()):
            return None
        parts = {name: inner.get(name) or _encode(part) for name, part in value.items()} | extra
        return b"{" + b",".join(_encode(name) + b":" + part for name, part in parts.items()) + b"}"
    if isinstance(value, list) and isinstance(before, list):
        return _merge_list(value, before, _elements(raw))
    return None


def _merge_list(value: list[Any], before: list[Any], raw: list[msgspec.Raw]) -> bytes | None:
    if all(_merge(element, element, bytes(part)) is None for element, part in zip(before, raw, strict=True)):
        return None
    partners: list[int | None] = []
    free = list(range(len(before)))
    for element in value:
        partner = next((index for index in free if before[index] == element), None)
        if partner is not None:
            free.remove(partner)
        partners.append(partner)
    for index, partner in enumerate(partners):
        if partner is None and index in free:
            free.remove(index)
            partners[index] = index
    parts = []
    for element, partner in zip(value, partners, strict=True):
        merged = None if partner is None else _merge(element, before[partner], bytes(raw[partner]))
        parts.append(merged or _encode(element))
    return b"[" + b",".join(parts) + b"]"
