"""The chosen server is provided or the run ends with an error; no run uses another server instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import redis

from keyweave import sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Flow, Send
from keyweave.embedded import server as embedded
from tests.servers.redis8 import provide, server_command, server_version
from tests.servers.running import chosen_server, require_redis8, server_url


def test_the_embedded_server_is_the_default() -> None:
    assert chosen_server({}) == chosen_server({"KEYWEAVE_TEST_SERVER": ""}) == "embedded"
    assert chosen_server({"KEYWEAVE_TEST_SERVER": "redis8"}) == "redis8"


def test_an_unknown_choice_is_refused() -> None:
    with pytest.raises(ValueError, match="KEYWEAVE_TEST_SERVER=redis9: must be one of embedded, redis8"):
        chosen_server({"KEYWEAVE_TEST_SERVER": "redis9"})


def test_the_server_under_test_is_the_chosen_one() -> None:
    def information() -> Flow[Any]:
        (reply,) = yield Send((("INFO", "server"),))
        return reply

    with sync.Shell(parse_url(server_url())) as shell:
        reported = shell.run(information())
    assert (b"valkey_version:" in reported) == (chosen_server() == "embedded")
    assert (b"redis_version:8." in reported) == (chosen_server() == "redis8")


def test_a_valkey_is_not_taken_for_a_redis() -> None:
    lease = embedded.acquire(None)
    try:
        with pytest.raises(RuntimeError, match="needs Redis 8 or later, found Valkey 9"):
            require_redis8(f"unix://{lease.socket}")
    finally:
        lease.release()


def test_an_older_redis_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def old(*_: object) -> dict[str, str]:
        return {"redis_version": "7.4.1"}

    monkeypatch.setattr(redis.Redis, "info", old)
    with pytest.raises(RuntimeError, match=r"found Redis 7\.4\.1"):
        require_redis8("redis://127.0.0.1:1")


def test_a_server_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="the server does not answer"):
        require_redis8("redis://127.0.0.1:1")


def test_a_missing_server_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match="no server; run make redis8"):
        server_command(tmp_path)
    with pytest.raises(RuntimeError, match="without apt, put redis-server 8 into the PATH"):
        provide(tmp_path)


def test_a_program_that_is_no_redis_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho Valkey server v=9.1.2\n")
    program.chmod(0o755)
    with pytest.raises(RuntimeError, match="is no Redis: Valkey server v"):
        server_version([str(program)])


def test_an_incomplete_installation_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    with pytest.raises(RuntimeError, match="is missing; remove"):
        server_command(tmp_path)
