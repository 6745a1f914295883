"""What killed servers lose: the short form of `make durability`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.servers.node import chosen_command
from tools.durability import __main__ as command
from tools.durability.cases import CASES, Case
from tools.durability.play import Tally, play

KILLS = 2


def played(name: str) -> Tally:
    tally = play(CASES[name], KILLS, chosen_command())
    assert (tally.kills, tally.cost > 0) == (KILLS, True)
    assert tally.acknowledged > KILLS
    assert (tally.hit > 0) == (tally.lost > 0)
    return tally


def test_a_killed_process_loses_nothing_that_is_in_the_file() -> None:
    """Under `everysec` the server holds writes back while an fsync takes long, and a kill may lose them."""
    assert play(Case(None, "always", "kill"), KILLS, chosen_command()).lost == 0


def test_a_failover_loses_what_no_replica_had_confirmed() -> None:
    assert played("none-failover").lost > 0


def test_a_failover_loses_nothing_that_a_replica_had_confirmed() -> None:
    assert played("replicas-failover").lost == 0


def test_a_loss_of_power_loses_what_is_not_on_the_disk_yet() -> None:
    if shutil.which("cc") is None:
        with pytest.raises(RuntimeError, match="need a C compiler"):
            played("none-power")
        return
    assert played("none-power").lost > 0
    assert played("disk-always-power").lost == 0


def test_without_a_compiler_the_message_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(RuntimeError, match="losses of power need a C compiler"):
        play(CASES["none-power"], 1, chosen_command())


def figures(line: str) -> Tally:
    """What a line of the table says, without the name of the case."""
    kills, acknowledged, lost, hit, cost = (float(each.replace(",", "")) for each in line.split()[1:])
    return Tally(int(kills), int(acknowledged), 0, int(lost), int(hit), cost / 1000)


def test_the_command_prints_what_it_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    tallies: list[Tally] = []

    def noted(*given: Any, **more: Any) -> Tally:
        tallies.append(play(*given, **more))
        return tallies[-1]

    monkeypatch.setattr(command, "play", noted)
    result = CliRunner().invoke(command.app, ["--kills", "2", "--only", "none-kill", "--seed", "7"])
    assert result.exit_code == 0, result.output
    (tally,) = tallies
    assert (tally.kills, tally.acknowledged > 0, tally.cost > 0) == (2, True, True)
    printed = figures(result.output.splitlines()[-1])
    assert printed.cost == pytest.approx(tally.cost, abs=0.00001)
    assert replace(printed, cost=tally.cost) == replace(tally, unconfirmed=0)


@pytest.mark.parametrize(
    ("case", "lost", "status"),
    [("none-kill", 1234, 0), ("disk-always-power", 0, 0), ("disk-always-power", 1234, 1)],
)
def test_the_command_fails_where_a_durable_store_lost_an_acknowledged_write(
    monkeypatch: pytest.MonkeyPatch, case: str, lost: int, status: int
) -> None:
    tally = Tally(3, 45_678, 0, lost, 2 if lost else 0, 0.00125)
    monkeypatch.setattr(command, "play", lambda *_, **__: tally)
    result = CliRunner().invoke(command.app, ["--kills", "3", "--only", case])
    assert result.exit_code == status
    assert result.output.splitlines()[-1].split()[0] == case
    assert figures(result.output.splitlines()[-1]) == tally


@pytest.mark.parametrize("words", [["--only", "everything"], ["--server", "mars"]])
def test_a_case_or_server_that_there_is_not_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(command.app, words).exit_code == 2


def test_the_command_names_the_cases() -> None:
    result = CliRunner().invoke(command.app, ["--list"])
    assert [line.split()[0] for line in result.output.splitlines()] == list(CASES)
