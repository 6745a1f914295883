"""What tests of writes share."""

from __future__ import annotations

from typing import Any

import pytest

from keyweave.store import recent


@pytest.fixture
def own_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """No two rows share a place in the memory of a process, so that it remembers all that it may."""
    places: dict[Any, int] = {}
    monkeypatch.setitem(vars(recent), "hash", lambda name: places.setdefault(name, len(places)))
