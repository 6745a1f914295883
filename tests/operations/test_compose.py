"""The compose file runs Redis 8 with settings for which doctor has no finding, and no other database.

The commands of its services are run here, by the server under test, on other ports.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import yaml

from compozy_store import Role, User, sync
from tests.operations.examined import examined
from tests.servers.cluster import Cluster, slot_of
from tests.servers.cluster_node import ClusterNode
from tests.servers.guarded import guarded
from tests.servers.node import Node, await_until
from tests.servers.running import configured_server, new_namespace

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


def test_one_service_starts_without_a_profile_and_all_are_redis_8() -> None:
    services = compose()["services"]
    assert [name for name, service in services.items() if "profiles" not in service] == ["redis"]
    assert {service["image"] for service in services.values()} == {"redis:8"}
    keeping = [service["volumes"][0] for name, service in services.items() if name != "cluster-create"]
    assert len(set(keeping)) == len(keeping) == len(compose()["volumes"])
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


class _Service(Node):
    """A service of the compose file, as a process."""

    arguments: Sequence[str] = ()

    def words(self) -> list[str]:
        return [*self.command, *self.arguments]


class _Member(ClusterNode, _Service):
    """A service of the profile with a cluster, as a process. Its port for other nodes is not the usual one."""

    def words(self) -> list[str]:
        return [*super().words(), "--cluster-port", str(self.bus)]


S = TypeVar("S", bound=_Service)


def started(
    services: dict[str, Any], folder: Path, stack: ExitStack, kind: type[S]
) -> tuple[dict[str, S], dict[str, str]]:
    """Start the services of the profile in their order, and return them with the port that takes the place of each of the file's."""
    content = compose()
    nodes = {name: kind(folder / name, {}) for name in services}
    for node in nodes.values():
        stack.callback(node.close)
    port_of = {name: re.findall(r"--port (\d+)", " ".join(services[name]["command"]))[0] for name in services}
    ports = {port_of[name]: str(node.port) for name, node in nodes.items()}
    for name, node in nodes.items():
        (config,) = services[name]["configs"]
        text = moved(content["configs"][config["source"]]["content"], ports)
        source = folder / name / Path(config["target"]).name
        words = services[name]["command"]
        if words[0] == "sh":
            copied = re.fullmatch(r"cp -n (\S+) /data/ && exec redis-sentinel /data/(\S+) (.*)", words[2])
            assert copied is not None and copied[1] == config["target"] and f"/{copied[2]}" == copied[1]
            words = ["redis-sentinel", config["target"], *copied[3].split(), "--sentinel"]
        source.write_text(f"{text}dir {folder / name}\n", encoding="utf-8")
        assert words[:2] == [words[0], config["target"]]
        node.arguments = [str(source), *[moved(word, ports) for word in words[2:]]]
        node.launch()
        node.wait_until_ready()
    return nodes, ports


def moved(text: str, ports: dict[str, str]) -> str:
    return re.sub(r"\d+", lambda match: ports.get(match[0], match[0]), text)


def test_the_profile_with_sentinels_survives_its_primary() -> None:
    """The store of the URL in the file goes on with the replica when the primary is killed."""
    services = {
        name: each for name, each in compose()["services"].items() if each.get("profiles") == ["sentinel"]
    }
    (url,) = re.findall(r"redis\+sentinel://\S+", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    with guarded("compose-") as folder, ExitStack() as stack:
        nodes, ports = started(services, folder / "nodes", stack, _Service)
        primary = nodes["sentinel-primary"]
        await_until(lambda: online(primary), "the replica")
        sentinels = [nodes[f"sentinel-{number}"] for number in (1, 2, 3)]
        await_until(lambda: all(knows(each) == (2, 1) for each in sentinels), "the Sentinels")
        health = examined(f"redis://127.0.0.1:{primary.port}")
        assert (health.findings, len(health.server.replicas)) == ((), 1)

        assert examined(moved(url, ports), thorough=True).server.restrictions == ()
        with sync.Store.open(moved(url, ports), namespace=new_namespace("compose"), deadline=60) as store:
            store.durable("replicas:1").users.create(User(id="a", email="a@x", role=Role.USER))
            primary.kill()
            store.users.create(User(id="b", email="b@x", role=Role.USER))
            assert [row.id for row in store.users.get_many(["a", "b"]) if row is not None] == ["a", "b"]
            assert store.health().server.role == "primary"
        assert nodes["sentinel-replica"].info("replication")["role"] == "master"


def test_the_profile_with_a_cluster_survives_a_master() -> None:
    """The store of the URL in the file goes on with a replica when a master is killed; doctor finds nothing wrong before."""
    services = {
        name: each for name, each in compose()["services"].items() if each.get("profiles") == ["cluster"]
    }
    create = services.pop("cluster-create")["command"][-1]
    made = re.findall(r"127\.0\.0\.1:(\d+)", create)
    assert made == [service["command"][-1] for service in services.values()]
    assert "--cluster-replicas 1" in create
    (url,) = re.findall(r"redis\+cluster://\S+", (ROOT / "compose.yaml").read_text(encoding="utf-8"))
    with guarded("compose-") as folder, ExitStack() as stack:
        nodes, ports = started(services, folder / "nodes", stack, _Member)
        made_already = iter(nodes.values())
        cluster = Cluster(folder, lambda *_: next(made_already))
        cluster.join()
        assert examined(moved(url, ports), thorough=True).findings == ()
        with sync.Store.open(moved(url, ports), namespace=new_namespace("compose"), deadline=60) as store:
            store.durable("replicas:1").users.create(User(id="a", email="a@x", role=Role.USER))
            context = store.session.context
            master = cluster.owner(slot_of(context.partition(context.package.entities["User"]).clock))
            master.kill()
            store.users.create(User(id="b", email="b@x", role=Role.USER))
            assert [row.id for row in store.users.get_many(["a", "b"]) if row is not None] == ["a", "b"]
            assert not master.runs


def online(primary: Node) -> bool:
    """Whether a primary has a replica that follows it."""
    found = primary.info("replication").get("slave0")
    return found is not None and found["state"] == "online"


def knows(sentinel: Node) -> tuple[int, int]:
    """How many other Sentinels and replicas a Sentinel knows."""
    (fields,) = [each for key, each in sentinel.info("sentinel").items() if key == "master0"]
    return int(fields["sentinels"]) - 1, int(fields["slaves"])
