"""Stores of both flavours for the tests of the runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.runtime.peers import Driver, Open


@pytest.fixture(params=["sync", "aio"])
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
    return opened("embedded:")
