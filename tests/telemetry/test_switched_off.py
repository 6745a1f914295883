"""Without an SDK a store has no telemetry at all; with one it has it unasked."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from keyweave.errors import ConfigurationError
from tests.store.harness import FLAVOURS, harness
from tests.telemetry.recording import Recording


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_an_sdk_a_shell_runs_flows_itself(flavour: str) -> None:
    with harness(flavour, "off") as stores:
        session = stores.db.session
        assert session.context.telemetry is None
        assert session.context.state.stats.sink is None
        assert session.run == session.shell.run
        assert stores.db.users._run == session.shell.run


def test_providers_that_do_nothing_switch_it_off(recording: Recording) -> None:
    idle: dict[str, Any] = {"meter_provider": NoOpMeterProvider(), "tracer_provider": NoOpTracerProvider()}
    with harness("sync", "idle", **idle) as stores:
        assert stores.db.session.context.telemetry is None


@pytest.mark.parametrize("name", ["meter_provider", "tracer_provider"])
def test_what_is_no_provider_is_refused(name: str) -> None:
    wrong: dict[str, Any] = {name: object()}
    with (
        pytest.raises(ConfigurationError, match=f"{name}: must be a"),
        harness("sync", "no", **wrong),
    ):
        pass


def test_the_global_sdk_is_found() -> None:
    """In a process of its own: a global provider can be set once."""
    program = """
        from opentelemetry import metrics, trace
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader
        from compozy_store.sync import Store

        with Store.open("embedded:") as before:
            assert before.session.context.telemetry is None
            reader = InMemoryMetricReader()
            metrics.set_meter_provider(MeterProvider([reader]))
            with Store.open("embedded:") as store:
                store.users.find("u")
                telemetry = store.session.context.telemetry
                assert telemetry.instruments is not None and telemetry.tracer is None
                (scope,) = reader.get_metrics_data().resource_metrics[0].scope_metrics
                assert "db.client.operation.duration" in {metric.name for metric in scope.metrics}
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=60)
