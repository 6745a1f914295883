"""In this repository the tests of the examples use the server under test, as all others do."""

from __future__ import annotations

import pytest

from tests.servers.running import server_url


@pytest.fixture(scope="session")
def keyweave_url() -> str:
    """The URL of the server under test."""
    return server_url()
