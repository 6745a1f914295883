from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.telemetry.recording import Recording


@pytest.fixture
def recording() -> Iterator[Recording]:
    made = Recording()
    yield made
    made.meters.shutdown()
    made.tracers.shutdown()
