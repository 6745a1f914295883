"""Stores of both flavours for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connection.peers import Driver, Open, drivers
from tests.servers.running import server_url


@pytest.fixture(params=["sync", "aio"])
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens shells of one flavour and closes them at the end."""
    yield from drivers(request.param)


@pytest.fixture
def store(opened: Open) -> Driver:
    """A shell on the server under test, which others may use as well: name keys by `new_key`."""
    return opened(server_url())
