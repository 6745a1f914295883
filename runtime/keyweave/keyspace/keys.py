"""Every key that Keyweave uses is built here and nowhere else.

    {app:version:environment:tenant:group:partition}:Entity:<id>            document   STRING
    {...}:Entity.view:<value>:<value>                                       view       ZSET
    {...}:Entity.unique                                                     claims     HASH
    {...}:@clock  @expiry  @schema  @changed                                one per partition
    {...}:@lock:Entity:<id>  @ledger:<session>  @aside:<op>:<key>                  locks, ledgers, keys set aside
    {...}:@homes:Entity[.unique]                                            homes      HASH
    {...}:@fence:Entity[.unique]:<value>                                    fences     HASH

The partition is `0`, or `i.salt` for any other: `keyweave.keyspace.spread` gives each its slot by its salt.

All keys of a partition have one hash tag, so they are in one slot. Names of entities, views and unique
constraints are identifiers, and an id is always the last part of its key. Therefore only the values of a
view need escaping to keep the mapping from values to keys injective.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from keyweave.errors import ConfigurationError, TenantNameError
from keyweave.keyspace.doubling import Doubling
from keyweave.keyspace.spread import index_of, place_of, tag_of
from keyweave.model.entity import Entity

_VALUE_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A"})
_ESCAPED: Final = re.compile(r"(?:[^%]|%25|%3A)*", re.DOTALL)
_TAG_ESCAPES: Final = str.maketrans({"%": "%25", ":": "%3A", "{": "%7B", "}": "%7D"})

LONGEST_TENANT: Final = 500
"""The most characters of a tenant's name: it is in every key, and may come from a request."""


def tag_text(part: str) -> str:
    """Return a part of a namespace as a hash tag contains it. No two parts have the same text, and none has a colon or brace."""
    return part.translate(_TAG_ESCAPES)


def escape(value: str) -> str:
    """Escape a value so that joining escaped values with `:` is injective."""
    if ":" in value or "%" in value:
        return value.translate(_VALUE_ESCAPES)
    return value


def join(values: Sequence[str]) -> str:
    """Escape values and join them with `:`; the result is injective."""
    text = ":".join(values)
    if "%" not in text and text.count(":") < len(values):
        return text
    return ":".join([escape(value) for value in values])


def split(text: str) -> tuple[str, ...] | None:
    """Return the values that `join` made `text` from, or None when `join` cannot produce it."""
    if "%" not in text:
        return tuple(text.split(":"))
    if _ESCAPED.fullmatch(text) is None:
        return None
    return tuple(part.replace("%3A", ":").replace("%25", "%") for part in text.split(":"))


class Namespace(msgspec.Struct, frozen=True):
    """The namespace that separates applications, deployments and tenants on one server.

    Attributes:
        app: name of the application.
        version: generation of its keyspace, such as `v1`.
        environment: such as `dev` or `production`.
        tenant: any text of 1 to 500 characters; each test uses a new one.

    Raises:
        ConfigurationError: a part is empty, not a string, or not valid Unicode text; of the tenant a `TenantNameError`.
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
            error = TenantNameError if part == "tenant" else ConfigurationError
            if not isinstance(checked, str) or not checked:
                raise error(f"namespace: {part} must be a non-empty string")
            try:
                value.encode()
            except UnicodeEncodeError:
                raise error(f"namespace: {part} is not valid Unicode text") from None
        if len(self.tenant) > LONGEST_TENANT:
            raise TenantNameError(
                f"namespace: tenant has {len(self.tenant):,} characters; at most {LONGEST_TENANT} are permitted"
            )

    def prefix(self) -> str:
        """Return the part of every hash tag before the group."""
        return f"{self.application()}:{tag_text(self.tenant)}"

    def application(self) -> str:
        """Return the part of every hash tag before the tenant."""
        parts = (self.app, self.version, self.environment)
        return ":".join([tag_text(part) for part in parts])


class Partition:
    """The keys of one partition. They are all in one slot.

    Attributes:
        group: name of the group of entities.
        index: number of the partition in its group.
        tag: hash tag with which every key begins.
        clock: key of the last revision.
        expiry: key of the set of deadlines.
        schema: key of the registry.
        changed: key of the hash of what changed while rows are copied to a new twin.
        moving: a key that never exists. A node of a cluster does not run a command with it while the slot moves key by key.
    """

    __slots__ = (
        "_prefixes",
        "_stored",
        "changed",
        "clock",
        "expiry",
        "group",
        "index",
        "moving",
        "schema",
        "tag",
    )

    def __init__(self, prefix: str, group: str, index: int, stored: Mapping[str, str]) -> None:
        self.group: Final = group
        self.index: Final = index
        self.tag: Final = f"{{{tag_of(prefix, group, index)}}}:"
        self.clock: Final = f"{self.tag}@clock"
        self.expiry: Final = f"{self.tag}@expiry"
        self.schema: Final = f"{self.tag}@schema"
        self.changed: Final = f"{self.tag}@changed"
        self.moving: Final = f"{self.tag}@moving"
        self._stored: Final = stored
        self._prefixes: Final[dict[tuple[str, str], str]] = {}

    def document_prefix(self, entity: str) -> str:
        """Return the prefix of every document key of `entity`; the id follows it."""
        return f"{self.tag}{entity}:"

    def document(self, entity: str, key: str) -> str:
        """Return the key of the document of the row `key`."""
        return f"{self.tag}{entity}:{key}"

    def view(self, entity: str, view: str, values: Sequence[str]) -> str:
        """Return the key of a view's sorted set for one tuple of values."""
        prefix = self._prefixes.get((entity, view)) or self.view_prefix(entity, view)
        if len(values) == 1:
            value = values[0]
            # The fast path: most views have one field, and few values need escaping.
            return prefix + (escape(value) if ":" in value or "%" in value else value)
        return prefix + join(values) if values else prefix[:-1]

    def views(self, entity: str, view: str, before: Sequence[str], last: Iterable[str]) -> list[str]:
        """Return the keys of a view's sorted sets that have the same values but for the last one."""
        begun = self.view(entity, view, (*before, ""))
        return [begun + escape(value) for value in last]

    def view_prefix(self, entity: str, view: str) -> str:
        """Return the prefix of the keys of a view with fields; the escaped values follow it."""
        name = f"{entity}.{view}"
        prefix = self._prefixes[entity, view] = f"{self.tag}{self._stored.get(name, name)}:"
        return prefix

    def view_prefixes(self, entity: Entity[Any]) -> dict[str, str]:
        """Return what the keys of each view of `entity` begin with: the whole key of a view without fields."""
        return {
            name: self.view_prefix(entity.name, name) if view.selecting else self.view(entity.name, name, ())
            for name, view in entity.views.items()
        }

    def claims(self, entity: str, unique: str) -> str:
        """Return the key of a unique constraint's hash, which maps each normalized value to its owner's id."""
        name = f"{entity}.{unique}"
        return f"{self.tag}{self._stored.get(name, name)}"

    def index_of(self, key: str) -> tuple[str, tuple[str, ...]] | None:
        """Return the prefix and the values of a key of a view or unique constraint; None for any other key."""
        if not key.startswith(self.tag):
            return None
        stored, colon, values = key[len(self.tag) :].partition(":")
        parts = split(values) if colon else ()
        return (stored, parts) if "." in stored and parts is not None else None

    def lock(self, entity: str, key: str) -> str:
        """Return the key of the advisory lock of the row `key`."""
        return f"{self.tag}@lock:{entity}:{key}"

    def ledger(self, session: str) -> str:
        """The key of a client's ledger: the answers of its latest plans."""
        return f"{self.tag}@ledger:{session}"

    def homes(self, entity: str, unique: str = "") -> str:
        """Return the key of the homes of an entity's keys, or of the values of a unique constraint."""
        return f"{self.tag}@homes:{entity}.{unique}" if unique else f"{self.tag}@homes:{entity}"

    def fence(self, entity: str, unique: str, value: str) -> str:
        """Return the key of what refuses the epochs of a home; `unique` is empty for a row, whose id is `value`."""
        return (
            f"{self.tag}@fence:{entity}.{unique}:{value}" if unique else f"{self.tag}@fence:{entity}:{value}"
        )

    def aside(self, op: str, key: str) -> str:
        """Return the key to which a repair moves a key of this partition that holds the wrong thing."""
        return f"{self.tag}@aside:{op}:{key.removeprefix(self.tag)}"

    @staticmethod
    def expiring(entity: str, key: str) -> str:
        """Return the member of a row in the expiry set."""
        return f"{entity}:{key}"


class Keyspace:
    """All partitions of one namespace. The keys of a partition are built when it is first used.

    Args:
        namespace: the namespace of the keys.
        groups: number of partitions of each group: a power of two from 1 to 1,024.
        stored: prefix of an index's keys, by index name (`TaskState.by_status`); by default the index name.
    """

    __slots__ = ("_every", "_only", "_partitions", "_prefix", "_stored", "doublings", "namespace")

    namespace: Namespace
    _prefix: str
    _stored: Mapping[str, str]
    doublings: Mapping[str, Doubling]
    """The groups whose partitions are being doubled. Replaced as a whole."""

    def __init__(
        self, namespace: Namespace, groups: Mapping[str, int], stored: Mapping[str, str] | None = None
    ) -> None:
        self.namespace = namespace
        self._prefix = namespace.prefix()
        self._stored = stored or {}
        self._partitions: dict[str, list[Partition | None]] = {}
        self._only: dict[str, Partition] = {}
        self._every: dict[str, list[Partition]] = {}
        self.doublings = {}
        self.spread(groups)

    def spread(self, groups: Mapping[str, int], doublings: Mapping[str, Doubling] | None = None) -> None:
        """Set the number of partitions of each group. Those that exist stay; operations that run go on.

        Args:
            groups: the numbers; of a group that is being doubled the new one.
            doublings: the groups that are being doubled.
        """
        before = self._partitions
        # Other threads read the numbers first: with them they see at least these doublings.
        self.doublings = doublings or {}
        self._partitions = {
            group: [*before.get(group, ())[:count], *[None] * (count - len(before.get(group, ())))]
            for group, count in groups.items()
        }
        self._every = {}
        self._only = {group: self.at(group, 0) for group, count in groups.items() if count == 1}

    def only(self, partition: Partition) -> Keyspace:
        """Return the keyspace of one partition, whose other groups and partitions are not in it."""
        return _Part(self, partition)

    def number(self, group: str) -> int:
        """Return the number of partitions of a group."""
        return len(self._partitions[group])

    @property
    def numbers(self) -> dict[str, int]:
        """The number of partitions of each group."""
        return {group: len(every) for group, every in self._partitions.items()}

    def of_tenant(self, tenant: str) -> Keyspace:
        """Return the keyspace of another tenant of the same application and environment, with one partition of each group.

        How many the tenant has is learned from its own registry.

        Raises:
            TenantNameError: the name is empty, too long or no text.
        """
        own = self.namespace
        namespace = Namespace(own.app, own.version, own.environment, tenant)
        return Keyspace(namespace, dict.fromkeys(self._partitions, 1), self._stored)

    def partition(self, group: str, value: str | None = None) -> Partition:
        """Return the partition of `group` that holds rows whose `partition_by` field has `value`.

        Args:
            value: in the form in which rows are named; without effect in a group with one partition.

        Raises:
            ValueError: the group has several partitions, and there is no value.
        """
        found = self._only.get(group)
        if found is not None:
            return found  # nearly every group has one partition, which costs one look-up
        if value is None:
            raise ValueError(f"group {group} has several partitions: name the value that selects one")
        if self.doublings:
            return self.holder(group, place_of(value))
        every = self._partitions[group]
        index = index_of(value, len(every))
        return every[index] or self.at(group, index)

    def at(self, group: str, index: int) -> Partition:
        """Return the partition of `group` with a number."""
        found = self._partitions[group][index]
        if found is None:
            # Threads may build it at the same time; the keys of both are equal.
            found = self._partitions[group][index] = Partition(self._prefix, group, index, self._stored)
        return found

    def first(self, group: str, count: int) -> list[Partition]:
        """Return so many partitions of `group`, also if there are more than this keyspace knows of."""
        known = self._partitions[group]
        return [
            (
                self.at(group, index)
                if index < len(known)
                else Partition(self._prefix, group, index, self._stored)
            )
            for index in range(count)
        ]

    def holder(self, group: str, place: int) -> Partition:
        """Return the partition of `group` that holds the rows of a place; see `keyweave.keyspace.spread.place_of`."""
        index, doubling = place & (len(self._partitions[group]) - 1), self.doublings.get(group)
        if doubling is not None and not doubling.has_rows(index):
            index -= doubling.half
        return self.at(group, index)

    def holders(self, group: str) -> list[Partition]:
        """Return the partitions of a group that hold rows: all of them, but for twins that are being filled. Not to be changed."""
        known, numbers = self._every, range(len(self._partitions[group]))
        doubling = self.doublings.get(group)
        if doubling is not None:
            return [self.at(group, index) for index in numbers if doubling.has_rows(index)]
        found = known.get(group)
        if found is None or len(found) != len(numbers):
            found = known[group] = [self.at(group, index) for index in numbers]
        return found

    def filling(self) -> list[Partition]:
        """Return the partitions that hold no rows yet, only copies: twins that are being filled."""
        return [
            self.at(group, index)
            for group, doubling in self.doublings.items()
            for index in range(doubling.half, doubling.target)
            if not doubling.has_rows(index)
        ]

    def partitions(self) -> list[Partition]:
        """Return every partition of every group that holds rows."""
        return [partition for group in self._partitions for partition in self.holders(group)]

    def pattern(self) -> str:
        """Return a SCAN pattern that matches every key of this namespace and no other."""
        return f"{{{_literally(self.namespace.prefix())}:*"

    def pattern_of_tenants(self) -> str:
        """Return a SCAN pattern that matches every key of all tenants of this application and environment, and no other."""
        return f"{{{_literally(self.namespace.application())}:*"

    def patterns(self) -> list[str]:
        """Return SCAN patterns that each match the keys of one partition and no other."""
        return [self.pattern_of(partition) for partition in self.partitions()]

    @staticmethod
    def pattern_of(partition: Partition) -> str:
        """Return a SCAN pattern that matches the keys of a partition and no other."""
        return f"{_literally(partition.tag)}*"

    @staticmethod
    def pattern_of_indexes(partition: Partition, entity: str | None = None) -> str:
        """Return a SCAN pattern that matches every index key of a partition, or of one entity in it, and few other keys."""
        return f"{_literally(partition.tag)}{entity or '*'}.*"


class _Part(Keyspace):
    """A keyspace with one of several partitions. Numbers of partitions, and partitions by their numbers, are those of the whole."""

    __slots__ = ("_own",)

    def __init__(self, whole: Keyspace, partition: Partition) -> None:
        self.doublings = whole.doublings
        self.namespace = whole.namespace
        self._prefix = whole._prefix
        self._stored = whole._stored
        self._partitions = whole._partitions
        self._only = {partition.group: partition}
        self._every = {}
        self._own: Final = partition

    def partition(self, group: str, value: str | None = None) -> Partition:
        """Return the partition, which is the place of all rows here; or the one that a value selects."""
        if value is None:
            try:
                return self._only[group]
            except KeyError:
                raise ValueError(f"group {group} is not in this part of the keyspace") from None
        return self.holder(group, place_of(value))

    def partitions(self) -> list[Partition]:
        """Return the partition."""
        return [self._own]


def _literally(text: str) -> str:
    """Escape what has a meaning in a pattern of SCAN."""
    for special in "\\*?[]^":
        text = text.replace(special, "\\" + special)
    return text
