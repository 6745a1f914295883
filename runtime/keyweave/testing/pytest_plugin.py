"""pytest fixtures: a store on a real server, with a namespace for each test, emptied afterwards.

pytest loads this module in every project of an environment that has Keyweave. So it imports nothing but pytest until a
fixture is asked for, and it adds nothing but options and fixtures, whose names begin with `keyweave`.
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
"""Another name than the admin tool's: tests must not find production's store by accident."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that say which server and which package the fixtures use."""
    group = parser.getgroup("keyweave", "Keyweave: stores for tests")
    group.addoption(
        "--keyweave-url",
        metavar="URL",
        help=f"server for keyweave_store; also {URL_VARIABLE} and ini keyweave_url. Default: embedded:",
    )
    parser.addini("keyweave_url", "server for keyweave_store, such as redis://localhost:6379", default="")
    parser.addini(
        "keyweave_package",
        "import name of the generated package; default: KEYWEAVE_PACKAGE, or the only one in generated/",
        default="",
    )


@pytest.fixture(scope="session")
def keyweave_url(pytestconfig: pytest.Config) -> str:
    """The URL of the server that the stores of tests are on. Override it to choose another."""
    return (
        pytestconfig.getoption("--keyweave-url")
        or os.environ.get(URL_VARIABLE)
        or pytestconfig.getini("keyweave_url")
        or "embedded:"
    )


@pytest.fixture(scope="session")
def keyweave_package(pytestconfig: pytest.Config) -> Package:
    """The generated package that the stores of tests belong to."""
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
    """A shell that stays open all the time, so that an embedded server starts once."""
    from keyweave.opening.prepare import prepare
    from keyweave.sync.shell import Shell

    settings, _ = prepare(keyweave_package, keyweave_url)
    with Shell(settings) as shell:
        yield shell


@pytest.fixture
def keyweave_namespace(_keyweave_keeper: Any, keyweave_url: str, keyweave_package: Package) -> Iterator[str]:
    """A tenant of this test's own. Every key of it is removed afterwards."""
    from keyweave.opening.prepare import prepare
    from keyweave.transfer.clear import clear

    namespace = f"test-{secrets.token_hex(8)}"
    yield namespace
    _, context = prepare(keyweave_package, keyweave_url, namespace=namespace)
    _keyweave_keeper.run(clear(context))


@pytest.fixture
def keyweave_store(keyweave_namespace: str, keyweave_url: str, keyweave_package: Package) -> Iterator[Any]:
    """A blocking store that holds nothing."""
    module = importlib.import_module(f"{keyweave_package.name}.sync")
    with module.Store.open(keyweave_url, namespace=keyweave_namespace) as store:
        yield store


@pytest.fixture
def keyweave_async_store(
    keyweave_namespace: str, keyweave_url: str, keyweave_package: Package
) -> AbstractAsyncContextManager[Any]:
    """An asyncio store that holds nothing, not yet open: `async with keyweave_async_store as store`.

    A store belongs to the event loop that opens it, and the loop to whichever plugin runs coroutines.
    """
    module = importlib.import_module(f"{keyweave_package.name}.aio")
    store: AbstractAsyncContextManager[Any] = module.Store.open(keyweave_url, namespace=keyweave_namespace)
    return store
