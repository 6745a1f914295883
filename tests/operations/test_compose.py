"""The compose file runs Redis 8 with settings for which doctor has no finding, and no other database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from compozy_store import Role, User, sync
from tests.operations.examined import examined
from tests.servers.running import configured_server

ROOT = Path(__file__).resolve().parents[2]


def compose() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return content


def settings() -> dict[str, str]:
    """The server's settings as the file gives them."""
    server, *words = compose()["services"]["redis"]["command"]
    assert server == "redis-server"
    assert all(isinstance(word, str) for word in words), "YAML takes yes and no for something else"
    found: dict[str, list[str]] = {}
    for word in words:
        if word.startswith("--"):
            values = found.setdefault(word.removeprefix("--").replace("-", "_"), [])
        else:
            values.append(word)
    return {name: " ".join(values) for name, values in found.items()}


def test_there_is_one_service_and_it_is_redis_8() -> None:
    services = compose()["services"]
    assert list(services) == ["redis"]
    assert services["redis"]["image"] == "redis:8"
    assert "postgres" not in (ROOT / "compose.yaml").read_text(encoding="utf-8").lower()


def test_its_data_is_on_a_volume_and_its_port_is_local() -> None:
    redis = compose()["services"]["redis"]
    (volume,) = redis["volumes"]
    assert volume.partition(":")[0] in compose()["volumes"]
    assert redis["ports"] == ["127.0.0.1:6379:6379"]


def test_doctor_finds_nothing_on_a_server_with_its_settings() -> None:
    with configured_server(**settings()) as server:
        health = examined(server.url)
        assert health.findings == ()
        assert health.server.persistence == "aof everysec"
        assert (health.server.snapshots, health.server.max_memory) == (True, 512 * 1024 * 1024)
        with sync.Store.open(server.url) as store:
            store.users.create(User(id="u", email="u@x", role=Role.USER))
            assert store.check().clean
