"""An operation that is canceled, or closed before its end, is reported like any other and disturbs nothing."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from opentelemetry import trace

from compozy_store import aio
from keyweave.telemetry.catalogue import DURATION
from keyweave.telemetry.outcomes import OTHER
from tests.connection.peers import pool_of
from tests.servers.running import new_namespace, server_url
from tests.telemetry.recording import Recording
from tests.waiting import until


async def opened(recording: Recording) -> Any:
    """A store whose only connection is taken, so that every operation waits, and that connection."""
    store = await aio.Store.open(
        server_url(), namespace=new_namespace("cancel"), pool_size=1, pipelining=1, **recording.options
    )
    return store, await pool_of(store.session.shell).lease()


def test_a_canceled_operation_is_reported(recording: Recording) -> None:
    async def main() -> None:
        store, link = await opened(recording)
        task = asyncio.create_task(store.users.find("u"))
        await until(lambda: store.session.shell.pool_state().waiting == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        pool_of(store.session.shell).release(link)
        assert await store.users.find("u") is None
        await store.close()

    asyncio.run(main())
    assert recording.total(DURATION, error_type=OTHER) == 1
    canceled, fine = recording.spans()
    assert [(span.attributes or {})["keyweave.outcome"] for span in (canceled, fine)] == ["canceled", "ok"]
    assert fine.parent is None


def test_an_operation_that_is_closed_before_its_end_leaves_the_context_alone(
    recording: Recording, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "opentelemetry")

    async def main() -> None:
        store, link = await opened(recording)
        waiting = store.users.find("u")
        waiting.send(None)
        waiting.close()
        assert not trace.get_current_span().get_span_context().is_valid
        pool_of(store.session.shell).release(link)
        await store.close()

    asyncio.run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    (span,) = recording.spans()
    assert (span.attributes or {})["keyweave.outcome"] == "canceled"
