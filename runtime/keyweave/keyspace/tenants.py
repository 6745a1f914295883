"""The tenant of a key, whatever the key is for: the inverse of building hash tags."""

from __future__ import annotations

import re
from typing import Final

from keyweave.keyspace.keys import LONGEST_TENANT, Namespace, tag_text

_ESCAPE: Final = re.compile(r"%(25|3A|7B|7D)")


class TenantParser:
    """Reads the tenants of the keys of one application and environment.

    Args:
        namespace: names the application and environment.
    """

    __slots__ = ("_begin", "_known")

    def __init__(self, namespace: Namespace) -> None:
        self._begin: Final = f"{{{namespace.application()}:".encode()
        self._known: Final[dict[bytes, str | None]] = {}

    def tenant(self, key: bytes) -> str | None:
        """Return the tenant in whose namespace a key is; None if it is in none of this application and environment."""
        start = len(self._begin)
        end = key.find(b":", start)
        if end < 0 or not key.startswith(self._begin):
            return None
        text = key[start:end]
        if text not in self._known:
            self._known[text] = _read(text)
        return self._known[text]


def _read(text: bytes) -> str | None:
    """Return the tenant whose part of a hash tag this is; None if it is that of none."""
    try:
        escaped = text.decode()
    except UnicodeDecodeError:
        return None
    name = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), escaped)
    return name if name and len(name) <= LONGEST_TENANT and tag_text(name) == escaped else None
