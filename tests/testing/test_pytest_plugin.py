"""The fixtures that projects test with, in projects of their own: they work, they clean up, and unused they cost nothing."""

from __future__ import annotations

import pytest

from compozy_store import sync
from keyweave.effects import Flow, Send
from tests.servers.running import new_namespace, server_url

pytest_plugins = "pytester"

USING = """
import asyncio
from compozy_store import User, Role

SEEN = []

def new(key):
    return User(id=key, email=f"{key}@x", role=Role.USER)

def test_a_store_is_empty(keyweave_store, keyweave_namespace):
    keyweave_store.users.create(new("a"))
    assert keyweave_store.users.all().count() == 1
    SEEN.append(keyweave_namespace)

def test_and_so_is_the_next(keyweave_store, keyweave_namespace):
    assert keyweave_store.users.all().count() == 0
    keyweave_store.users.create(new("a"))
    assert keyweave_namespace not in SEEN

def test_an_asyncio_store(keyweave_async_store, keyweave_store):
    async def story():
        async with keyweave_async_store as store:
            await store.users.create(new("b"))
    asyncio.run(story())
    assert keyweave_store.users.get("b").email == "b@x"

def test_that_fails(keyweave_store):
    keyweave_store.users.create(new("c"))
    raise AssertionError("meant")
"""

NOT_USING = """
import sys

def test_nothing_of_it_is_loaded():
    heavy = {"hiredis", "redis", "typer", "rich", "opentelemetry", "jinja2", "black", "keyweave.sync.shell", "keyweave.aio.shell"}
    assert heavy & set(sys.modules) == set()
    assert "keyweave.testing.pytest_plugin" in sys.modules
"""

INI = """
[pytest]
keyweave_package = compozy_store
addopts = -p no:asyncio -p no:langsmith_plugin -p no:cacheprovider
filterwarnings = error
"""


def keys() -> set[bytes]:
    """Every key on the server under test that a fixture made."""

    def scan() -> Flow[set[bytes]]:
        (names,) = yield Send((("KEYS", "{compozy:v1:dev:test-*"),))
        return set(names)

    with sync.Store.open(server_url(), namespace=new_namespace("keeper")) as store:
        return store.session.run(scan())


def test_every_test_has_an_empty_store_and_leaves_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile(USING)
    with sync.Store.open(server_url(), namespace=new_namespace("keeper")) as store:
        path = store.session.shell.settings.path
        before = keys()
        result = pytester.runpytest_subprocess(f"--keyweave-url=unix://{path}")
        result.assert_outcomes(passed=3, failed=1)
        assert keys() == before


def test_the_default_server_is_embedded(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KEYWEAVE_TEST_URL", raising=False)
    monkeypatch.setenv("KEYWEAVE_URL", "redis://production.invalid")
    pytester.makeini(INI)
    pytester.makepyfile(USING)
    pytester.runpytest_subprocess().assert_outcomes(passed=3, failed=1)


def test_a_project_without_it_loads_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeini(INI)
    pytester.makepyfile(NOT_USING)
    pytester.runpytest_subprocess().assert_outcomes(passed=1)


def test_a_package_that_cannot_be_found_is_reported(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KEYWEAVE_PACKAGE", raising=False)
    pytester.makepyfile("def test_it(keyweave_store): ...")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*which generated package? there is none in generated/; name it with*"])
