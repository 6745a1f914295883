"""Both flavours send the same commands in the same order for every generated method, in transactions too."""

from __future__ import annotations

import inspect
import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from msgspec import UNSET

from compozy_store import PACKAGE, APIKey, Component, ExecutionType, Role, Status, UsageEntry, User, aio, sync
from keyweave.aio import rows as aio_rows
from keyweave.effects import Command
from keyweave.errors import KeyweaveError
from keyweave.model.page import Page
from keyweave.store.clock import ServerClock
from keyweave.sync import rows as sync_rows
from tests.harness import Harness, fake_harness, run, task

REPOSITORIES = {
    "users": sync.UserRepository,
    "api_keys": sync.APIKeyRepository,
    "workflow_states": sync.WorkflowStateRepository,
    "task_states": sync.TaskStateRepository,
}
ANSWERS: dict[str, dict[str, Any]] = {
    "page": {"limit": 1},
    "list": {},
    "first": {},
    "one": {},
    "count": {},
    "exists": {},
    "keys": {},
    "sum": {"field": "id"},
    "min": {},
    "max": {},
    "explain": {"limit": 5},
    "group_counts": {},
}
"""What handles can be asked for, with its arguments."""

_NAMES = [
    f"{place}.{name}"
    for place, repository in REPOSITORIES.items()
    for name in dir(repository)
    if not name.startswith("_")
]


def answers_of(method: str) -> list[str]:
    """The names of what the handle that a method returns can be asked for; an empty one if it returns no handle."""
    place, _, name = method.partition(".")
    returned = str(inspect.signature(getattr(REPOSITORIES[place], name)).return_annotation)
    classes = [
        each
        for each in (sync_rows.Rows, sync_rows.Pairs, sync_rows.Groups)
        if f"{each.__name__}[" in returned
    ]
    found = [answer for answer in ANSWERS if any(hasattr(each, answer) for each in classes)]
    return [f"{method}/{answer}" for answer in found] or [method]


METHODS = [each for method in _NAMES for each in answers_of(method)]
KEYS = {"users": "u1", "api_keys": "k1", "workflow_states": "w1", "task_states": "t1"}
FIELDS: dict[str, dict[str, Any]] = {
    "users": {"role": Role.ADMIN},
    "api_keys": {"prefix": "p9"},
    "workflow_states": {"status": Status.PAUSED},
    "task_states": {"status": Status.PAUSED},
}
"""A field of each entity, for `update`."""

ARGUMENTS: dict[str, Any] = {
    "id": "u1",
    "email": "U1@x",
    "role": Role.USER,
    "user_id": "u1",
    "fingerprint": b"f1",
    "prefix": "p1",
    "workflow_exec_id": "w1",
    "workflow_id": "f",
    "task_exec_id": "t1",
    "task_id": "t",
    "parent_state_id": "t1",
    "status": Status.RUNNING,
    "component": Component.TASK,
    "execution_type": ExecutionType.BASIC,
    "agent_id": "a",
    "action_id": "b",
    "tool_id": "c",
    "function": lambda row: None,
    "entries": [UsageEntry(provider="p", model="m", prompt_tokens=1)],
    "field": "name",
    "by": 1,
    "at": datetime(2030, 1, 1, tzinfo=UTC),
    "max_depth": 1,
    "for_update": True,
    "wait": 1.0,
    "if_none": None,
}
"""A value for every parameter of every method; a new parameter needs one here."""


REFUSED = ("'TransactionRequiredError'", "'ValidationError'", "'UnboundedQueryError'")
"""The possible outcomes of a call that sends nothing."""


def new(place: str, key: str = "new") -> Any:
    """A row that does not exist yet."""
    rows = {
        "users": User(id=key, email=f"{key}@x", role=Role.USER),
        "api_keys": APIKey(id=key, user_id="u1", hash=b"h", fingerprint=key.encode(), prefix=key),
        "workflow_states": run(key),
        "task_states": task(key, "t1", workflow="w1"),
    }
    return rows[place]


def given_to(stores: Harness, method: str, *, every: bool) -> dict[str, Any]:
    """The arguments of a method: only the required ones, or all."""
    place, _, name = method.partition("/")[0].partition(".")
    parameters = inspect.signature(getattr(REPOSITORIES[place], name)).parameters
    given: dict[str, Any] = {}
    grouped = method.endswith("/group_counts")
    for word, parameter in list(parameters.items())[1:]:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and name == "update":
            given |= FIELDS[place]
            continue
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            filters = PACKAGE.entities[REPOSITORIES[place].__name__.removesuffix("Repository")].filters
            given |= (
                {name: ARGUMENTS[name] for name in filters if name in ARGUMENTS and name != "id"}
                if every
                else {}
            )
            continue
        if parameter.default is not inspect.Parameter.empty and grouped:
            continue
        if parameter.default is UNSET:
            given[word] = ARGUMENTS[word]
            continue
        if not every and parameter.default is not inspect.Parameter.empty:
            continue
        if word == "record":
            given[word] = (
                new(place) if name == "create" else stores.do(getattr(stores.db, place).get(KEYS[place]))
            )
        elif word == "records":
            given[word] = [new(place, "many"), stores.do(getattr(stores.db, place).get(KEYS[place]))]
        elif word == "rows":
            given[word] = "all"
        elif word == "keys":
            given[word] = [*KEYS.values(), "nobody", "t1"]
        else:
            given[word] = KEYS[place] if word == "key" else ARGUMENTS[word]
    return given


def reported(place: Any, method: str, given: dict[str, Any]) -> Generator[Any, Any, Any]:
    """The outcome of a method: an error by its name, a page with its next page."""
    method, _, answer = method.partition("/")
    repository, _, name = method.partition(".")
    rows = getattr(place, repository)
    if given.get("rows") == "all":
        given = {"rows": rows.where().order_by("revision").scan()}
    bound = getattr(rows, name)
    if name == "update":
        bound = partial(bound, given["key"])  # its key has no name, so that a field may be called `key`
        given = {word: value for word, value in given.items() if word != "key"}
    try:
        if not answer:
            outcome = yield bound(**given)
        else:
            handle = bound(**given)
            outcome = yield getattr(handle, answer)(**ANSWERS[answer])
            if isinstance(outcome, Page) and outcome.cursor is not None:
                rest = yield handle.page(cursor=outcome.cursor)
                outcome = (outcome.rows, rest.rows)
    except KeyweaveError as error:
        outcome = type(error).__name__
    return re.sub(r"datetime\([^)]*\)", "...", repr(outcome))


def comparable(log: list[Command]) -> list[list[str]]:
    """Commands as text; revisions, times and random ids by the order in which they first appear."""
    seen: dict[str, str] = {}

    def one(match: re.Match[str]) -> str:
        return seen.setdefault(match[0], f"#{len(seen)}")

    def text(word: Any) -> str:
        plain = word.decode("latin-1") if isinstance(word, bytes) else str(word)
        return re.sub(r"\b(?:[0-9a-f]{18}|[0-9a-f]{12}|[0-9]{16}|\d{4}-\d\d-\d\dT[\d:.]+Z)\b", one, plain)

    return [[text(word) for word in command] for command in log]


@contextmanager
def both() -> Iterator[list[tuple[Harness, list[Command]]]]:
    """A store of each flavour on its own fake, with the same few rows, and the commands that it sends from here on."""
    logs: list[list[Command]] = [[], []]
    with fake_harness("sync", logs[0]) as blocking, fake_harness("aio", logs[1]) as waiting:
        for stores, log in ((blocking, logs[0]), (waiting, logs[1])):
            populate(stores)
            # The time is asked for when the last reply is old, so both sides need a clock that stands still.
            clock = ServerClock(lambda: 0.0, lambda: 0.0)
            clock.set(stores.db.session.context.state.clock.now())
            stores.db.session.context.state.clock = clock
            log.clear()
        yield [(blocking, logs[0]), (waiting, logs[1])]


def populate(stores: Harness) -> None:
    for number in (1, 2):
        stores.do(stores.db.users.create(User(id=f"u{number}", email=f"u{number}@x", role=Role.USER)))
        credential = APIKey(
            id=f"k{number}", user_id="u1", hash=b"h", fingerprint=b"f%d" % number, prefix=f"p{number}"
        )
        stores.do(stores.db.api_keys.create(credential))
        stores.do(stores.db.workflow_states.create(run(f"w{number}")))
    for key, parent in (("t1", None), ("t2", "t1"), ("t3", "t1"), ("t4", "t2")):
        stores.do(stores.db.task_states.create(task(key, parent, workflow="w1")))


@pytest.mark.parametrize("every", [False, True], ids=["required", "every"])
@pytest.mark.parametrize("method", METHODS)
def test_flavours_send_the_same(method: str, every: bool) -> None:
    outcomes, sent = [], []
    with both() as sides:
        for stores, log in sides:
            given = given_to(stores, method, every=every)
            closure = stores.closure(partial(reported, method=method, given=given))
            outcomes.append(stores.do(closure(stores.db)))
            sent.append(comparable(log))
    assert sent[0] or outcomes[0] in REFUSED or method.endswith("/explain")
    assert sent[0] == sent[1]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("every", [False, True], ids=["required", "every"])
@pytest.mark.parametrize("method", METHODS)
def test_flavours_send_the_same_in_a_transaction(method: str, every: bool) -> None:
    """The method after a write in the same transaction."""
    outcomes, sent = [], []
    with both() as sides:
        for stores, log in sides:
            given = given_to(stores, method, every=every)
            group = ["users", "api_keys"] if method.startswith(("users", "api_keys")) else ["workflow_states"]

            def steps(
                tx: Any, given: dict[str, Any] = given, place: str = group[0]
            ) -> Generator[Any, Any, Any]:
                yield getattr(tx, place).upsert(new(place, "before"))
                return (yield from reported(tx, method, given))

            outcomes.append(stores.transact(steps))
            sent.append(comparable(log))
    assert any("rows" in command for command in sent[0])
    assert sent[0] == sent[1]
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("method", ["sweep", "check"])
def test_stores_send_the_same(method: str) -> None:
    with both() as sides:
        outcomes = [repr(stores.do(getattr(stores.db, method)())) for stores, _ in sides]
        sent = [comparable(log) for _, log in sides]
    assert sent[0]
    assert sent[0] == sent[1]
    assert outcomes[0] == outcomes[1]


def test_flavours_have_the_same_methods() -> None:
    for place, repository in REPOSITORIES.items():
        other = getattr(aio, repository.__name__)
        assert list(vars(repository)) == list(vars(other)), place
        for name in [each.partition(".")[2] for each in _NAMES if each.startswith(f"{place}.")]:
            blocking, waiting = (inspect.signature(getattr(each, name)) for each in (repository, other))
            assert blocking.parameters == waiting.parameters, f"{place}.{name}"


@pytest.mark.parametrize("name", ["Rows", "Pairs", "Groups"])
def test_handles_of_both_flavours_have_the_same_methods(name: str) -> None:
    handles = [getattr(module, name) for module in (sync_rows, aio_rows)]
    methods = [{method for method in dir(each) if not method.startswith("_")} for each in handles]
    assert methods[0] == methods[1]
    for method in methods[0]:
        blocking, waiting = (inspect.signature(getattr(each, method)) for each in handles)
        assert blocking.parameters == waiting.parameters, method
        assert getattr(handles[0], method).__doc__ == getattr(handles[1], method).__doc__, method
