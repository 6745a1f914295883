"""Stores of both flavours for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.connection.peers import Driver, Open
from tests.servers.running import server_url

DIRECT = ["sync", "aio"]
EVERY = [*DIRECT, "sync over redis-py", "aio over redis-py"]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module with `EVERY_CHANNEL` runs its tests over a client of redis-py as well."""
    if "opened" in metafunc.fixturenames:
        flavours = EVERY if getattr(metafunc.module, "EVERY_CHANNEL", False) else DIRECT
        metafunc.parametrize("opened", flavours, indirect=True)


@pytest.fixture
def opened(request: pytest.FixtureRequest) -> Iterator[Open]:
    """Opens shells of one flavour and closes them at the end."""
    drivers: list[Driver] = []

    def open_one(url: str, **options: object) -> Driver:
        drivers.append(Driver(request.param, url, **options))
        return drivers[-1]

    yield open_one
    for driver in drivers:
        driver.close()


@pytest.fixture
def store(opened: Open) -> Driver:
    """A shell on the server under test, which others may use as well: name keys by `new_key`."""
    return opened(server_url())
