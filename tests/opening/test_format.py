"""The format of generated code: a store of another format is not opened, and the error says what to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from importlib import resources
from typing import Any

import pytest
from typer.testing import CliRunner

import compozy_store
from compozy_store import PACKAGE, aio, sync
from keyweave.admin.app import app
from keyweave.errors import ConfigurationError, FormatError
from keyweave.model.entity import Package
from keyweave.opening import prepare as opening
from keyweave.opening.prepare import prepare
from keyweave_generator import stamp

NOWHERE = "redis://nowhere.invalid"

OLDER = (
    "the generated package compozy_store has format 0, and this version of keyweave runs format 3; "
    "the code is older: run `keyweave generate` with this version, and deploy what it writes"
)
NEWER = (
    "the generated package compozy_store has format 4, and this version of keyweave runs format 3; "
    "the code is newer: upgrade keyweave, or run `keyweave generate` with this version"
)


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("something connected")


async def awaited() -> None:
    await aio.Store.open(NOWHERE, connection_factory=refuse)


async def entered() -> None:
    async with aio.Store.open(NOWHERE, connection_factory=refuse):
        pass


OPEN: dict[str, Callable[[], object]] = {
    "sync": lambda: sync.Store.open(NOWHERE, connection_factory=refuse),
    "aio": lambda: asyncio.run(awaited()),
    "aio, as a context manager": lambda: asyncio.run(entered()),
}


@pytest.mark.parametrize(("number", "message"), [(0, OLDER), (4, NEWER)])
@pytest.mark.parametrize("way", OPEN)
def test_a_store_of_another_format_is_not_opened(
    monkeypatch: pytest.MonkeyPatch, way: str, number: int, message: str
) -> None:
    monkeypatch.setattr(PACKAGE, "format", number)
    with pytest.raises(FormatError) as refused:
        OPEN[way]()
    assert str(refused.value) == message
    assert (refused.value.found, refused.value.known) == (number, 3)
    assert isinstance(refused.value, ConfigurationError)


def test_code_from_before_formats_had_numbers_is_older() -> None:
    package = Package(
        name="compozy_store",
        namespace=PACKAGE.namespace,
        groups=PACKAGE.groups,
        entities=tuple(PACKAGE.entities.values()),
        scripts=PACKAGE.scripts,
        fingerprint=PACKAGE.fingerprint,
    )
    with pytest.raises(FormatError) as refused:
        prepare(package, NOWHERE)
    assert str(refused.value) == OLDER


def test_a_wrong_option_is_reported_after_a_wrong_format(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PACKAGE, "format", 4)
    with pytest.raises(FormatError):
        prepare(PACKAGE, "no url at all", attempts=-1)


@pytest.mark.parametrize("command", ["check", "doctor", "sweep", "acl"])
def test_a_command_ends_with_the_error_in_one_line(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(PACKAGE, "format", 4)
    result = CliRunner().invoke(app, [command, "--package", "compozy_store", "--url", NOWHERE])
    assert result.exit_code == 2
    assert NEWER in result.stderr
    assert result.stdout == ""


def test_generator_and_runtime_agree() -> None:
    assert stamp.FORMAT == opening.FORMAT == PACKAGE.format


def test_the_manifest_has_the_number() -> None:
    manifest = json.loads((resources.files(compozy_store) / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["format"] == PACKAGE.format
