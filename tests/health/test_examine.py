"""Examining a server, with literal replies: one exchange, no retries, and the meaning of refusals."""

from __future__ import annotations

from typing import Any

import pytest

from keyweave.effects import ServerError
from keyweave.errors import (
    AuthenticationError,
    ConfigurationError,
    KeyweaveError,
    StoreLoadingError,
    StoreTimeoutError,
    StoreUnavailableError,
)
from keyweave.health.connect import connect
from keyweave.health.examine import examine
from tests.scripted import LOST, UNSENT, Scripted

NOW = 1_700_000_000
TIME = [b"%d" % NOW, b"250000"]
INFO = b"redis_version:8.0.2\r\nrole:master\r\naof_enabled:1\r\nused_memory:1\r\nmaxmemory:9\r\n"
INFO += b"maxmemory_policy:noeviction\r\n"
SETTINGS = [b"appendfsync", b"everysec", b"save", b""]
ASKED = [b"PONG", TIME, INFO, 1, 1, SETTINGS]
PARTITIONS = 2


def refusal(code: str) -> ServerError:
    return ServerError(code, f"{code} no")


def replies(*, first: list[Any] | None = None, oldest: Any = (), schema: Any = None) -> list[Any]:
    return [*(ASKED if first is None else first), *[list(oldest)] * PARTITIONS, *[schema] * PARTITIONS]


def wall() -> float:
    return NOW + 0.25


def test_opening_reads_the_servers_time_and_facts_in_one_exchange() -> None:
    scripted = Scripted()
    server = scripted.run(connect(scripted.context), [ASKED])
    assert (server.version, server.role, server.persistence) == ("8.0.2", "primary", "aof everysec")
    assert scripted.context.state.clock.now() == NOW * 1_000_000 + 250_000
    assert [command[0] for command in scripted.sent()] == ["PING", "TIME", "INFO", "EVAL", "EVAL", "CONFIG"]


@pytest.mark.parametrize("trial", [1, refusal("OOM"), refusal("READONLY"), refusal("NOREPLICAS")])
@pytest.mark.parametrize(
    ("answer", "declared"),
    [
        (1, False),
        (refusal("NOPERM"), False),
        (ServerError("ERR", "ERR script tried accessing undeclared key"), True),
        (ServerError("ERR", "ERR Script uses keys that are NOT DECLARED in KEYS"), True),
    ],
)
def test_opening_finds_out_whether_scripts_may_use_undeclared_keys(
    trial: Any, answer: Any, declared: bool
) -> None:
    scripted = Scripted()
    server = scripted.run(connect(scripted.context), [[*ASKED[:3], trial, answer, SETTINGS]])
    assert server.declared_keys is declared
    assert server.scripts is True
    verb, text, number, clock, expiry = scripted.sent()[4]
    assert (verb, number) == ("EVAL", 1)
    assert (str(clock)[-7:], str(expiry)[-8:]) == (":@clock", ":@expiry")
    assert str(text).startswith("#!lua flags=no-writes\n"), "a replica and a full server run it as well"


@pytest.mark.parametrize(
    ("first", "error"),
    [
        (
            [refusal("LOADING"), TIME, INFO, refusal("LOADING"), refusal("LOADING"), SETTINGS],
            StoreLoadingError,
        ),
        ([refusal("NOPERM")] * 6, AuthenticationError),
        ([b"PONG", *[refusal("BUSY")] * 5], StoreTimeoutError),
    ],
)
def test_opening_needs_an_answer_and_the_time(first: list[Any], error: type[KeyweaveError]) -> None:
    scripted = Scripted()
    with pytest.raises(error, match="host:6379"):
        scripted.run(connect(scripted.context), [first])


@pytest.mark.parametrize("failure", [LOST, UNSENT])
def test_a_broken_connection_is_not_retried(failure: Any) -> None:
    for flow in (connect, examine):
        scripted = Scripted()
        with pytest.raises(StoreUnavailableError):
            scripted.run(flow(scripted.context), [failure])


def test_settings_that_were_refused_once_are_not_requested_again() -> None:
    scripted = Scripted()
    scripted.run(connect(scripted.context), [[*ASKED[:5], refusal("NOPERM")]])
    health = scripted.run(examine(scripted.context, wall=wall), [replies(first=ASKED[:5])])
    assert (health.serving, health.server.aof, health.server.appendfsync) == (True, True, None)
    assert "CONFIG" not in [command[0] for command in scripted.sent()[6:]]


@pytest.mark.parametrize("code", ["OOM", "READONLY", "MISCONF", "NOREPLICAS"])
def test_a_server_that_refuses_writes_is_not_serving(code: str) -> None:
    scripted = Scripted()
    first = [b"PONG", TIME, INFO, refusal(code), 1, SETTINGS]
    health = scripted.run(examine(scripted.context, wall=wall), [replies(first=first)])
    assert (health.serving, health.server.refusal, health.server.scripts) == (False, code, True)


@pytest.mark.parametrize(
    ("code", "scripts"), [("NOPERM", False), ("ERR", False), ("LOADING", None), ("BUSY", None)]
)
def test_other_refusals_concern_only_scripts_or_nothing(code: str, scripts: bool | None) -> None:
    scripted = Scripted()
    first = [b"PONG", TIME, INFO, refusal(code), 1, SETTINGS]
    health = scripted.run(examine(scripted.context, wall=wall), [replies(first=first)])
    assert (health.serving, health.server.refusal, health.server.scripts) == (False, None, scripts)


def test_the_oldest_row_past_its_deadline_gives_the_lag_of_sweeping() -> None:
    scripted = Scripted()
    late = b"%d" % ((NOW - 60) * 1_000_000)
    health = scripted.run(examine(scripted.context, wall=wall), [replies(oldest=[b"User:u", late])])
    assert health.sweep_lag == pytest.approx(60.25)
    future = b"%d" % ((NOW + 60) * 1_000_000)
    health = scripted.run(examine(scripted.context, wall=wall), [replies(oldest=[b"User:u", future])])
    assert health.sweep_lag == 0


@pytest.mark.parametrize(("ahead", "skew"), [(0.0, 0.0), (5.0, 5.0), (-5.0, -5.0)])
def test_the_clock_skew_excludes_the_round_trip(ahead: float, skew: float) -> None:
    scripted = Scripted()
    flow = examine(scripted.context, wall=lambda: wall() - ahead)
    assert scripted.run(flow, [replies()]).clock_skew == pytest.approx(skew)


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_is_positive(budget: int) -> None:
    scripted = Scripted()
    with pytest.raises(ConfigurationError):
        scripted.run(examine(scripted.context, memory_budget=budget), [])
    assert scripted.effects == []
