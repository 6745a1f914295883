"""What killed servers lose: the short form of `make durability`."""

from __future__ import annotations

import re
import shutil

import pytest
from typer.testing import CliRunner

from tests.servers.node import chosen_command
from tools.durability.__main__ import app
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


def test_the_command_prints_the_figures() -> None:
    result = CliRunner().invoke(app, ["--kills", "1", "--only", "none-kill", "--seed", "7"])
    assert result.exit_code == 0, result.output
    assert re.search(r"none-kill +1 +[\d,]+ +[\d,]+ +[01] +\d", result.output)


@pytest.mark.parametrize("words", [["--only", "everything"], ["--server", "mars"]])
def test_a_case_or_server_that_there_is_not_is_refused(words: list[str]) -> None:
    assert CliRunner().invoke(app, words).exit_code == 2


def test_the_command_names_the_cases() -> None:
    result = CliRunner().invoke(app, ["--list"])
    assert [line.split()[0] for line in result.output.splitlines()] == list(CASES)
