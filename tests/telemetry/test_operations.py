"""Every operation of a repository is timed once and makes one span, in both flavours, with any result."""

from __future__ import annotations

import ast
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from opentelemetry.trace import SpanKind, StatusCode
from redis.observability import (
    MetricGroup,
    OTelConfig,
    get_observability_instance,
    recorder,
    reset_observability_instance,
)

from compozy_store import EmailExistsError, Role, UserNotFoundError
from keyweave.connection.settings import ConnectionSettings
from keyweave.effects import ConnectionFailure
from keyweave.errors import ConflictError, StoreUnavailableError
from keyweave.telemetry.catalogue import DURATION, OPERATIONS
from keyweave.telemetry.outcomes import OTHER
from tests.channels import chosen_channel
from tests.harness import FLAVOURS, Harness, harness, run, task, user
from tests.telemetry.recording import Recording

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest, recording: Recording) -> Iterator[Harness]:
    with harness(request.param, request.node.name, **recording.options) as opened:
        yield opened


def durations(recording: Recording) -> dict[tuple[str, str, str], int]:
    """How often each operation was timed: by entity, operation and error."""
    return {
        tuple(point.attributes.get(name, "") for name in ("db.collection.name", "db.operation.name", "error.type")): (  # type: ignore[misc]
            point.count
        )
        for point in recording.points(DURATION)
    }


def reported(span: Any) -> tuple[Any, ...]:
    """The content of a span: name, entity, view and outcome."""
    names = ("db.collection.name", "keyweave.view", "keyweave.outcome")
    return (span.name, *(span.attributes.get(name) for name in names))


def test_an_operation_is_timed_and_makes_a_span(stores: Harness, recording: Recording) -> None:
    stores.do(stores.db.users.create(user("u")))
    stores.do(stores.db.users.by_role(Role.USER).page())
    assert len(list(stores.do(stores.db.users.by_role(Role.USER)))) == 1
    assert len(stores.do(stores.db.users.by_role(Role.USER).list())) == 1
    assert stores.do(stores.db.users.get_by_email("U@x")).id == "u"
    assert durations(recording) == {
        ("User", "create", ""): 1,
        ("User", "page", ""): 2,
        ("User", "list", ""): 1,
        ("User", "get_by", ""): 1,
    }
    assert [reported(span) for span in recording.spans()] == [
        ("create User", "User", None, "ok"),
        ("page User", "User", "by_role", "ok"),
        ("page User", "User", "by_role", "ok"),
        ("list User", "User", "by_role", "ok"),
        ("get_by User", "User", "email", "ok"),
    ]
    assert {span.kind for span in recording.spans()} == {SpanKind.CLIENT}
    assert {span.status.status_code for span in recording.spans()} == {StatusCode.UNSET}


def test_metrics_without_spans_are_the_same(recording: Recording) -> None:
    with harness("sync", "metrics", **recording.metrics_only) as stores:
        for _ in range(40):
            assert stores.db.users.find("u") is None
        assert durations(recording) == {("User", "find", ""): 40}
        stores.db.users.find("u")
        assert durations(recording) == {("User", "find", ""): 41}
    assert recording.spans() == []
    assert recording.points(DURATION)[0].bounds == (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0)


def test_the_buffer_of_durations_is_bounded_without_a_collection(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyweave.telemetry.instruments.BACKLOG", 10)
    with harness("sync", "backlog", **recording.metrics_only) as stores:
        for _ in range(50):
            stores.db.users.find("u")
        instruments = stores.db.session.context.telemetry.instruments
        (series,) = instruments._series.values()
        assert len(series._durations) <= 10
        assert durations(recording) == {("User", "find", ""): 50}


def test_attributes_name_the_server(recording: Recording) -> None:
    with harness("sync", "server", **recording.options) as stores:
        stores.db.users.find("u")
    (point,) = recording.points(DURATION)
    (span,) = recording.spans()
    for attributes in (point.attributes, dict(span.attributes or {})):
        assert attributes["db.system.name"] == "redis"
        assert attributes["store_driver"] == "redis"
        assert attributes["db.namespace"] == "0"
        assert attributes["server.address"]


def test_an_error_is_named_and_an_answer_is_no_fault(stores: Harness, recording: Recording) -> None:
    stores.do(stores.db.users.create(user("u")))
    with pytest.raises(UserNotFoundError):
        stores.do(stores.db.users.get("v"))
    with pytest.raises(EmailExistsError):
        stores.do(stores.db.users.create(user("v", email="U@x")))

    def fail(_: Any) -> None:
        raise ZeroDivisionError("planted")

    with pytest.raises(ZeroDivisionError):
        stores.do(stores.db.users.change("u", fail))
    assert durations(recording) == {
        ("User", "create", ""): 1,
        ("User", "get", "UserNotFoundError"): 1,
        ("User", "create", "EmailExistsError"): 1,
        ("User", "change", OTHER): 1,
    }
    spans = recording.spans()
    assert [span.attributes["keyweave.outcome"] for span in spans if span.attributes] == [
        "ok",
        "missing",
        "taken",
        "raised",
    ]
    assert [span.status.status_code for span in spans] == [StatusCode.UNSET] * 3 + [StatusCode.ERROR]
    assert [span.status.description for span in spans] == [None] * 4
    assert [span.events for span in spans] == [()] * 4


def test_a_subclass_of_the_callers_is_named_by_its_parent(stores: Harness, recording: Recording) -> None:
    class TheirsError(ConflictError):
        pass

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.users.find("u")
        raise TheirsError("planted")

    with pytest.raises(TheirsError):
        stores.transact(steps)
    assert durations(recording) == {("User", "tx.find", ""): 1, ("", "transact", "ConflictError"): 1}


def test_a_refusal_of_the_server_has_its_code(stores: Harness, recording: Recording) -> None:
    key = stores.db.session.context.keyspace.partition("auth").document("User", "u")
    stores.send(("LPUSH", key, "x"))
    with pytest.raises(Exception, match="another type"):
        stores.do(stores.db.users.get("u"))
    (point,) = recording.points(DURATION)
    assert point.attributes["db.response.status_code"] == "WRONGTYPE"
    assert point.attributes["error.type"] == "CorruptDocumentError"
    (span,) = recording.spans()
    assert span.status.status_code is StatusCode.ERROR
    stores.send(("DEL", key))


def test_operations_of_a_transaction_are_its_children(stores: Harness, recording: Recording) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.create(run())
        yield tx.task_states.create(task("t"))

    stores.transact(steps)
    assert durations(recording) == {
        ("WorkflowState", "tx.create", ""): 1,
        ("TaskState", "tx.create", ""): 1,
        ("", "transact", ""): 1,
    }
    first, second, whole = recording.spans()
    assert [span.name for span in (first, second, whole)] == [
        "tx.create WorkflowState",
        "tx.create TaskState",
        "transact",
    ]
    for inner in (first, second):
        assert inner.parent is not None
        assert inner.parent.span_id == whole.context.span_id


def test_a_stopped_server_is_a_fault(recording: Recording) -> None:
    with harness("sync", "gone", deadline=0.05, **recording.options) as stores:
        shell = stores.db.session.shell

        def gone(*_: Any) -> Any:
            raise ConnectionFailure("connect", "refused", sent=False)

        shell.channel.exchange = gone
        with pytest.raises(StoreUnavailableError):
            stores.db.users.find("u")
    assert durations(recording) == {("User", "find", "StoreUnavailableError"): 1}
    assert recording.total("keyweave.retries") >= 1
    (span,) = recording.spans()
    assert reported(span) == ("find User", "User", None, "unavailable")


def test_sweep_and_check_are_operations_of_the_store(stores: Harness, recording: Recording) -> None:
    stores.do(stores.db.sweep())
    assert stores.do(stores.db.check()).clean
    assert durations(recording) == {("", "sweep", ""): 1, ("", "check", ""): 1}


def theirs(settings: ConnectionSettings) -> redis.Redis:
    """A client of redis-py on the same server."""
    if settings.path:
        return redis.Redis(unix_socket_path=settings.path)
    return redis.Redis(
        settings.host, settings.port, settings.db, settings.password, username=settings.username
    )


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_nothing_is_counted_twice_beside_redis_py(
    flavour: str, recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    """redis-py measures its own commands when that is enabled. A store's do not pass through it."""
    monkeypatch.setattr("opentelemetry.metrics.get_meter_provider", lambda: recording.meters)
    groups = [MetricGroup.COMMAND, MetricGroup.CONNECTION_BASIC, MetricGroup.CONNECTION_ADVANCED]
    recorder.reset_collector()
    get_observability_instance().init(OTelConfig(metric_groups=groups))
    try:
        with harness(flavour, "twice", **recording.metrics_only) as stores:
            for number in range(5):
                stores.do(stores.db.users.create(user(f"u{number}")))
                stores.do(stores.db.users.get(f"u{number}"))
            assert durations(recording) == {("User", "create", ""): 5, ("User", "get", ""): 5}
            # Over a client, redis-py makes the connections, and counts them.
            counted = {"db.client.connection.count"} if chosen_channel() == "redis_py" else set()
            assert recording.names("redis-py") <= counted
            with theirs(stores.db.session.shell.settings) as client:
                client.ping()
            assert recording.total(DURATION) == 11, "redis-py measures, so its silence before means something"
    finally:
        reset_observability_instance()
        recorder.reset_collector()


def named_operations(path: Path) -> Iterator[str]:
    """The purpose that generated code passes with each flow; fails when it passes none."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            if node.func.attr in ("_run", "run"):
                yield ast.literal_eval(node.args[1])


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_generated_code_names_every_operation(flavour: str) -> None:
    paths = (ROOT / "generated" / "compozy_store" / flavour).glob("*.py")
    inherited = [ROOT / "runtime" / "keyweave" / flavour / f"{name}.py" for name in ("rows", "repository")]
    generated = {name for path in (*paths, *inherited) for name in named_operations(path)}
    # A store's check, health and transactions are run by its session.
    session = (ROOT / "runtime" / "keyweave" / flavour / "session.py").read_text(encoding="utf-8")
    in_session = set(re.findall(r'self\.run\(.*, "(\w+)"', session))
    assert in_session == {"check", "health", "transact"}
    assert generated | in_session == OPERATIONS
