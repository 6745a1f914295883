"""Without an SDK a store has no telemetry; with one it has it by default."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import textwrap
from typing import Any

import pytest
from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.trace import NoOpTracerProvider

from keyweave.errors import ConfigurationError
from tests.harness import FLAVOURS, harness
from tests.telemetry.recording import Recording


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_an_sdk_a_shell_runs_flows_itself(flavour: str) -> None:
    with harness(flavour, "off") as stores:
        session = stores.db.session
        assert session.context.telemetry is None
        assert session.context.state.stats.sink is None
        for run in (session.run, stores.db.users._run):
            inner = inspect.getclosurevars(run).nonlocals[
                "run"
            ]  # behind what renews the numbers of partitions
            assert getattr(inner, "func", inner) == session.shell.run


def test_providers_that_do_nothing_switch_it_off(recording: Recording) -> None:
    idle: dict[str, Any] = {"meter_provider": NoOpMeterProvider(), "tracer_provider": NoOpTracerProvider()}
    with harness("sync", "idle", **idle) as stores:
        assert stores.db.session.context.telemetry is None


@pytest.mark.parametrize("name", ["meter_provider", "tracer_provider"])
def test_something_that_is_no_provider_is_refused(name: str) -> None:
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
    run(program)


def test_a_global_sdk_that_the_environment_names_is_found() -> None:
    """The API package loads it when it is first asked, so the process may not have imported OpenTelemetry before."""
    program = """
        from compozy_store.sync import Store

        with Store.open("embedded:") as store:
            telemetry = store.session.context.telemetry
            assert telemetry.instruments is not None and telemetry.tracer is None
    """
    run(program, OTEL_PYTHON_METER_PROVIDER="sdk_meter_provider")


def test_without_the_package_everything_works_and_telemetry_is_off() -> None:
    program = """
        import asyncio
        import sys
        from importlib.abc import MetaPathFinder

        class Blocked(MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name.partition(".")[0] == "opentelemetry":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Blocked())

        from compozy_store import Role, User, aio, sync
        from keyweave.errors import ConfigurationError

        async def write_with_asyncio():
            async with aio.Store.open("embedded:") as store:
                await store.users.create(User(id="eve", email="eve@example.org", role=Role.USER))
                assert store.session.context.telemetry is None

        with sync.Store.open("embedded:") as store:
            store.users.create(User(id="ada", email="ada@example.org", role=Role.ADMIN))
            store.transact(lambda tx: tx.users.change("ada", lambda user: setattr(user, "role", Role.USER)))
            assert store.users.get("ada").role is Role.USER
            assert store.check().clean and store.health().serving
            assert store.session.context.telemetry is None
        asyncio.run(write_with_asyncio())

        for name in ("tracer_provider", "meter_provider"):
            try:
                sync.Store.open("embedded:", **{name: object()})
            except ConfigurationError as error:
                assert str(error) == f"{name}: OpenTelemetry is not installed; install it with: pip install 'keyweave[otel]'", error
            else:
                raise AssertionError(name)
        assert not [name for name in sys.modules if name.startswith("opentelemetry")]
    """
    run(program)


@pytest.mark.parametrize("imported", ["", "import opentelemetry.metrics, opentelemetry.trace"])
def test_a_store_without_telemetry_imports_nothing_for_it(imported: str) -> None:
    program = f"""
        import sys
        {imported}
        before = set(sys.modules)
        from compozy_store.sync import Store

        with Store.open("embedded:") as store:
            store.users.find("ada")
        new = set(sys.modules) - before
        assert not [name for name in new if name.startswith("opentelemetry")]
        assert not new & {{f"keyweave.telemetry.{{name}}" for name in ("catalogue", "instruments", "outcomes")}}
    """
    run(program)


def run(program: str, **environment: str) -> None:
    """Run a program in a process of its own, because what a process has imported cannot be undone."""
    subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        check=True,
        timeout=60,
        env={**os.environ, **environment},
    )
