"""Every key that Keyweave uses is built here, and nowhere else.

    {app:version:environment:tenant:group:partition}:Entity:<id>            document   STRING
    {...}:Entity.view:<value>:<value>                                       view       ZSET
    {...}:Entity.unique                                                     claims     HASH
    {...}:@clock  @expiry  @schema                                          the partition's own
    {...}:@lock:Entity:<id>  @done:<op>  @aside:<op>:<key>                  the partition's own

One partition shares one hash tag, so its keys live on one slot. Entity, view and unique names are
identifiers, and an id is always the last part of its key, so only the values of a view need escaping
to keep the mapping from values to keys injective.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from keyweave.errors import ConfigurationError

_VALUE_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A"})
_ESCAPED: Final = re.compile(r"(?:[^%]|%25|%3A)*", re.DOTALL)
_TAG_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A", "{": "%7B", "}": "%7D"})


def escape(value: str) -> str:
    """Escape a value so that joining escaped values with `:` is injective."""
    if ":" in value or "%" in value:
        return value.translate(_VALUE_ESCAPES)
    return value


def join(values: Sequence[str]) -> str:
    """Join values injectively; a single value is its own escaped form."""
    text = ":".join(values)
    if "%" not in text and text.count(":") < len(values):
        return text
    return ":".join([escape(value) for value in values])


def split(text: str) -> tuple[str, ...] | None:
    """The values that `join` made `text` of; None when it never makes such a text."""
    if "%" not in text:
        return tuple(text.split(":"))
    if _ESCAPED.fullmatch(text) is None:
        return None
    return tuple(part.replace("%3A", ":").replace("%25", "%") for part in text.split(":"))


@dataclass(frozen=True, slots=True)
class Namespace:
    """What separates applications, deployments and tenants that share a server.

    Attributes:
        app: name of the application.
        version: generation of its keyspace, such as `v1`.
        environment: such as `dev` or `production`.
        tenant: anything; tests use a fresh one each.
    """

    app: str
    version: str
    environment: str
    tenant: str

    def __post_init__(self) -> None:
        for part, value in (
            ("app", self.app),
            ("version", self.version),
            ("environment", self.environment),
            ("tenant", self.tenant),
        ):
            checked: object = value
            if not isinstance(checked, str) or not checked:
                raise ConfigurationError(f"namespace: {part} must be a non-empty string")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise ConfigurationError(f"namespace: {part} is not valid Unicode text") from None

    def prefix(self) -> str:
        """The part of every hash tag before the group."""
        parts = (self.app, self.version, self.environment, self.tenant)
        return ":".join([part.translate(_TAG_ESCAPES) for part in parts])


class Partition:
    """The keys of one partition. Two keys of one partition are always on one slot."""

    __slots__ = ("_stored", "clock", "expiry", "group", "index", "schema", "tag")

    def __init__(self, prefix: str, group: str, index: int, stored: Mapping[str, str]) -> None:
        self.group: Final = group
        self.index: Final = index
        self.tag: Final = f"{{{prefix}:{group}:{index}}}:"
        self.clock: Final = f"{self.tag}@clock"
        self.expiry: Final = f"{self.tag}@expiry"
        self.schema: Final = f"{self.tag}@schema"
        self._stored: Final = stored

    def document_prefix(self, entity: str) -> str:
        """What every document key of `entity` begins with; the id completes it."""
        return f"{self.tag}{entity}:"

    def document(self, entity: str, key: str) -> str:
        """The document of the row `key`."""
        return f"{self.tag}{entity}:{key}"

    def view(self, entity: str, view: str, values: Sequence[str]) -> str:
        """The sorted set of one value tuple of a view."""
        name = f"{entity}.{view}"
        if self._stored:
            name = self._stored.get(name, name)
        if len(values) == 1:
            value = values[0]
            # Nearly every view of nearly every write comes here, and few values need escaping.
            return f"{self.tag}{name}:{escape(value) if ':' in value or '%' in value else value}"
        return f"{self.tag}{name}:{join(values)}" if values else f"{self.tag}{name}"

    def view_prefix(self, entity: str, view: str) -> str:
        """What the keys of a view of one field begin with; the escaped value completes it."""
        name = f"{entity}.{view}"
        return f"{self.tag}{self._stored.get(name, name)}:"

    def claims(self, entity: str, unique: str) -> str:
        """The hash of a unique constraint: field is the normalised value, value is the owner's id."""
        name = f"{entity}.{unique}"
        return f"{self.tag}{self._stored.get(name, name)}"

    def index_of(self, key: str) -> tuple[str, tuple[str, ...]] | None:
        """Of a key of a view or unique constraint: what it begins with, and the values. None for any other key."""
        if not key.startswith(self.tag):
            return None
        stored, colon, values = key[len(self.tag) :].partition(":")
        parts = split(values) if colon else ()
        return (stored, parts) if "." in stored and parts is not None else None

    def lock(self, entity: str, key: str) -> str:
        """The advisory lock of the row `key`."""
        return f"{self.tag}@lock:{entity}:{key}"

    def done(self, op: str) -> str:
        """The marker of an applied plan that left no document to carry its op."""
        return f"{self.tag}@done:{op}"

    def aside(self, op: str, key: str) -> str:
        """Where a repair puts a key of this partition that was in the way."""
        return f"{self.tag}@aside:{op}:{key.removeprefix(self.tag)}"

    @staticmethod
    def expiring(entity: str, key: str) -> str:
        """A row's member in the expiry set."""
        return f"{entity}:{key}"


class Keyspace:
    """All partitions of one namespace.

    Args:
        namespace: what the keys begin with.
        groups: number of partitions of each group.
        stored: what the keys of an index begin with, by entity and name; an index that is not here has just that.
    """

    __slots__ = ("_partitions", "namespace")

    def __init__(
        self, namespace: Namespace, groups: Mapping[str, int], stored: Mapping[str, str] | None = None
    ) -> None:
        self.namespace: Final = namespace
        prefix = namespace.prefix()
        self._partitions: Final = {
            group: tuple(Partition(prefix, group, index, stored or {}) for index in range(count))
            for group, count in groups.items()
        }

    def partition(self, group: str, value: str | None = None) -> Partition:  # noqa: ARG002
        """The partition of `group` that holds rows whose `partition_by` field has `value`.

        This release runs one partition per group, so the value does not matter yet.
        """
        return self._partitions[group][0]

    def partitions(self) -> list[Partition]:
        """Every partition of every group."""
        return [partition for group in self._partitions.values() for partition in group]

    def pattern(self) -> str:
        """A SCAN pattern that matches every key of this namespace and no other."""
        prefix = self.namespace.prefix()
        for special in "\\*?[]^":
            prefix = prefix.replace(special, "\\" + special)
        return f"{{{prefix}:*"
