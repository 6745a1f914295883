"""pytest fixtures: a store on a real server, with a namespace per test, which is emptied afterwards.

pytest loads this module in every project of an environment that has Keyweave. So it imports only pytest until a fixture
is requested, and it adds only options and fixtures, whose names begin with `keyweave`.
"""

from __future__ import annotations

import importlib
import os
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from keyweave.model.entity import Package

URL_VARIABLE = "KEYWEAVE_TEST_URL"
"""Differs from the admin tool's variable: tests must not use the production store by accident."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options for the server and the package that the fixtures use."""
    group = parser.getgroup("keyweave", "Keyweave: stores for tests")
    group.addoption(
        "--keyweave-url",
        metavar="URL",
        help=f"server of keyweave_store; also {URL_VARIABLE} and the setting keyweave_url. Default: embedded:",
    )
    parser.addini("keyweave_url", "server of keyweave_store, such as redis://localhost:6379", default="")
    parser.addini(
        "keyweave_package",
        "import name of the generated package; default: KEYWEAVE_PACKAGE, or the only one in generated/",
        default="",
    )


@pytest.fixture(scope="session")
def keyweave_url(pytestconfig: pytest.Config) -> str:
    """The URL of the server for the stores of tests. Override it to use another server."""
    return (
        pytestconfig.getoption("--keyweave-url")
        or os.environ.get(URL_VARIABLE)
        or pytestconfig.getini("keyweave_url")
        or "embedded:"
    )


@pytest.fixture(scope="session")
def keyweave_package(pytestconfig: pytest.Config) -> Package:
    """The generated package of the stores of tests."""
    from keyweave.errors import ConfigurationError
    from keyweave.opening.locate import locate

    name = pytestconfig.getini("keyweave_package") or os.environ.get("KEYWEAVE_PACKAGE")
    try:
        return locate(
            name or None, pytestconfig.rootpath, hint="name it with keyweave_package in pytest's settings"
        )
    except ConfigurationError as error:
        raise pytest.UsageError(f"keyweave: {error}") from None


@pytest.fixture(scope="session")
def _keyweave_keeper(keyweave_url: str, keyweave_package: Package) -> Iterator[Any]:
    """A shell that stays open during the whole run, so that an embedded server starts once."""
    from keyweave.opening.prepare import prepare
    from keyweave.sync.shell import Shell

    settings, _ = prepare(keyweave_package, keyweave_url)
    with Shell(settings) as shell:
        yield shell


@pytest.fixture
def keyweave_namespace(_keyweave_keeper: Any, keyweave_url: str, keyweave_package: Package) -> Iterator[str]:
    """A tenant for this test alone. All of its keys are removed afterwards."""
    from keyweave.opening.prepare import prepare
    from keyweave.transfer.clear import clear

    namespace = f"test-{secrets.token_hex(8)}"
    yield namespace
    _, context = prepare(keyweave_package, keyweave_url, namespace=namespace)
    _keyweave_keeper.run(clear(context))


@pytest.fixture
def keyweave_store(keyweave_namespace: str, keyweave_url: str, keyweave_package: Package) -> Iterator[Any]:
    """An empty blocking store."""
    module = importlib.import_module(f"{keyweave_package.name}.sync")
    with module.Store.open(keyweave_url, namespace=keyweave_namespace) as store:
        yield store


@pytest.fixture
def keyweave_async_store(
    keyweave_namespace: str, keyweave_url: str, keyweave_package: Package
) -> AbstractAsyncContextManager[Any]:
    """An empty asyncio store, not open yet: `async with keyweave_async_store as store`.

    A store belongs to the event loop that opens it, and that loop to the plugin that runs coroutines.
    """
    module = importlib.import_module(f"{keyweave_package.name}.aio")
    store: AbstractAsyncContextManager[Any] = module.Store.open(keyweave_url, namespace=keyweave_namespace)
    return store
