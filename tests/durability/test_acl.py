"""`keyweave acl --durable` permits what a durable store sends; the rule without it is refused when the store opens."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from compozy_store import Role, User
from compozy_store.sync import Store
from keyweave.admin.app import app
from keyweave.errors import ConfigurationError
from tests.servers.running import Running, configured_server


def permit(server: Running, *options: str) -> str:
    """Create the application's user, and return the URL with which it opens a store."""
    words = ["acl", "-p", "compozy_store", "--for", "application", "--format", "json", *options]
    printed = CliRunner().invoke(app, words)
    assert printed.exit_code == 0, printed.output
    rule: list[Any] = json.loads(printed.stdout)["application"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", *rule, ">word")
    return f"unix://{rule[0]}:word@{server.socket}"


def test_the_rule_permits_what_confirms_writes() -> None:
    with configured_server(appendonly="yes", appendfsync="always") as server:
        url = permit(server)
        with pytest.raises(ConfigurationError, match="keyweave acl --durable disk prints the rule"):
            Store.open(url, durable="disk")
        permit(server, "--durable", "disk")
        with Store.open(url, durable="disk") as store:
            store.users.create(User(id="u", email="u@x", role=Role.USER))
        with pytest.raises(ConfigurationError, match="does not permit WAIT to this user"):
            Store.open(url, durable="replicas:1")


def test_a_level_that_there_is_not_is_refused() -> None:
    result = CliRunner().invoke(app, ["acl", "-p", "compozy_store", "--durable", "tape"])
    assert result.exit_code == 2
    assert "option durable must be" in result.output
