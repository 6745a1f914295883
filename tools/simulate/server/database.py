"""The data of one server. Every change passes through here and is journalled as one effect.

An effect is what a server appends to its file or sends to its replica: it names absolute values and moments, so that
replaying a prefix of a journal gives the state of that moment, whatever the clock says by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

from tools.simulate.server.sorted_set import SortedSet

Value: TypeAlias = bytes | SortedSet | dict[bytes, bytes]
Effect: TypeAlias = tuple[Any, ...]

_WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class Refused(Exception):
    """A command was refused; the text is the server's, its first word the code."""


class Database:
    """Keys, their values and their native deadlines.

    Attributes:
        values: by key; a key past its deadline is still there until something looks at it.
        deadlines: milliseconds since 1970, by key.
        now: the server's time in microseconds since 1970, fixed while a command or script runs.
        journal: the effects of the command that runs.
    """

    __slots__ = ("deadlines", "journal", "now", "values")

    def __init__(self) -> None:
        self.values: Final[dict[bytes, Value]] = {}
        self.deadlines: Final[dict[bytes, int]] = {}
        self.now = 0
        self.journal: list[Effect] = []

    def find(self, key: bytes) -> Value | None:
        """The value of a key; one whose deadline has passed is removed."""
        value = self.values.get(key)
        if value is not None and key in self.deadlines and self.deadlines[key] * 1000 <= self.now:
            self.drop(key)
            return None
        return value

    def text(self, key: bytes) -> bytes | None:
        """The string at a key."""
        value = self.find(key)
        if value is not None and type(value) is not bytes:
            raise Refused(_WRONG_TYPE)
        return value

    def sorted_set(self, key: bytes) -> SortedSet | None:
        """The sorted set at a key."""
        value = self.find(key)
        if value is not None and type(value) is not SortedSet:
            raise Refused(_WRONG_TYPE)
        return value

    def fields(self, key: bytes) -> dict[bytes, bytes] | None:
        """The hash at a key."""
        value = self.find(key)
        if value is not None and type(value) is not dict:
            raise Refused(_WRONG_TYPE)
        return value

    def live_keys(self) -> list[bytes]:
        """Every key whose deadline has not passed."""
        return [key for key in list(self.values) if self.find(key) is not None]

    def put(self, key: bytes, value: bytes, deadline: int | None) -> None:
        """Set a string, with or without a deadline."""
        self.values[key] = value
        if deadline is None:
            self.deadlines.pop(key, None)
        else:
            self.deadlines[key] = deadline
        self.journal.append(("put", key, value, deadline))

    def drop(self, key: bytes) -> bool:
        """Remove a key. Returns True if it was there."""
        if self.values.pop(key, None) is None:
            return False
        self.deadlines.pop(key, None)
        self.journal.append(("drop", key))
        return True

    def expire(self, key: bytes, deadline: int | None) -> None:
        """Set or remove the deadline of a key that is there."""
        if deadline is None:
            self.deadlines.pop(key, None)
        else:
            self.deadlines[key] = deadline
        self.journal.append(("expire", key, deadline))

    def add_member(self, key: bytes, member: bytes, score: float) -> bool:
        """Set the score of a member of a sorted set. Returns True if the member is new."""
        found = self.sorted_set(key)
        if found is None:
            self.values[key] = found = SortedSet()
        self.journal.append(("add_member", key, member, score))
        return found.add(member, score)

    def remove_member(self, key: bytes, member: bytes) -> bool:
        """Remove a member of a sorted set. Returns True if it was there."""
        found = self.sorted_set(key)
        if found is None or not found.remove(member):
            return False
        self.journal.append(("remove_member", key, member))
        if not found.order:
            del self.values[key]
            self.deadlines.pop(key, None)
        return True

    def set_field(self, key: bytes, field: bytes, value: bytes) -> bool:
        """Set a field of a hash. Returns True if the field is new."""
        found = self.fields(key)
        if found is None:
            self.values[key] = found = {}
        new = field not in found
        found[field] = value
        self.journal.append(("set_field", key, field, value))
        return new

    def remove_field(self, key: bytes, field: bytes) -> bool:
        """Remove a field of a hash. Returns True if it was there."""
        found = self.fields(key)
        if found is None or found.pop(field, None) is None:
            return False
        self.journal.append(("remove_field", key, field))
        if not found:
            del self.values[key]
            self.deadlines.pop(key, None)
        return True

    def rename(self, key: bytes, new: bytes) -> None:
        """Move a key."""
        self.values[new] = self.values.pop(key)
        deadline = self.deadlines.pop(key, None)
        self.deadlines.pop(new, None)
        if deadline is not None:
            self.deadlines[new] = deadline
        self.journal.append(("rename", key, new))


def replay(effects: Iterable[Effect]) -> Database:
    """The database after these effects."""
    database = Database()
    for name, *values in effects:
        getattr(database, name)(*values)
    database.journal = []
    return database
