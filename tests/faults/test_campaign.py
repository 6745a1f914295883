"""`make faults` in small: a short round of each kind of fault on real servers, without a violation."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.servers.running import chosen_server
from tools.faults.__main__ import app
from tools.faults.campaign import Campaign, campaign, written
from tools.faults.kinds.kinds import KINDS
from tools.faults.settings import settings_of

ROOT = Path(__file__).resolve().parents[2]

TOGETHER = (
    ("kill", "cut"),
    ("cut_tail", "refuse"),
    ("stop", "cancel"),
    ("out_of_memory", "delay"),
    ("read_only", "hold"),
    ("permissions", "straggle"),
    ("kill_clients", "silence"),
    ("failover", "black_hole"),
    ("flush_scripts", "storm", "interrupt"),
)
"""Kinds that happen in one round: one of each lane at most, side by side."""

SHORT = {"timeout": 0.3, "connect_timeout": 0.3, "pool_timeout": 0.3, "deadline": 1.0, "lock_wait": 1.0}


@pytest.fixture(scope="module")
def running() -> Iterator[Campaign]:
    with campaign(chosen_server()) as opened:
        yield opened


def test_every_kind_of_fault_has_a_round() -> None:
    assert sorted(name for names in TOGETHER for name in names) == sorted(KINDS)


@pytest.mark.parametrize("names", TOGETHER, ids="-".join)
def test_a_round_shows_no_violation(running: Campaign, names: tuple[str, ...]) -> None:
    faults = [KINDS[name] for name in names]
    settings = settings_of(7, faults, seconds=0.5, writers=16, chosen=True)
    evidence = running.play(replace(settings, options={**settings.options, **SHORT, "chunk": 500}))
    assert sorted(evidence.struck) == sorted(names)
    assert written(evidence) > 0
    assert evidence.violations == []


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with a short name: the name of a socket in it has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="f-") as folder:
        yield Path(folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left_however_a_campaign_ends(number: signal.Signals, short_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "tools.faults",
        "--rounds",
        "50",
        "--seconds",
        "30",
        "--only",
        "flush_scripts",
    ]
    process = subprocess.Popen(
        words,
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(short_path)},
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 30
        begun = children(process.pid)
        while not any("valkey-server" in command for command in begun):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)  # asked again until the server of the first round runs
            begun = children(process.pid)
        process.send_signal(number)
        shown, _ = process.communicate(timeout=30)
    finally:
        process.kill()
    assert len(begun) == 6  # the guard, four processes of writers and a server
    assert eventually(lambda: not any(map(alive, begun.values())) and not list(short_path.iterdir()))
    if number is signal.SIGINT:
        assert process.returncode in (130, -signal.SIGINT)  # the same to a shell
        assert b"ended early" in shown


def children(parent: int) -> dict[str, int]:
    """The processes that a process has started, by command."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[1]) == parent and state[0] != "Z":
                command = (folder / "cmdline").read_text().replace("\0", " ")
                found[f"{command} {folder.name}"] = int(folder.name)
        except (FileNotFoundError, ProcessLookupError):
            pass  # ended meanwhile
    return found


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["--help"], 0, "Exits with 1 when a promise was broken"),
        (["--list"], 0, "The server is killed with SIGKILL and starts again"),
        (["--only", "quake"], 2, "no kind 'quake'; there are kill"),
        (["--server", "memcached"], 2, "must be one of embedded, redis8"),
    ],
)
def test_the_command_explains_itself(words: list[str], code: int, shown: str) -> None:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "150", "NO_COLOR": "1"})
    assert done.exit_code == code
    assert shown in re.sub(r"[\s│]+", " ", done.output)


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    """Whether a condition holds within ten seconds."""
    until = time.monotonic() + 10
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True
