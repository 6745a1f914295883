"""Facts are read as the server reports them; what it does not report, or reports in another form, is unknown."""

from __future__ import annotations

import pytest

from keyweave.effects import Reply, ServerError
from keyweave.health.facts import ReplicaFacts, ServerFacts, read_facts

REFUSED = ServerError("NOPERM", "NOPERM no permissions")


def facts(info: Reply, settings: Reply = REFUSED) -> ServerFacts:
    return read_facts(info, settings, scripts=True, refusal=None)


@pytest.mark.parametrize("info", [REFUSED, None, b"", b"\xff\xfe", b"# Server\r\nnothing", [b"role:master"]])
def test_an_empty_report_leaves_every_fact_unknown(info: Reply) -> None:
    assert facts(info) == ServerFacts(scripts=True)


@pytest.mark.parametrize("settings", [REFUSED, None, [], [b"save"], [None, None], b"save", [b"other", b"1"]])
def test_settings_that_are_not_reported_are_unknown(settings: Reply) -> None:
    reported = facts(b"aof_enabled:1\r\n", settings)
    assert (reported.aof, reported.appendfsync, reported.snapshots, reported.persistence) == (
        True,
        None,
        None,
        "aof",
    )


def test_invalid_numbers_are_unknown() -> None:
    reported = facts(b"used_memory:1.5GB\r\nmaxmemory:\r\nmaxmemory_policy:noeviction\r\n")
    assert (reported.used_memory, reported.max_memory, reported.eviction_policy) == (None, None, "noeviction")


def test_valkey_is_distinguished_from_the_redis_that_it_is_compatible_with() -> None:
    reported = facts(b"redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\n")
    assert (reported.product, reported.version) == ("valkey", "9.1.2")
    assert facts(b"redis_version:8.0.2\r\n").product == "redis"


def test_replicas_are_read_with_what_they_have_not_confirmed() -> None:
    info = (
        b"role:master\r\nconnected_slaves:3\r\nmaster_repl_offset:1000\r\n"
        b"slave0:ip=10.0.0.1,port=6379,state=online,offset=400,lag=1\r\n"
        b"slave1:ip=::1,port=6379,state=wait_bgsave,offset=0,lag=0,type=replica\r\n"
    )
    assert facts(info).replicas == (
        ReplicaFacts(state="online", behind=600, silent=1),
        ReplicaFacts(state="wait_bgsave", behind=1000, silent=0),
        ReplicaFacts(state="", behind=1000, silent=-1),
    )


def test_a_replica_reports_its_primary() -> None:
    reported = facts(
        b"role:slave\r\nmaster_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\nslave0:x\r\n"
    )
    assert (reported.role, reported.primary_link, reported.primary_silent, reported.replicas) == (
        "replica",
        False,
        -1,
        (),
    )


@pytest.mark.parametrize(
    ("info", "settings", "words"),
    [
        (b"aof_enabled:1\r\n", [b"appendfsync", b"always", b"save", b""], "aof always"),
        (b"aof_enabled:0\r\n", [b"appendfsync", b"always", b"save", b""], "none"),
        (b"aof_enabled:0\r\n", [b"appendfsync", b"always", b"save", b"3600 1"], "snapshots"),
        (b"aof_enabled:0\r\n", REFUSED, "no aof"),
        (b"", REFUSED, "unknown"),
    ],
)
def test_persistence_is_summarised(info: bytes, settings: Reply, words: str) -> None:
    assert facts(info, settings).persistence == words


@pytest.mark.parametrize(
    ("info", "failing"),
    [
        (b"rdb_last_bgsave_status:ok\r\n", False),
        (b"rdb_last_bgsave_status:err\r\n", True),
        (b"rdb_last_bgsave_status:ok\r\naof_enabled:1\r\naof_last_write_status:err\r\n", True),
        (b"rdb_last_bgsave_status:ok\r\naof_enabled:0\r\naof_last_write_status:err\r\n", False),
        (b"aof_enabled:1\r\n", None),
    ],
)
def test_failing_persistence_is_the_last_failed_attempt(info: bytes, failing: bool | None) -> None:
    assert facts(info).persistence_failing is failing
