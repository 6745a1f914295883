"""The sides of a comparison, and what is compared: results and errors as plain values that no number of partitions changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from keyweave.errors import KeyweaveError
from keyweave.model.page import Page
from keyweave.model.record import Record
from tests.over import opened_store
from tests.partitioned.parity.package import twin
from tests.servers.running import new_namespace, server_url


class PlannedError(Exception):
    """What a function of the caller raises."""


@dataclass
class Side:
    """One namespace, with two stores that write to it in turn, so that what one of them remembers may be outdated.

    Attributes:
        partitions: how many the group has.
        stores: on the namespace.
        notes: the generated ids of notes, by their numbers.
        loaded: records that were read earlier, by key.
    """

    partitions: int
    stores: list[Any]
    notes: dict[int, str] = field(default_factory=dict)
    loaded: dict[str, Any] = field(default_factory=dict)

    def close(self) -> None:
        for store in self.stores:
            store.close()


def opened_side(partitions: int) -> Side:
    """A side with an empty namespace."""
    name = new_namespace("differential")
    stores = [
        opened_store(
            twin().sync,
            "sync",
            server_url(),
            namespace=name,
            partitions={"deals": partitions},
            sweep_every=0,
        )
        for _ in range(2)
    ]
    return Side(partitions, stores)


def outcome(call: Callable[[], Any]) -> Any:
    """The result of a call, or its error, as a plain value."""
    try:
        return plain(call())
    except (KeyweaveError, PlannedError) as error:
        return plain(error)


def plain(found: Any) -> Any:
    """A result with records as dicts. What a namespace decides by itself, moments and generated ids, is left out."""
    if isinstance(found, twin().Note):
        return ["Note", found.account_id, found.number]
    if isinstance(found, Record):
        shown = found.to_dict()
        shown.pop("made_at", None)
        return [type(found).__name__, shown]
    if isinstance(found, Page):
        return plain(found.rows)
    if isinstance(found, list | tuple):
        return [plain(each) for each in found]
    if isinstance(found, Exception):
        names = ("entity", "key", "field", "rule", "constraint", "target", "code")
        shown = {name: getattr(found, name, None) for name in names}
        return ["error", type(found).__name__, str(found), shown]
    return "a moment" if isinstance(found, datetime) else found
