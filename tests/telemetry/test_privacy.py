"""What is emitted carries kinds: no id, no value, no secret, for every operation and every error."""

from __future__ import annotations

import base64
import importlib
import inspect
import logging
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from compozy_engine import Engine
from compozy_engine.errors import UserNotFoundError
from compozy_store import PACKAGE, Role, Status, User, WorkflowState
from compozy_store.sync import Store
from keyweave.connection.settings import parse_url
from keyweave.effects import ConnectionFailure, Flow, Send, ServerError
from keyweave.errors import KeyweaveError
from keyweave.telemetry.catalogue import BY_NAME, OPERATIONS, REASONS, SPAN_ATTRIBUTES
from keyweave.telemetry.configure import server_address
from keyweave.telemetry.outcomes import CODES, OTHER, ErrorTypes, Outcome
from tests.contract import stories
from tests.servers.running import new_namespace, server_url
from tests.telemetry.planting import MARK, Planted, traces_in
from tests.telemetry.recording import Recording

CONTRACT = Path(stories.__file__).parent


def conformance_suite() -> Iterator[tuple[str, Callable[[str], None]]]:
    """Every test of the contract that runs on an engine."""
    for path in sorted(CONTRACT.glob("test_*.py")):
        module = importlib.import_module(f"tests.contract.{path.stem}")
        for name, test in vars(module).items():
            if name.startswith("test_") and list(inspect.signature(test).parameters) == ["kind"]:
                yield f"{path.stem}.{name}", test


class _Keeper(logging.Handler):
    """Keeps log records."""

    def __init__(self, records: list[logging.LogRecord]) -> None:
        super().__init__(logging.DEBUG)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        self._records.append(record)


class Emissions:
    """Everything that leaves the process while this is open."""

    def __init__(self) -> None:
        self.recording = Recording()
        self.records: list[logging.LogRecord] = []
        self.raised: list[BaseException] = []

    @contextmanager
    def kept(self) -> Iterator[Emissions]:
        """Keep log records of every level, and every error of Keyweave with the internal ones that cause it."""
        handler = _Keeper(self.records)
        root = logging.getLogger()
        level = root.level
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        with pytest.MonkeyPatch.context() as patch:
            for kind in (KeyweaveError, ConnectionFailure, ServerError):
                patch.setattr(kind, "__init__", self._noting(kind.__init__))
            try:
                yield self
            finally:
                root.setLevel(level)
                root.removeHandler(handler)

    def _noting(self, original: Callable[..., None]) -> Callable[..., None]:
        def init(error: Any, *arguments: Any, **options: Any) -> None:
            original(error, *arguments, **options)
            self.raised.append(error)

        return init

    def texts(self) -> Iterator[str]:
        for span in self.recording.spans():
            yield span.to_json()
        for point in self.recording.points():
            yield repr(point)
        for record in self.records:
            yield f"{record.getMessage()} {record.__dict__}"
        for error in self.raised:
            for each in causes_of(error):
                if not isinstance(each, ZeroDivisionError):  # what a story raises on purpose
                    yield without_key(each)

    def leaks(self) -> list[str]:
        return [leak for text in self.texts() for leak in traces_in(text)]


def without_key(error: BaseException) -> str:
    """The texts of an error, without the key of the row that the caller named."""
    key = getattr(error, "key", "")
    text = f"{type(error).__name__} {error}"
    named = re.sub(f" {re.escape(repr(key))}(?=[:.])", "", text, count=1) if key else text
    return f"{named} {type(error)!r}"


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """An error and what a traceback would show with it."""
    seen: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        each = waiting.pop()
        if each is not None and each not in seen:
            seen.append(each)
            waiting += [each.__cause__, None if each.__suppress_context__ else each.__context__]
    return iter(seen)


@asynccontextmanager
async def planted_engine(
    emissions: Emissions, kind: str, *, namespace: str | None = None, **options: Any
) -> AsyncIterator[Any]:
    """An empty engine as stories ask for it, with telemetry, a tenant that is a secret, and marks on every text."""
    options |= emissions.recording.options
    tenant = new_namespace(f"{MARK}{namespace or kind}")
    async with Engine.open(server_url(), namespace=tenant, **options) as engine:
        yield Planted(engine)


@pytest.fixture(scope="module")
def suite() -> Emissions:
    """What the whole conformance suite emits."""
    emissions = Emissions()
    reported = dict(conformance_suite())
    assert len(reported) >= 77
    modules = {inspect.getmodule(test) for test in reported.values()} | {stories}
    with emissions.kept(), pytest.MonkeyPatch.context() as patch:
        for module in modules:
            if hasattr(module, "empty_engine"):
                patch.setattr(module, "empty_engine", partial(planted_engine, emissions))
        for test in reported.values():
            test("server")
    return emissions


def test_the_conformance_suite_emits_kinds_only(suite: Emissions) -> None:
    assert len(suite.recording.spans()) > 1000
    assert len(suite.raised) > 100
    assert suite.leaks() == []


def vocabulary() -> dict[str, set[Any]]:
    """Every value that an attribute may have: words of the schema and of closed sets, and what the store is called."""
    entities = PACKAGE.entities.values()
    address, port = server_address(parse_url(server_url()))
    return {
        "db.system.name": {"redis"},
        "store_driver": {"redis"},
        "db.namespace": {"0"},
        "server.address": {address},
        "server.port": {port},
        "db.client.connection.pool.name": {f"{address}/0" if port is None else f"{address}:{port}/0"},
        "db.client.connection.state": {"idle", "used"},
        "db.collection.name": set(PACKAGE.entities),
        "db.operation.name": {*OPERATIONS} | {f"tx.{name}" for name in OPERATIONS},
        "db.response.status_code": {*CODES, OTHER},
        "error.type": set(ErrorTypes(PACKAGE).names),
        "keyweave.view": {name for entity in entities for name in (*entity.views, *entity.uniques)},
        "keyweave.outcome": {outcome.value for outcome in Outcome},
        "keyweave.reason": {*REASONS},
    }


def test_attributes_hold_words_of_closed_sets_only(suite: Emissions) -> None:
    allowed = vocabulary()
    for point in suite.recording.points():
        assert set(point.attributes) <= set(BY_NAME[point.metric].attributes), point
        assert all(value in allowed[name] for name, value in point.attributes.items()), point
    for span in suite.recording.spans():
        assert set(span.attributes or {}) <= set(SPAN_ATTRIBUTES), span.name
        assert all(value in allowed[name] for name, value in (span.attributes or {}).items()), span.name


def test_more_rows_and_new_errors_make_no_more_series() -> None:
    recording = Recording()
    with Store.open(
        server_url(), namespace=new_namespace("series"), meter_provider=recording.meters
    ) as store:
        sizes = []
        for size in (20, 200):
            for number in range(size):
                name = f"{size}-{number}"
                store.users.create(User(id=name, email=f"{name}@x", role=Role.USER))
                kind = type(f"Error{name}", (RuntimeError,), {})

                def fail(_: User, kind: type[Exception] = kind) -> None:
                    raise kind

                with pytest.raises(kind):
                    store.users.change(name, fail)
                with pytest.raises(UserNotFoundError):
                    store.users.get(f"{name}?")
            sizes.append(len(recording.points()))
    assert sizes[0] == sizes[1]


def test_the_search_finds_the_mark() -> None:
    assert traces_in(f"no such user: {MARK}u")
    assert traces_in(repr(MARK.encode() + b"\0"))
    assert traces_in(f"No such email {MARK.upper()}@X")
    assert traces_in(base64.b64encode(f"{MARK}u".encode()).decode())


@pytest.mark.parametrize("url", ["redis://user:{0}@127.0.0.1:1/0", "rediss://:{0}@127.0.0.1:1"])
def test_a_password_appears_nowhere(url: str) -> None:
    emissions = Emissions()
    with emissions.kept(), pytest.raises(KeyweaveError):
        Store.open(url.format(MARK), connect_timeout=0.2, **emissions.recording.options)
    assert emissions.raised
    assert emissions.leaks() == []


def test_a_missing_key_is_named_by_the_error_and_emitted_nowhere() -> None:
    """The caller who gave the key reads it in the text of the error; no span, metric or log of Keyweave has it."""
    emissions = Emissions()
    with (
        emissions.kept(),
        Store.open(server_url(), namespace=new_namespace("key"), **emissions.recording.options) as store,
        pytest.raises(UserNotFoundError) as caught,
    ):
        store.users.get(f"{MARK}u")
    assert caught.value.key == f"{MARK}u"
    assert str(caught.value) == f"User '{MARK}u': no such row"
    assert caught.value in emissions.raised
    assert emissions.leaks() == []


def bad_calls(store: Any) -> Iterator[Callable[[], Any]]:
    """Calls whose arguments or stored rows are wrong, and hold the mark."""
    partition = store.session.context.keyspace.partition("auth")
    document = partition.document("User", f"{MARK}row")
    store.session.shell.run(sending("SET", document, f'{{"id":"{MARK}","role":"{MARK}"}}'))
    head = '{"revision":1700000000000002,"created":1700000000000001,"expires":0,"op":"x"'
    yield lambda: store.users.get(f"{MARK}row")
    store.session.shell.run(sending("SET", document, f'{head},"id":"{MARK}","email":"x","role":"{MARK}"}}'))
    yield lambda: store.users.get(f"{MARK}row")
    yield lambda: store.users.create(User(id=MARK, email=MARK, role=MARK))  # type: ignore[arg-type]
    yield lambda: store.users.create(User(id=MARK, email=f"{MARK}\udc00", role=Role.USER))
    yield lambda: store.users.create(User(id=MARK, email={MARK: MARK}, role=Role.USER))  # type: ignore[arg-type]
    yield lambda: store.users.get(f"{MARK}\udc00")
    yield lambda: store.users.all().page(cursor=MARK)
    yield lambda: store.users.all().page(limit=MARK)
    yield lambda: store.users.by_role([MARK]).page()
    yield lambda: store.users.where().order_by(MARK).page()
    yield lambda: store.workflow_states.create(
        WorkflowState(workflow_exec_id=MARK, workflow_id=MARK, status=Status.RUNNING, output={MARK: {MARK}})
    )


def sending(*command: Any) -> Flow[Any]:
    """One raw command."""
    return (yield Send((command,)))


def test_an_error_does_not_repeat_the_refused_value() -> None:
    emissions = Emissions()
    options = {"namespace": new_namespace("refused"), **emissions.recording.options}
    with emissions.kept(), Store.open(server_url(), **options) as store:
        for call in bad_calls(store):
            with pytest.raises(KeyweaveError):
                call()
    assert emissions.leaks() == []
