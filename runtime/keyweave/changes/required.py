"""A row that a transaction requires and does not write."""

from __future__ import annotations

from typing import Any

import msgspec

from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry


class Required(msgspec.Struct, frozen=True, gc=False):
    """What must hold of a row at the commit, whatever other writers change in it.

    Attributes:
        entity: of the row.
        entry: an entry that it must have, which shows a value of it; None: it only must be live.
    """

    entity: Entity[Any]
    entry: ViewEntry | None = None
