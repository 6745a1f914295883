"""A row may replace one that the server freed, under the rule that `keyweave acl` prints for an application."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from keyweave.admin.permissions import Role, rule
from keyweave.cli import commands
from keyweave.connection.settings import parse_url
from keyweave.errors import AuthenticationError
from keyweave.opening.prepare import prepare
from tests.depot import depot
from tests.expiry.test_freed_again import OPTIONS, add_freed
from tests.harness import FLAVOURS, Harness, harness
from tests.servers.running import Running, configured_server


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


def permitted(server: Running, namespace: str, *, search: bool) -> str:
    """The URL of a user with the application's rule."""
    _, context = prepare(depot().PACKAGE, server.url, namespace=namespace)
    words = rule(context, parse_url(server.url), Role.APPLICATION, namespace, search=search)
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *words)
        client.execute_command("ACL", "SETUSER", namespace, ">word")
    return f"unix://{namespace}:word@{server.socket}"


def replace_freed(stores: Harness) -> None:
    add_freed(stores, "old")
    stores.do(stores.db.tickets.create(depot().Ticket(id="t", code="new", state=depot().State.OPEN)))


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_row_replaces_a_freed_one(server: Running, flavour: str) -> None:
    with harness(flavour, f"freed-{flavour}", module=depot(), url=server.url, **OPTIONS) as admin:
        url = permitted(server, admin.namespace, search=True)
        with harness(flavour, admin, module=depot(), url=url, **OPTIONS) as stores:
            replace_freed(stores)
        assert admin.do(admin.db.check()).clean


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_without_the_search_the_error_says_what_to_do(server: Running, flavour: str) -> None:
    with harness(flavour, f"bare-{flavour}", module=depot(), url=server.url, **OPTIONS) as admin:
        url = permitted(server, admin.namespace, search=False)
        with harness(flavour, admin, module=depot(), url=url, **OPTIONS) as stores:
            with pytest.raises(AuthenticationError, match="run `keyweave sweep` with the admin tool's user"):
                replace_freed(stores)
            admin.do(admin.db.sweep())
            stores.do(stores.db.tickets.create(depot().Ticket(id="t", code="new", state=depot().State.OPEN)))
        assert admin.do(admin.db.check()).clean


def test_the_rule_leaves_the_search_out_on_request() -> None:
    app = commands.assemble(commands.installed())
    asked = ["acl", "-p", "compozy_store", "--for", "application", "--format", "json"]
    for more, permitted in (([], True), (["--no-search"], False)):
        printed = CliRunner().invoke(app, [*asked, *more])
        words = json.loads(printed.stdout)["application"]
        assert ("+scan" in words) is permitted
