"""Every finding, provoked on a misconfigured server, and absent on a well configured one."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from compozy_store.package import PACKAGE
from keyweave.health.diagnose import diagnose
from keyweave.health.facts import ServerFacts
from keyweave.health.limits import Limits
from keyweave.health.report import Health, Severity
from keyweave.health.rules_server import version_numbers
from keyweave.opening.prepare import prepare
from tests.connection.peers import Client, peer
from tests.operations.examined import all_names, examined, found, names
from tests.servers.running import Running, configured_server, free_port

WELL = {"appendonly": "yes", "maxmemory": "256mb", "maxmemory_policy": "noeviction"}
"""Settings with which nothing is found."""

PATIENCE = 20.0

CRITICAL, WARNING, NOTICE = Severity.CRITICAL, Severity.WARNING, Severity.NOTICE


@pytest.fixture(scope="module")
def well() -> Iterator[Running]:
    """A server without findings; a test that changes it changes it back."""
    with configured_server(**WELL) as server:
        yield server


def test_a_well_configured_server_has_no_findings(well: Running) -> None:
    health = examined(well.url)
    assert (health.findings, health.worst, health.serving) == ((), None, True)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl"])
def test_an_eviction_policy_that_drops_data_is_critical(well: Running, policy: str) -> None:
    with well.client() as client:
        client.config_set("maxmemory-policy", policy)
        finding = found(examined(well.url), "eviction-policy")
        client.config_set("maxmemory-policy", "noeviction")
    assert (finding.severity, policy in finding.what) == (CRITICAL, True)
    assert ("deadline" in finding.why) == policy.startswith("volatile")
    assert finding.command == "redis-cli CONFIG SET maxmemory-policy noeviction"


@pytest.mark.parametrize(("save", "severity"), [("", CRITICAL), ("3600 1", WARNING)])
def test_a_server_without_an_append_only_file_is_found(save: str, severity: Severity) -> None:
    with configured_server(**{**WELL, "appendonly": "no", "save": save}) as server:
        health = examined(server.url)
    assert names(health) == {"aof-off"}
    assert health.findings[0].severity is severity


def test_an_append_only_file_that_is_left_to_the_kernel_is_found(well: Running) -> None:
    with well.client() as client:
        client.config_set("appendfsync", "no")
        health = examined(well.url)
        client.config_set("appendfsync", "everysec")
    assert names(health) == {"fsync-off"}


def test_a_snapshot_that_failed_is_critical() -> None:
    with configured_server(**WELL) as server, server.client() as client:
        (server.folder / "dump.rdb").mkdir()  # no file can take its place
        client.bgsave()
        health = until(server, "persistence-failing")
    assert found(health, "persistence-failing").severity is CRITICAL


@pytest.mark.parametrize(
    ("percent", "severity"), [(55, None), (65, NOTICE), (85, WARNING), (95, CRITICAL), (105, CRITICAL)]
)
def test_memory_is_measured_against_the_servers_limit(
    well: Running, percent: int, severity: Severity | None
) -> None:
    with well.client() as client:
        used = examined(well.url).server.used_memory
        assert used is not None
        client.config_set("maxmemory", used * 100 // percent)
        health = examined(well.url)
        client.config_set("maxmemory", "256mb")
    assert health.worst is severity
    assert health.serving is (percent < 100)
    assert names(health) == (
        ({"memory-high"} if severity else set()) | ({"writes-refused"} if percent > 100 else set())
    )
    if severity is not None:
        assert re.match(r"\d+% of the memory budget", found(health, "memory-high").what)


def test_memory_is_measured_against_a_budget_that_is_given(well: Running) -> None:
    used = examined(well.url).server.used_memory
    assert used is not None
    assert found(examined(well.url, budget=used), "memory-high").severity is CRITICAL
    assert names(examined(well.url, budget=used * 3)) == set()


def test_a_server_that_could_not_save_takes_no_writes() -> None:
    with configured_server(**{**WELL, "save": "3600 1"}) as server, server.client() as client:
        (server.folder / "dump.rdb").mkdir()
        client.bgsave()
        health = until(server, "writes-refused")
    assert (health.serving, health.server.refusal) == (False, "MISCONF")
    assert names(health) == {"writes-refused", "persistence-failing"}


def test_a_server_with_too_few_replicas_takes_no_writes(well: Running) -> None:
    with well.client() as client:
        client.config_set("min-replicas-to-write", 1)
        health = examined(well.url)
        client.config_set("min-replicas-to-write", 0)
    assert (names(health), health.worst, health.serving) == ({"writes-refused"}, CRITICAL, False)
    assert "NOREPLICAS" in found(health, "writes-refused").what


def test_a_server_without_a_memory_limit_is_found() -> None:
    with configured_server(**{**WELL, "maxmemory": "0"}) as server:
        health = examined(server.url)
    assert (names(health), health.worst, health.memory_share) == ({"memory-unlimited"}, WARNING, None)


def test_a_replica_is_critical_and_a_primary_knows_one_that_is_behind() -> None:
    with (
        configured_server(**WELL, port=(port := str(free_port())), repl_diskless_sync_delay="0") as primary,
        configured_server(**WELL, replicaof=f"127.0.0.1 {port}") as replica,
    ):
        with primary.client() as client:
            until(replica, "role-replica", linked=True)
            while examined(primary.url).server.replicas[0].state != "online":
                client.ping()
            assert names(examined(primary.url)) == set()
            assert names(examined(replica.url)) == {"role-replica"}
            replica.process.send_signal(signal.SIGSTOP)
            client.set("written", b"x" * 2_000_000)
            health = examined(primary.url, limits=Limits(replica_bytes=1_000_000))
            replica.process.send_signal(signal.SIGCONT)
            assert "1 of 1 replicas is behind: up to 1.9 MB" in found(health, "replica-behind").what
        primary.process.kill()
        primary.process.wait()
        health = until(replica, "replica-behind")
    assert (found(health, "role-replica").severity, health.serving) == (CRITICAL, False)


def test_a_loading_server_is_distinguished_from_one_that_is_down() -> None:
    with configured_server(**{**WELL, "enable_debug_command": "yes"}) as server:
        with server.client() as client:
            client.mset({f"key{number}": "x" * 100 for number in range(2000)})
            client.config_set("key-load-delay", 1000)
            client.config_set("loading-process-events-interval-bytes", 1024)
            reloading = client.connection_pool.get_connection()
            reloading.send_command("DEBUG", "RELOAD")
        health = until(server, "loading")
        reloading.disconnect()
    assert (health.serving, health.server.scripts, health.worst) == (False, None, CRITICAL)


def test_a_user_that_may_not_run_scripts_is_a_finding(well: Running) -> None:
    with well.client() as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-eval", "-evalsha")
    health = examined(f"unix://reader:word@{well.socket}")
    assert (names(health), health.worst, health.serving) == ({"scripts-refused"}, CRITICAL, False)


def test_a_fact_that_a_server_does_not_report_is_unknown_and_listed(well: Running) -> None:
    with well.client() as client:
        client.execute_command("ACL", "SETUSER", "blind", "on", ">word", "~*", "+@all", "-info", "-config")
        client.execute_command("ACL", "SETUSER", "plain", "on", ">word", "~*", "+@all", "-config")
    health = examined(f"unix://blind:word@{well.socket}")
    assert (names(health), health.worst, health.serving) == ({"facts-hidden"}, NOTICE, True)
    assert health.server == ServerFacts(scripts=True)
    health = examined(f"unix://plain:word@{well.socket}")
    assert names(health) == set()
    assert (health.server.aof, health.server.appendfsync, health.server.snapshots) == (True, None, None)


def test_a_connection_over_a_network_without_tls_is_found() -> None:
    with configured_server(**WELL, port=(port := str(free_port())), protected_mode="no") as server:
        assert server.process.poll() is None
        assert names(examined(f"redis://localhost:{port}")) == set()
        assert names(examined(f"redis://127.0.0.1:{port}")) == set()
        # The address of no interface leads to this machine as well, but only to this one's network stack.
        health = examined(f"redis://0.0.0.0:{port}")
    assert (names(health), health.worst) == ({"tls-off"}, WARNING)


@pytest.mark.parametrize("seconds", [-30.0, 30.0])
def test_clocks_that_differ_are_found(well: Running, seconds: float) -> None:
    health = examined(well.url, wall=lambda: time.time() - seconds)
    finding = found(health, "clock-skew")
    assert f"30.0 s {'ahead of' if seconds > 0 else 'behind'}" in finding.what
    assert health.clock_skew == pytest.approx(seconds, abs=0.5)


@pytest.mark.parametrize(("hours", "severity"), [(0.1, None), (2, WARNING), (48, CRITICAL)])
def test_unswept_rows_are_found(well: Running, hours: float, severity: Severity | None) -> None:
    expiry, *_ = [partition.expiry for partition in prepare(PACKAGE, well.url)[1].keyspace.partitions()]
    with well.client() as client:
        client.zadd(expiry, {"TaskState:late": (time.time() - hours * 3600) * 1_000_000})
        health = examined(well.url)
        client.delete(expiry)
    assert health.sweep_lag == pytest.approx(hours * 3600, abs=5)
    assert (health.worst, names(health)) == (severity, {"sweep-lag"} if severity else set())


def test_a_server_that_is_too_old_is_critical() -> None:
    info = b"redis_version:6.2.14\r\nrole:master\r\nloading:0\r\naof_enabled:1\r\nmaxmemory:99\r\n"
    info += b"maxmemory_policy:noeviction\r\nused_memory:1\r\n"

    def old(client: Client) -> None:
        while (command := client.request()) is not None:
            answers = {b"PING": b"+PONG\r\n", b"TIME": b"*2\r\n$10\r\n%d\r\n$1\r\n0\r\n" % time.time()}
            answers[b"INFO"] = b"$%d\r\n%b\r\n" % (len(info), info)
            answers[b"EVAL"] = b"-ERR Error compiling script: unexpected symbol near '#'\r\n"
            client.send(answers.get(command[0], b"*0\r\n"))

    with peer(old) as address:
        health = examined(f"redis://{address}", limits=Limits(clock_skew=2))
    assert names(health) == {"version-too-old", "scripts-refused"}
    assert "redis 6.2.14; Keyweave needs 7.0" in found(health, "version-too-old").what


@pytest.mark.parametrize(
    ("product", "version", "severity"),
    [
        ("redis", "6.2.14", CRITICAL),
        ("redis", "7.0.0", NOTICE),
        ("redis", "7.4.1", NOTICE),
        ("redis", "8.0.2", None),
        ("redis", "10.0", None),
        ("redis", "255.255.255", None),
        ("valkey", "7.2.5", NOTICE),
        ("valkey", "8.1.0-rc1", NOTICE),
        ("valkey", "9.1.2", None),
        ("garnet", "1.0", None),
    ],
)
def test_versions_are_judged_by_product(product: str, version: str, severity: Severity | None) -> None:
    facts = ServerFacts(
        product=product, version=version, role="primary", aof=True, eviction_policy="noeviction"
    )
    health = report(server=facts)
    judged = [finding for finding in diagnose(health, Limits()) if finding.id.startswith("version")]
    assert [finding.severity for finding in judged] == ([] if severity is None else [severity])


def test_data_of_another_schema_is_found(well: Running) -> None:
    schemas = [partition.schema for partition in prepare(PACKAGE, well.url)[1].keyspace.partitions()]
    with well.client() as client:
        assert examined(well.url).data_schema is None
        for schema in schemas:
            client.hset(schema, "fingerprint", PACKAGE.fingerprint)
        health = examined(well.url)
        assert (names(health), health.data_schema) == (set(), PACKAGE.fingerprint)
        client.hset(schemas[-1], "fingerprint", "b" * 64)
        health = examined(well.url)
        client.delete(*schemas)
    finding = found(health, "schema-differs")
    assert (health.data_schema, finding.severity) == ("b" * 64, WARNING)
    assert "b" * 12 in finding.what
    assert PACKAGE.fingerprint[:12] in finding.what


def test_findings_are_sorted_worst_first_and_each_has_what_why_and_action() -> None:
    facts = ServerFacts(
        product="redis",
        version="7.0",
        role="replica",
        aof=False,
        snapshots=False,
        max_memory=0,
        eviction_policy="allkeys-lru",
    )
    findings = diagnose(report(server=facts, clock_skew=9.0, local=False), Limits())
    assert len(findings) > 5
    order = [CRITICAL, WARNING, NOTICE]
    assert [order.index(each.severity) for each in findings] == sorted(
        order.index(each.severity) for each in findings
    )
    for each in findings:
        assert all((each.id, each.what, each.why, each.action))


def test_every_finding_has_a_test() -> None:
    names = ("test_diagnose.py", "test_partitions.py", "test_restrictions.py", "test_sentinels.py")
    texts = [Path(__file__).with_name(name).read_text(encoding="utf-8") for name in names]
    tested = set(re.findall(r'"([a-z]+-[a-z-]+|loading)"', "".join(texts)))
    assert all_names() - tested - {"version-unproven"} == set()


def test_a_version_is_its_leading_numbers() -> None:
    assert version_numbers("8.1.0-rc1") == (8, 1, 0)
    assert version_numbers("unstable") == ()


def report(**fields: object) -> Health:
    given: dict[str, object] = {
        "address": "here",
        "encrypted": False,
        "local": True,
        "serving": True,
        "latency": 0.0,
        "clock_skew": 0.0,
        "sweep_lag": 0.0,
        "memory_budget": None,
        "schema": "a" * 64,
        "data_schema": None,
        "server": ServerFacts(),
    }
    return Health(**{**given, **fields})  # type: ignore[arg-type]


def until(server: Running, name: str, *, linked: bool = False) -> Health:
    """Examine a server until it has a finding."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        health = examined(server.url)
        if name in names(health) and (not linked or health.server.primary_link):
            return health
    raise AssertionError(f"no {name} within {PATIENCE:.0f} s: {names(health)}")
