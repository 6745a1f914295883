"""Shells over every channel: a module that imports this fixture runs its tests over a client of redis-py as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connection.peers import Open, drivers


@pytest.fixture(name="opened", params=["sync", "aio", "sync over redis-py", "aio over redis-py"])
def opened_everywhere(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens shells of one flavour and channel, and closes them at the end."""
    yield from drivers(request.param)
