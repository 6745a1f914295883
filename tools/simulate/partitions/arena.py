"""The generated package of rows in several partitions, and the few names that clients use."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.model.entity import Entity, Package
from keyweave.store.context import Context
from tools.simulate.clients.arena import generated

SCHEMA: Final = Path(__file__).resolve().parent / "schema"
GROUP: Final = "spread"
PARTITIONS: Final = 4
MOST: Final = 8
"""The most partitions that a doubling ends with."""

SERVERS: Final = 3

OWNERS: Final = ("o0", "o2", "o4", "o8", "o1")
"""Each selects another partition, but for the last one, which selects that of the first."""

ITEMS: Final = ("i0", "i1", "i2")
CODES: Final = ("red", "blue")
TICKETS: Final = ("t0", "t1")
PARTS: Final = ("p0", "p1", "p2")


def spread() -> Package:
    """The package as it is generated now."""
    return generated(SCHEMA, "spread_store")


def kind(context: Context, name: str) -> Entity[Any]:
    """An entity of the package that a client runs with."""
    return context.package.entities[name]


def keyspace(package: Package, partitions: int) -> Keyspace:
    """The keyspace of a run; a store learns at its handshake that there are more partitions than one."""
    return Keyspace(Namespace("a", "v", "s", "t"), {GROUP: partitions}, package.stored)
