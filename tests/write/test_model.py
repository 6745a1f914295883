"""Both flavours of the generated repositories against a plain model, on the server under test and on a fake."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.harness import FLAVOURS, fake_harness, harness
from tests.servers.running import chosen_server
from tests.write.model import Repositories

SERVERS = ("server", "fake") if chosen_server() == "embedded" else ("server",)
"""The fake is tested once, in the run on the embedded server."""

RUNS = {"server": 100, "fake": 20}


@contextmanager
def opened(flavour: str, server: str) -> Iterator[tuple[Any, asyncio.Runner]]:
    """A store, and the runner of its calls."""
    with fake_harness(flavour) if server == "fake" else harness(flavour, "model") as stores:
        yield stores.db, stores.runner


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_the_repositories_behave_like_the_model(flavour: str, server: str) -> None:
    with opened(flavour, server) as (store, runner):
        machine = type("Machine", (Repositories,), {"flavour": flavour, "runner": runner, "store": store})
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=RUNS[server], stateful_step_count=100, deadline=None, derandomize=True
            ),
        )
