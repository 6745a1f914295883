"""The overlay: what a unit of work has changed, found by row, by unique value and by list.

A lookup costs the same however many rows the unit has changed. Most transactions only write: the entries of a change are
filed at the first lookup after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, TypeAlias

from keyweave.changes.change import Change
from keyweave.model.entity import Entity
from keyweave.model.entry import ClaimEntry, ViewEntry

_List: TypeAlias = tuple[str, str, tuple[str, ...]]
"""Entity, view, and the values that select one of its lists."""


class Overlay:
    """The entries of buffered changes. A later change of a row takes the place of the earlier one."""

    __slots__ = ("_added", "_former", "_members", "_numbers", "_owners")

    def __init__(self) -> None:
        self._added: Final[list[tuple[Change | None, Change]]] = []
        self._numbers: Final[dict[str, int]] = {}
        self._owners: Final[dict[tuple[str, str, str], Change]] = {}
        self._members: Final[dict[_List, dict[str, tuple[ViewEntry, Change]]]] = {}
        self._former: Final[dict[_List, dict[str, Change]]] = {}

    def add(self, earlier: Change | None, change: Change) -> None:
        """Add a change of a row, and the earlier one that it replaces."""
        self._added.append((earlier, change))
        if earlier is None:
            self._numbers[change.entity.name] = self._numbers.get(change.entity.name, 0) + 1

    def has(self, entity: Entity[Any]) -> bool:
        """Return whether a row of `entity` has a change."""
        return entity.name in self._numbers

    def owner(self, entity: Entity[Any], unique: str, value: str) -> Change | None:
        """Return the change after which its row holds a unique value, or None."""
        self._file()
        return self._owners.get((entity.name, unique, value))

    def members(
        self, entity: Entity[Any], view: str, values: tuple[str, ...]
    ) -> Collection[tuple[ViewEntry, Change]]:
        """Return entry and change of each row that will be a member of a view."""
        self._file()
        return self._members.get((entity.name, view, values), {}).values()

    def former(self, entity: Entity[Any], view: str, values: tuple[str, ...]) -> Collection[Change]:
        """Return the change of each row that the store has as a member of a view."""
        self._file()
        return self._former.get((entity.name, view, values), {}).values()

    def _file(self) -> None:
        """File the entries of the changes that were added since the last lookup."""
        for earlier, change in self._added:
            name, key = change.entity.name, change.key
            if earlier is None:
                for at, _ in _lists(name, change.old_entries):
                    self._former.setdefault(at, {})[key] = change
            else:
                for at, _ in _lists(name, earlier.new_entries):
                    del self._members[at][key]
                for at, _ in _lists(name, earlier.old_entries):
                    self._former[at][key] = change
                for entry in earlier.new_entries:
                    if type(entry) is ClaimEntry:
                        self._release(name, entry, key)
            for at, entered in _lists(name, change.new_entries):
                self._members.setdefault(at, {})[key] = entered, change
            for entry in change.new_entries:
                if type(entry) is ClaimEntry:
                    self._owners[name, entry.unique, entry.value] = change
        self._added.clear()

    def _release(self, name: str, entry: ClaimEntry, key: str) -> None:
        """Forget the owner of a unique value, unless another row has claimed it since."""
        at = name, entry.unique, entry.value
        owner = self._owners.get(at)
        if owner is not None and owner.key == key:
            del self._owners[at]


def _lists(name: str, entries: Any) -> Iterator[tuple[_List, ViewEntry]]:
    """Yield view entries, each with its list."""
    for entry in entries:
        if type(entry) is ViewEntry:
            yield (name, entry.view, entry.values), entry
