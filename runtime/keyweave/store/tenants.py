"""The stores of tenants that a store keeps between calls of `tenant`, so that each tenant is opened once."""

from __future__ import annotations

from typing import Any, Final


class KeptTenants:
    """A bounded cache in two generations: what is asked for moves to the newer one, and the older one is dropped at times.

    Each step is one operation on a dictionary, so threads need no lock, and a fork cannot leave one locked. Threads that ask for a
    tenant at the same time may get two stores of it, which is harmless. So is a store that is dropped while it is in use.

    Args:
        most: maximum number of stores.
    """

    __slots__ = ("_each", "_newer", "_older", "_two")

    def __init__(self, most: int) -> None:
        self._each: Final = max(1, most // 2)
        self._two: Final = most > 1
        self._newer: dict[str, Any] = {}
        self._older: dict[str, Any] = {}

    def get(self, name: str) -> Any:
        """Return the store of a tenant; None if it is not kept."""
        found = self._newer.get(name)
        if found is None:
            found = self._older.get(name)
            if found is not None:
                found = self.keep(name, found)
        return found

    def keep(self, name: str, store: Any) -> Any:
        """Keep the store of a tenant, and return it; or the one that another thread has kept meanwhile."""
        newer = self._newer
        if len(newer) >= self._each and name not in newer:
            self._older, self._newer = newer if self._two else {}, {}
            newer = self._newer
        return newer.setdefault(name, store)
