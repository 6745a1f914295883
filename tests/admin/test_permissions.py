"""The printed access rules suffice for what they are for, and permit nothing that is not sent."""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from typer.testing import CliRunner

import keyweave
from compozy_engine import Engine
from compozy_store import Role, User, aio, sync
from compozy_store.package import PACKAGE
from keyweave.admin import permissions
from keyweave.cli import commands
from keyweave.connection.settings import parse_url
from keyweave.errors import AuthenticationError, ConfigurationError
from keyweave.opening.prepare import prepare
from tests.contract import stories
from tests.servers.redis8 import server_command
from tests.servers.running import Running, chosen_server, configured_server

RUNNER = CliRunner()
app = commands.assemble(commands.installed())

TENANT = "acme [eu] *?"
"""The rule of a tenant permits its own keys only, for any name of the tenant."""

HANDSHAKE = {"auth", "client", "select"}
"""Every user may send AUTH. A rule grants the others if the URL makes connections send them."""

REFUSALS = {"readonly"}
"""The code of a refusal that is the name of a command as well."""

PROBES = {"scan", "script"}
"""What `keyweave health` sends to learn whether it is refused."""
CHANNEL = "connection/redis_py/cluster/"
"""What routes commands in a cluster: it names those of flows, and sends some of its own."""

OTHER_MODULES = {
    "transfer/clear.py",
    "connection/redis_py/resp3.py",
    "exchange/bound.py",
    "health/restrictions.py",
    "exchange/by_partition.py",
    *(f"{CHANNEL}{name}.py" for name in ("deliver", "everywhere", "route", "scan", "steps")),
}
"""Flows that are for tests, on servers of their own, what only asks where slots are on a cluster, what names commands without sending them, and what sends them to be refused."""

ADMIN_MODULES = ("integrity/", "evolution/", "transfer/", "repartition/")
"""What only the admin tool needs."""

HOMES_MODULE = "homes/vacant.py"
"""What walks homes, in a group with several partitions."""

SEARCHING_MODULES = ("expiry/forget.py", "expiry/search.py")
"""What an application with retention also needs, unless its rule leaves it out."""


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """A server with the users of both printed rules."""
    with configured_server(appendonly="yes", maxmemory="256mb") as running, running.client() as client:
        printed = RUNNER.invoke(app, ["acl", "-p", "compozy_store", "-n", TENANT, "--format", "json"])
        assert printed.exit_code == 0, printed.output
        for words in json.loads(printed.stdout).values():
            client.execute_command("ACL", "SETUSER", *words)
            client.execute_command("ACL", "SETUSER", words[0], ">word")
        yield running


def url(server: Running, user: str = "keyweave-application") -> str:
    return f"unix://{user}:word@{server.socket}"


def stories_on_a_server() -> list[Any]:
    """Every story of the contract that runs on a real server."""
    found = []
    for path in sorted(Path(stories.__file__).parent.glob("test_*.py")):
        module = importlib.import_module(f"tests.contract.{path.stem}")
        for name, test in vars(module).items():
            marks = getattr(test, "pytestmark", [])
            if name.startswith("test_") and any(
                mark.name == "parametrize" and mark.args[0] == "kind" and "server" in mark.args[1]
                for mark in marks
            ):
                found.append(pytest.param(test, id=f"{path.stem.removeprefix('test_')}.{name[5:]}"))
    return found


@pytest.mark.parametrize("test", stories_on_a_server())
def test_the_contract_holds_under_the_applications_rule(
    server: Running, test: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def permitted_engine(
        kind: str, *, namespace: str | None = None, **options: Any
    ) -> AsyncIterator[Engine]:
        assert kind == "server"
        async with Engine.open(url(server), namespace=namespace or TENANT, **options) as engine:
            yield engine

    with server.client() as client:
        client.flushall()
    monkeypatch.setitem(vars(stories), "empty_engine", permitted_engine)
    if "empty_engine" in test.__globals__:
        monkeypatch.setitem(test.__globals__, "empty_engine", permitted_engine)
    test("server")


def test_there_are_stories() -> None:
    assert len(stories_on_a_server()) > 60


@pytest.mark.parametrize("flavour", ["sync", "aio"])
def test_a_check_under_the_applications_rule_names_the_command_that_it_lacks(
    server: Running, flavour: str
) -> None:
    async def waiting() -> None:
        async with aio.Store.open(url(server), namespace=TENANT) as store:
            await store.check()

    def blocking() -> None:
        with sync.Store.open(url(server), namespace=TENANT) as store:
            store.check()

    with pytest.raises(AuthenticationError) as caught:
        asyncio.run(waiting()) if flavour == "aio" else blocking()
    (lacking,) = re.findall(r"the command '(\w+)'", str(caught.value))
    assert lacking in permissions.ADMIN_FLOWS - permissions.FLOWS - permissions.SEARCH
    assert "keyweave acl prints the rules of an application and of an administrator" in str(caught.value)
    assert caught.value.code == "NOPERM"


def test_an_application_can_neither_use_other_keys_nor_inspect_the_server(server: Running) -> None:
    with redis.Redis(
        unix_socket_path=str(server.socket), username="keyweave-application", password="word"
    ) as client:
        for command in (
            ("KEYS", "*"),
            ("CONFIG", "GET", "*"),
            ("CONFIG", "SET", "save", ""),
            ("FLUSHALL",),
            ("ACL", "LIST"),
            ("PUBLISH", "channel", "word"),
            ("SUBSCRIBE", "channel"),
            ("GET", "other"),
            ("GET", "{compozy:v1:dev:acme [eu] other:auth:0}:User:u"),
            ("GET", "{compozy:v1:dev:default:auth:0}:User:u"),
            ("EVAL", "return redis.call('GET', 'other')", "0"),
            ("EVAL", "return redis.call('FLUSHALL')", "0"),
        ):
            # From inside a script the refusal comes as the script's own error.
            with pytest.raises(redis.ResponseError, match=r"NOPERM|[Nn]o permissions|ACL failure"):
                client.execute_command(*command)
    with pytest.raises(AuthenticationError), sync.Store.open(url(server), namespace="other") as store:
        store.users.get("u")


def test_admin_commands_work_under_the_admins_rule(server: Running) -> None:
    with sync.Store.open(url(server), namespace=TENANT) as store:
        store.users.upsert(User(id="u", email="u@x", role=Role.USER))
        with pytest.raises(AuthenticationError):
            store.check()
    with sync.Store.open(url(server, "keyweave-admin"), namespace=TENANT) as store:
        assert store.check().clean
    common = ["--url", url(server, "keyweave-admin"), "-n", TENANT, "-p", "compozy_store"]
    for command in ("sweep", "health", "doctor", "check", "reindex", "backfill", "migrate-documents"):
        result = RUNNER.invoke(app, [command, *common])
        assert result.exit_code == 0, result.output
    reported = json.loads(RUNNER.invoke(app, ["doctor", *common, "--format", "json"]).stdout)
    assert reported["findings"] == []
    assert reported["server"]["appendfsync"] == "everysec"


def test_what_is_permitted_is_what_flows_and_scripts_send(server: Running) -> None:
    with server.client() as client:
        known = {word.decode() for word in client.command_list()}
    applications: set[str] = set()
    searching: set[str] = set()
    homes: set[str] = set()
    admins: set[str] = set()
    runtime = Path(keyweave.__file__).parent
    for path in sorted(runtime.rglob("*.py")):
        name = path.relative_to(runtime).as_posix()
        if name in OTHER_MODULES:
            continue
        place = admins if name.startswith(ADMIN_MODULES) else applications
        place = searching if name.startswith(SEARCHING_MODULES) else place
        place = homes if name == HOMES_MODULE else place
        place |= sent(path.read_text(encoding="utf-8")) & known
    assert applications & permissions.CONFIRMING == permissions.CONFIRMING
    assert (
        applications - HANDSHAKE - REFUSALS - PROBES - permissions.CONFIRMING - {"config"}
        == permissions.FLOWS
    ), "keyweave/admin/permissions.py says otherwise"
    assert (searching & known) - permissions.FLOWS == permissions.SEARCH
    assert (homes & known) - permissions.FLOWS - permissions.SCRIPTS == permissions.HOMES
    assert (admins | searching | {"config"}) - permissions.FLOWS - permissions.CONFIRMING == {
        word.partition("|")[0] for word in permissions.ADMIN_FLOWS
    }
    routing = [runtime / CHANNEL / f"{name}.py" for name in ("deliver", "everywhere", "steps")]
    words = {word for path in routing for word in sent(path.read_text(encoding="utf-8"))}
    own = (words & known) - permissions.FLOWS - permissions.SEARCH - permissions.ADMIN_FLOWS
    assert own == {word.partition("|")[0] for word in permissions.CLUSTER}
    divides = (runtime / "exchange" / "by_partition.py").read_text(encoding="utf-8")
    assert sent(divides) & known == {"cluster"}
    called = {word.lower() for text in PACKAGE.scripts.values() for word in re.findall(r"'([A-Z]+)'", text)}
    assert called & known == permissions.SCRIPTS | permissions.ADMIN_SCRIPTS


def sent(source: str) -> set[str]:
    """Every text in capitals, in lower case: the commands among them, and more."""
    constants = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    return {value.lower() for value in constants if isinstance(value, str) and value.isupper()}


@pytest.mark.parametrize(
    ("address", "more"),
    [
        ("redis://db", set()),
        ("redis://db/3", {"select"}),
        ("redis://db?client_name=me", {"client|setname"}),
        ("redis://db/3?client_name=me", {"select", "client|setname"}),
        ("redis+cluster://db", {"asking", "cluster|slots"}),
    ],
)
def test_what_a_url_makes_connections_send_is_permitted(address: str, more: set[str]) -> None:
    plain = permissions.commands(permissions.Role.APPLICATION, parse_url("redis://db"), search=False)
    assert (
        set(permissions.commands(permissions.Role.APPLICATION, parse_url(address), search=False)) - set(plain)
        == more
    )


def test_the_rule_is_printed_as_redis_cli_reads_it(server: Running) -> None:
    printed = RUNNER.invoke(
        app,
        ["acl", "-p", "compozy_store", "-n", "it's %{x}", "--for", "application", "--user", "shop"],
    )
    (line,) = printed.output.splitlines()
    assert line.startswith("ACL SETUSER shop on resetkeys resetchannels clearselectors '~")
    if chosen_server() == "redis8":
        (cli,) = [word.replace("redis-server", "redis-cli") for word in server_command()[-1:]]
        command = [*server_command()[:-1], cli, "-s", str(server.socket)]
        said = subprocess.run(command, input=line, capture_output=True, text=True, check=True)
        assert said.stdout.strip() == "OK"
        with server.client() as client:
            reported = client.acl_getuser("shop")
        assert reported["keys"] == ["~{compozy:v1:dev:it's?%25%7Bx%7D:*"]


@pytest.mark.parametrize(
    "tenant",
    ["a b", "tab\there", "nul\x00", "wide\u2003space", "ünï✓", "back\\slash", "[a-c]^?*", "{x}", "%20"],
)
def test_any_tenant_has_a_rule_that_fits_it(server: Running, tenant: str) -> None:
    settings, context = prepare(PACKAGE, "redis://localhost", namespace=tenant)
    words = permissions.rule(context, settings, permissions.Role.APPLICATION, "fitted")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *words)
        client.execute_command("ACL", "SETUSER", "fitted", ">word")
    with sync.Store.open(url(server, "fitted"), namespace=tenant) as store:
        store.users.upsert(User(id="u", email="u@x", role=Role.USER))
        assert store.users.all().count() == 1


def test_a_refused_setting_is_asked_for_once(server: Running) -> None:
    with server.client() as client, sync.Store.open(url(server), namespace=TENANT) as store:
        before = client.info("stats")["acl_access_denied_cmd"]
        assert [store.health().server.appendfsync for _ in range(3)] == [None, None, None]
        assert client.info("stats")["acl_access_denied_cmd"] == before


def test_a_rule_sets_no_password_and_keeps_the_users_own(server: Running) -> None:
    settings, context = prepare(PACKAGE, "redis://localhost", namespace="fresh")
    words = permissions.rule(context, settings, permissions.Role.APPLICATION, "fresh")
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *words)
        with pytest.raises(redis.AuthenticationError):
            client.execute_command("AUTH", "fresh", "")
        client.execute_command("ACL", "SETUSER", "fresh", ">word")
        client.execute_command("ACL", "SETUSER", *words)
    with sync.Store.open(url(server, "fresh"), namespace="fresh") as store:
        assert store.users.find("u") is None


def test_names_that_a_rule_cannot_express_are_refused() -> None:
    settings, context = prepare(PACKAGE, "redis://localhost")
    with pytest.raises(ConfigurationError, match="user"):
        permissions.rule(context, settings, permissions.Role.ADMIN, "two words")
    result = RUNNER.invoke(app, ["acl", "-p", "compozy_store", "--user", "shop"])
    assert (result.exit_code, "--for" in result.output) == (2, True)


def test_a_rule_for_sentinels_permits_what_redis_py_sends_when_it_connects() -> None:
    rules = {
        where: RUNNER.invoke(
            app, ["acl", "-p", "compozy_store", "--url", where, "--for", "application"]
        ).stdout
        for where in ("redis://h", "redis+sentinel://h/name")
    }
    added = {*rules["redis+sentinel://h/name"].split()} - {*rules["redis://h"].split()}
    assert added == {"+client|setinfo"} or added == {"'+client|setinfo'"}


def test_nothing_is_refused_to_a_client_of_redis_py_but_the_settings(server: Running) -> None:
    printed = [
        "acl",
        "-p",
        "compozy_store",
        "-n",
        TENANT,
        "--format",
        "json",
        "--url",
        "redis+sentinel://h/name",
    ]
    words = json.loads(RUNNER.invoke(app, printed).stdout)["application"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "over", *words[1:], ">word")
        client.acl_log_reset()
        for protocol in (2, 3):
            given = redis.Redis(
                unix_socket_path=str(server.socket), username="over", password="word", protocol=protocol
            )
            store = sync.Store.over(given, namespace=TENANT)
            store.users.upsert(User(id="u", email="u@x", role=Role.USER))
            assert store.users.get("u").email == "u@x"
            given.close()
        assert {each["object"] for each in client.acl_log()} == {"config|get"}
