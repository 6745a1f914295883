"""Fields whose large JSON a write does not change: the stored text is used again."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from keyweave.document.compact import stored_name
from keyweave.model.entity import Entity
from keyweave.model.fidelity import same_value

LARGE: Final = 16 * 1024
"""Size of JSON in bytes above which finding the unchanged fields is faster than decoding everything again."""

_encode: Final = msgspec.json.Encoder().encode
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def unchanged_json(entity: Entity[Any], record: Any, old: Any, document: bytes) -> dict[str, msgspec.Raw]:
    """Return the JSON text of those `json` fields that the stored document already holds byte for byte.

    The snapshot holds the decoded value of this text, and it equals the record's value. Decoding it again is
    unnecessary.

    Args:
        entity: the entity of the record.
        record: what is written.
        old: the snapshot of the stored document.
        document: the stored document.
    """
    same = [name for name in entity.json if same_value(getattr(record, name), getattr(old, name))]
    texts = {name: _encode(getattr(record, name)) for name in same}
    if sum(map(len, texts.values())) <= LARGE:
        return {}
    members = _members(document)
    return {
        name: msgspec.Raw(text)
        for name, text in texts.items()
        if text == bytes(members.get(stored_name(name), b""))
    }
