"""A store over TLS: everything works, and a server that cannot prove its identity receives no password."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from typer.testing import CliRunner

from compozy_engine import Engine
from keyweave.cli import commands
from keyweave.errors import StoreUnavailableError
from tests.contract.stories import add, ids, task
from tests.harness import FLAVOURS, harness, run
from tests.harness import task as row
from tests.operations.examined import examined, names
from tests.servers.tls import tls_server

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    with tls_server(folder, requirepass="word", appendonly="yes", maxmemory="256mb") as place:
        yield place


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_store_works_over_tls(
    flavour: str, address: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"rediss://:word@{address}?tls_ca_file={folder / 'ca.pem'}"
    monkeypatch.setattr("tests.harness.server_url", lambda: url)
    with harness(flavour, "tls", count=2) as stores:
        stores.do(stores.db.workflow_states.create(run("w")))
        big = [row(f"t{number}", output={"text": "x" * 200_000}) for number in range(20)]

        def create(one: Any) -> Any:
            return lambda store: store.task_states.create(one)

        assert all(not isinstance(each, Exception) for each in stores.together([create(one) for one in big]))
        records = stores.do(stores.db.task_states.all())
        assert sorted(each.task_exec_id for each in records) == sorted(each.task_exec_id for each in big)
        assert all(len(each.output["text"]) == 200_000 for each in records)
        health = stores.do(stores.db.health())
        assert (health.encrypted, health.findings) == (True, ())
        stores.do(stores.db.workflow_states.delete("w"))
        assert stores.do(stores.db.task_states.all().count()) == 0


def test_the_engine_works_over_tls(address: str, folder: Path) -> None:
    async def story() -> None:
        url = f"rediss://:word@{address}"
        async with Engine.open(url, namespace="engine", tls_ca_file=folder / "ca.pem") as engine:
            await add(engine, task("a"), task("b"))
            done = await engine.workflows.complete_workflow("w")
            assert sorted(ids(done.tasks.values())) == ["a", "b"]

    asyncio.run(story())


@pytest.mark.parametrize("flavour", FLAVOURS)
@pytest.mark.parametrize("trusted", ["system", "other"])
def test_a_server_that_cannot_prove_its_identity_gets_no_password(
    flavour: str, trusted: str, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options: dict[str, Any] = {}
    if trusted == "other":
        trustme.CA().cert_pem.write_to_path(tmp_path / "ca.pem")
        options["tls_ca_file"] = tmp_path / "ca.pem"
    monkeypatch.setattr("tests.harness.server_url", lambda: f"rediss://:word@{address}")
    with pytest.raises(StoreUnavailableError, match="certificate"), harness(flavour, "tls", **options):
        pass


def test_a_plain_connection_to_a_tls_server_fails(address: str) -> None:
    with pytest.raises(StoreUnavailableError):
        examined(f"redis://:word@{address}?timeout=2")


def test_a_client_shows_its_certificate_where_one_is_asked_for(tmp_path: Path) -> None:
    with tls_server(tmp_path, client_certificates=True, appendonly="yes", maxmemory="256mb") as place:
        url = f"rediss://{place}?tls_ca_file={tmp_path / 'ca.pem'}"
        assert examined(f"{url}&tls_cert_file={tmp_path / 'client.pem'}").serving
        with pytest.raises(StoreUnavailableError):
            examined(url)


def test_doctor_is_content_with_tls(address: str, folder: Path) -> None:
    url = f"rediss://:word@{address}?tls_ca_file={folder / 'ca.pem'}"
    assert names(examined(url)) == set()
    result = RUNNER.invoke(app, ["health", "--url", url, "-p", "compozy_store"])
    assert (result.exit_code, "transport    TLS" in result.output) == (0, True)
    assert "word" not in result.output
