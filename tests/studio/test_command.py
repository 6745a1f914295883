"""`keyweave studio` as a process: one loopback address, a new token each time, and an end by an interrupt."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from keyweave.admin import studio
from tests.look.generated import app


@contextmanager
def running(*words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process, and the URL that it printed."""
    command = [
        sys.executable,
        "-m",
        "keyweave.cli",
        "studio",
        "--url",
        "embedded:",
        "--package",
        "compozy_store",
    ]
    process = subprocess.Popen(
        [*command, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().removeprefix("keyweave studio: ").strip()
    finally:
        process.kill()
        process.communicate()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_it_serves_on_loopback_and_ends_by_an_interrupt() -> None:
    with running() as (process, url):
        match = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/([\w-]{32})/", url)
        assert match is not None, url
        assert status(url) == 200
        assert status(f"{url}static/studio.css") == 200
        assert status(url.replace(match[2], "x" * 32)) == 403
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert (process.returncode, "Traceback" in errors) == (0, False), errors
        assert match[2] not in errors
    with running() as (_, again):
        assert again.rsplit("/", 2)[1] != match[2]


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = str(listener.getsockname()[1])
        words = ["studio", "--url", "embedded:", "--package", "compozy_store", "--port", port]
        result = CliRunner().invoke(app, words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"keyweave: cannot listen on 127.0.0.1:{port}: ")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studio, "find_spec", lambda name: None if name == "uvicorn" else object())
    result = CliRunner().invoke(app, ["studio", "--url", "embedded:", "--package", "compozy_store"])
    assert result.exit_code == 2
    assert (
        result.stderr
        == "keyweave: the studio needs uvicorn; install it with: pip install 'keyweave[studio]'\n"
    )
