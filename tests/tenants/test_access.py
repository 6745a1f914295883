"""One access rule for all tenants of an application, on a real server: it permits every tenant, and nothing besides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
import redis
from typer.testing import CliRunner

from compozy_store import Status, aio, sync
from keyweave.cli import commands
from keyweave.errors import AuthenticationError
from tests.harness import AT_ONCE, run, task, user
from tests.servers.running import Running, configured_server

APP = commands.assemble(commands.installed())
RUNNER = CliRunner()
NAMES = ["acme", "a b", "{x}*", "ümläut", "later"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with the users of the rules for all tenants, and one of the rule for the tenant `acme`."""
    with configured_server() as running, running.client() as client:
        for words in (["--all-tenants"], ["--tenant", "acme", "--for", "application", "--user", "one"]):
            printed = RUNNER.invoke(APP, ["acl", "-p", "compozy_store", "--format", "json", *words])
            assert printed.exit_code == 0, printed.output
            for rule in json.loads(printed.stdout).values():
                client.execute_command("ACL", "SETUSER", *rule, ">word")
        yield running


def url(server: Running, name: str = "keyweave-application") -> str:
    return f"unix://{name}:word@{server.socket}"


def test_the_application_uses_every_tenant(server: Running) -> None:
    with sync.Store.open(url(server), retention={"TaskState": AT_ONCE}, sweep_every=0) as store:
        for name in NAMES:
            tenant = store.tenant(name)
            tenant.users.create(user("u"))
            tenant.workflow_states.create(run())
            tenant.task_states.create(task("t", status=Status.SUCCESS))
            assert tenant.transact(lambda tx: tx.users.get_for_update("u")).id == "u"
            assert tenant.users.all().count() == 1
            assert tenant.sweep() == 1
            assert tenant.health().serving

    async def main() -> None:
        async with aio.Store.open(url(server)) as store:
            for name in NAMES:
                assert (await store.tenant(name).users.get("u")).id == "u"

    asyncio.run(main())


def test_the_admins_rule_runs_the_commands_for_all_tenants(server: Running) -> None:
    shared = [
        "--all-tenants",
        "--url",
        url(server, "keyweave-admin"),
        "-p",
        "compozy_store",
        "--format",
        "json",
    ]
    for command in ("check", "reindex", "backfill", "sweep", "health"):
        result = RUNNER.invoke(APP, [command, *shared])
        assert result.exit_code == 0, result.output
        assert json.loads(result.stdout)["total"]["failed"] == 0


def test_nothing_outside_the_application_and_environment_is_permitted(server: Running) -> None:
    with redis.Redis(
        unix_socket_path=str(server.socket), username="keyweave-application", password="word"
    ) as client:
        for key in (
            "other",
            "{compozy:v1:dev}:x",
            "{compozy:v1:dev2:acme:auth:0}:User:u",
            "{compozy:v1:production:acme:auth:0}:User:u",
            "{compozy:v2:dev:acme:auth:0}:User:u",
            "{compozy2:v1:dev:acme:auth:0}:User:u",
            "x{compozy:v1:dev:acme:auth:0}:User:u",
        ):
            with pytest.raises(redis.ResponseError, match=r"NOPERM|[Nn]o permissions"):
                client.get(key)
        assert client.get("{compozy:v1:dev:anything:auth:0}:User:u") is None
    for environment in ("dev2", "production"):
        with pytest.raises(AuthenticationError):
            sync.Store.open(url(server), environment=environment)


def test_a_user_of_one_tenant_reaches_no_other_through_its_store(server: Running) -> None:
    with sync.Store.open(url(server, "one"), namespace="acme") as store:
        other = store.tenant("globex")
        for _ in range(2):
            with pytest.raises(AuthenticationError):
                other.users.find("u")
            with pytest.raises(AuthenticationError):
                other.users.create(user("u"))
        assert store.users.find("missing") is None
        assert store.tenant("acme").users.find("missing") is None


def test_a_rule_is_for_one_tenant_or_for_all() -> None:
    refused = RUNNER.invoke(APP, ["acl", "-p", "compozy_store", "--all-tenants", "--tenant", "acme"])
    assert refused.exit_code == 2
