"""The stages of the stories: both flavours, on the embedded server and on a fake."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest

from keyweave import sync
from keyweave.connection.settings import parse_url
from tests.generator.accepted.corpus import Corpus
from tests.generator.accepted.stage import Stage
from tests.servers.running import server_url

Open: TypeAlias = Callable[..., Stage]


@pytest.fixture(scope="session", autouse=True)
def _server() -> Iterator[None]:
    """Keep a connection to the server for all stories: an embedded one drops its data with the last."""
    with sync.Shell(parse_url(server_url())):
        yield


@pytest.fixture(params=["sync-server", "aio-server", "sync-fake", "aio-fake"])
def open_stage(request: pytest.FixtureRequest, corpus: Corpus) -> Iterator[Open]:
    """Opens stages of the module's case; each must be without drift at the end."""
    flavour, server = request.param.split("-")
    stages: list[Stage] = []

    def opened(**options: Any) -> Stage:
        stages.append(Stage(corpus.load(request.module.CASE), flavour, server, **options))
        return stages[-1]

    yield opened
    for stage in stages:
        report = stage.check()
        stage.close()
        assert report.clean, report.drift


@pytest.fixture
def stage(open_stage: Open) -> Stage:
    return open_stage()
