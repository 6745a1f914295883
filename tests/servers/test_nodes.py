"""Servers end with the process that started them, and find their ports free again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.servers import ports
from tests.servers.guarded import guarded
from tests.servers.node import Node, await_until
from tests.waiting import wait_until

_INTERRUPTED = """
import sys
from tests.servers.guarded import guarded
from tests.servers.node import Node
with guarded("interrupted-") as folder:
    node = Node(folder / "node", {})
    node.start()
    print(node.pid, folder, flush=True)
    sys.stdin.read()
"""


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_end_when_their_process_is_killed(number: signal.Signals) -> None:
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _INTERRUPTED],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().split()
        assert alive(int(pid))
        process.send_signal(number)
        process.wait()
        wait_until(lambda: not Path(folder.decode()).exists())
        wait_until(lambda: not alive(int(pid)))


def test_a_killed_server_starts_again_on_its_port_and_data() -> None:
    with guarded("again-") as folder:
        node = Node(folder / "node", {"appendonly": "yes", "appendfsync": "always"})
        node.start()
        port, pid = node.port, node.pid
        node.ask("SET", "key", "kept")
        node.kill()
        assert not node.runs
        node.start()
        assert (node.port, node.ask("GET", "key")) == (port, b"kept")
        assert node.pid != pid
        node.close()


def test_what_a_server_logged_is_in_the_error_when_it_does_not_start() -> None:
    with guarded("wrong-") as folder:
        node = Node(folder / "node", {"appendfsync": "sometimes"})
        with pytest.raises(RuntimeError, match=r"did not start(.|\n)*appendfsync"):
            node.start()
        node.close()


def test_a_stopped_server_does_not_answer_until_it_goes_on() -> None:
    with guarded("stopped-") as folder:
        node = Node(folder / "node", {})
        node.start()
        node.pause()
        with pytest.raises(redis.TimeoutError), node.client(socket_timeout=0.05) as client:
            client.ping()
        node.resume()
        assert node.ask("PING")
        node.close()


def test_a_port_is_reserved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = ports.reserve_port()
    drawn = iter([first.number, first.number, first.number + 1])

    class Drawing:
        def randrange(self, *_: int) -> int:
            return next(drawn)

    monkeypatch.setattr(ports, "_RANDOM", Drawing())
    second = ports.reserve_port()
    assert second.number == first.number + 1
    first.release()
    second.release()


def test_a_condition_that_stays_false_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.servers.node.PATIENCE", 0.05)
    with pytest.raises(TimeoutError, match="servers: the impossible: not within"):
        await_until(lambda: False, "the impossible")
