"""What servers lose when they are killed, when power fails, and when a replica takes over."""

from __future__ import annotations

import time

import pytest

from tests.servers.durable import Ledger, Level, durable
from tests.servers.running import chosen_server
from tests.waiting import wait_until


@pytest.mark.parametrize("level", ["always", "no"])
def test_a_killed_process_loses_nothing_that_it_acknowledged(level: Level) -> None:
    with durable(level) as servers:
        ledger = Ledger(servers.primary)
        with ledger.writing():
            wait_until(lambda: len(ledger.acknowledged) >= 200)
            servers.primary.kill()
        servers.restart()
        assert len(ledger.acknowledged) >= 200
        assert ledger.lost() == []


@pytest.mark.parametrize("level", ["always", "everysec", "no"])
def test_a_loss_of_power_takes_what_the_level_leaves_open(level: Level) -> None:
    with durable(level) as servers:
        ledger = Ledger(servers.primary)
        ledger.write(50)
        servers.flush()
        ledger.write(50)
        assert (servers.lose_power() > 0) == (level != "always")
        servers.restart()
        assert ledger.lost() == ([] if level == "always" else [*range(50, 100)])
        assert ledger.found(range(50)) == [*range(50)]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7])
def test_a_torn_end_of_the_file_loses_the_latest_writes(share: float) -> None:
    with durable("no") as servers:
        ledger = Ledger(servers.primary)
        ledger.write(100)
        servers.lose_power(share)
        servers.restart()
        lost = ledger.lost()
        assert lost == [*range(100 - len(lost), 100)]
        assert 100 * share <= len(lost) <= 100 * share + 1
        ledger.write(1)
        assert ledger.acknowledged[-1] == 100


def test_everysec_keeps_what_is_older_than_its_window() -> None:
    with durable("everysec") as servers:
        ledger = Ledger(servers.primary)
        ledger.write(20)
        with (
            servers.primary.client() as client
        ):  # while it calls fsync, the server puts off to write what it has acknowledged
            wait_until(lambda: int(client.info("persistence")["aof_buffer_length"]) == 0)
        written = servers.primary.sizes()
        wait_until(lambda: servers.certain() == written)
        ledger.write(20)
        servers.lose_power()
        servers.restart()
        assert ledger.lost() == [*range(20, 40)]


def test_a_replica_lacks_what_it_did_not_confirm() -> None:
    with durable("no", replicas=1) as servers:
        (replica,) = servers.replicas
        confirmed = Ledger(servers.primary, ("WAIT", 1, 10_000))
        confirmed.write(20)
        assert (len(confirmed.acknowledged), confirmed.unconfirmed) == (20, [])
        replica.pause()
        unconfirmed = Ledger(servers.primary, ("WAIT", 1, 10))
        unconfirmed.write(3)
        assert (unconfirmed.acknowledged, unconfirmed.unconfirmed) == ([], [0, 1, 2])
        servers.primary.kill()
        replica.resume()
        assert confirmed.lost(servers.promote()) == []


def test_a_failover_loses_what_was_acknowledged_by_the_primary_alone() -> None:
    with durable("always", replicas=1) as servers:
        (replica,) = servers.replicas
        both, alone = Ledger(servers.primary, ("WAIT", 1, 10_000)), Ledger(servers.primary)
        both.write(10)
        replica.kill()
        alone.write(10)
        servers.primary.kill()
        replica.start()
        promoted = servers.promote()
        assert (both.lost(promoted), alone.lost(promoted)) == ([], [*range(10)])


def test_waitaof_is_part_of_an_acknowledgement() -> None:
    with durable("always") as servers:
        ledger = Ledger(servers.primary, ("WAITAOF", 1, 0, 10_000))
        ledger.write(20)
        assert (len(ledger.acknowledged), ledger.unconfirmed) == (20, [])
        without = Ledger(servers.primary, ("WAITAOF", 0, 1, 10))
        without.write(2)
        assert (without.acknowledged, without.unconfirmed) == ([], [0, 1])
        servers.lose_power()
        servers.restart()
        assert ledger.lost() == []


def test_waitaof_under_everysec_waits_for_the_disk_on_redis_only() -> None:
    """Valkey 9.1.2 confirms at once what its file has, though the disk has it up to a second later. Redis 8 waits for each fsync."""
    with durable("everysec") as servers:
        ledger = Ledger(servers.primary, ("WAITAOF", 1, 0, 10_000))
        began = time.monotonic()
        ledger.write(3)
        assert (time.monotonic() - began < 1) == (chosen_server() == "embedded")
        assert len(ledger.acknowledged) == 3
