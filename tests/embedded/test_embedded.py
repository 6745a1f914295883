"""The embedded server: it starts, is shared, keeps or drops its data, and ends however its last user ends."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from keyweave import sync
from keyweave.connection.settings import parse_url
from keyweave.effects import Command, Reply
from keyweave.embedded import server as embedded
from keyweave.embedded import supervisor
from keyweave.embedded.binary import find_server
from keyweave.embedded.server import Lease
from keyweave.errors import ConfigurationError, StoreUnavailableError
from tests.connection.peers import sending
from tests.servers.running import embedded_binary

PROGRAM = """
import os, signal, sys
from keyweave import sync
from keyweave.embedded import server as embedded
from keyweave.connection.settings import parse_url
from tests.connection.peers import sending
shell = sync.Shell(parse_url(sys.argv[1]))
info = shell.run(sending(("SET", "written", os.getpid()), ("INFO", "server")))[1]
pid = info.partition(b"process_id:")[2].split()[0].decode()
print(pid, shell.settings.path, flush=True)
"""

WAITING = """
import time
while True:
    time.sleep(0.01)
"""
"""Waits for a signal. `signal.pause()` would miss a SIGINT that arrives before it has begun to wait."""

ENDINGS = {
    "returning": "",
    "an exception": "raise RuntimeError('on purpose')",
    "exiting at once": "os._exit(3)",
    "SIGTERM": WAITING,
    "SIGINT": WAITING,
    "SIGKILL": WAITING,
}


@pytest.fixture
def acquire(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path | None], Lease]]:
    """Leases servers that no other test of this process uses."""
    monkeypatch.setattr(embedded, "_SERVERS", {})
    leases: list[Lease] = []

    def acquire_one(path: Path | None) -> Lease:
        leases.append(embedded.acquire(path))
        return leases[-1]

    yield acquire_one
    for lease in leases:
        lease.release()
    for server in embedded._SERVERS.values():
        server.leave()


def ask(lease: Lease, *commands: Command) -> list[Reply]:
    with sync.Shell(lease.settings(parse_url("embedded:"))) as shell:
        return shell.run(sending(*commands))


def server_of(lease: Lease) -> int:
    info: bytes = ask(lease, ("INFO", "server"))[0]
    return int(info.partition(b"process_id:")[2].split()[0])


def running(pid: int) -> bool:
    """Whether a process runs; one that only waits to be collected does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition():
        if time.monotonic() > deadline:
            return False
        threading.Event().wait(0.005)
    return True


def program(url: str, ending: str = "") -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM + ending, url],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )


def started(process: subprocess.Popen[str]) -> tuple[int, Path]:
    assert process.stdout is not None
    pid, path = process.stdout.readline().split()
    return int(pid), Path(path)


def test_leases_of_one_process_share_a_server(acquire: Callable[[Path | None], Lease]) -> None:
    first, second = acquire(None), acquire(None)
    ask(first, ("SET", "a", "1"))
    assert ask(second, ("GET", "a")) == [b"1"]


def test_the_data_is_gone_with_the_last_lease_and_not_before(acquire: Callable[[Path | None], Lease]) -> None:
    first, second = acquire(None), acquire(None)
    ask(first, ("SET", "a", "1"), ("SELECT", 3), ("SET", "b", "2"), ("SELECT", 0))
    first.release()
    first.release()
    assert ask(second, ("GET", "a")) == [b"1"]
    second.release()
    third = acquire(None)
    assert ask(third, ("DBSIZE",), ("SELECT", 3), ("DBSIZE",)) == [0, b"OK", 0]


def test_a_server_that_died_is_replaced(acquire: Callable[[Path | None], Lease]) -> None:
    pid = server_of(acquire(None))
    os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: not running(pid))
    assert server_of(acquire(None)) != pid


def test_memory_is_never_freed_by_dropping_data(acquire: Callable[[Path | None], Lease]) -> None:
    (policy,) = ask(acquire(None), ("CONFIG", "GET", "maxmemory-policy"))
    assert policy[1] == b"noeviction"


def test_threads_that_start_at_once_share_one_server(
    acquire: Callable[[Path | None], Lease], tmp_path: Path
) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(server_of(acquire(tmp_path)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 6
    assert len(set(pids)) == 1


def test_data_in_a_folder_survives_the_last_lease(
    acquire: Callable[[Path | None], Lease], tmp_path: Path
) -> None:
    folder = tmp_path / "new" / "a b'\"é" / ("x" * 150)
    first = acquire(folder)
    pid = server_of(first)
    ask(first, *[("SET", f"k{number}", "x" * 1000) for number in range(1000)])
    first.release()
    assert not running(pid)
    assert ask(acquire(folder), ("DBSIZE",)) == [1000]


def test_two_names_of_one_folder_are_one_server(
    acquire: Callable[[Path | None], Lease], tmp_path: Path
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert server_of(acquire(tmp_path / "real")) == server_of(acquire(tmp_path / "link" / ".." / "link"))


def test_two_folders_are_two_servers(acquire: Callable[[Path | None], Lease], tmp_path: Path) -> None:
    assert server_of(acquire(tmp_path / "a")) != server_of(acquire(tmp_path / "b"))


def test_processes_share_the_server_of_a_folder_until_the_last_one_ends(tmp_path: Path) -> None:
    first, second = program(f"embedded:{tmp_path}", "signal.pause()"), program(
        f"embedded:{tmp_path}", "signal.pause()"
    )
    try:
        (pid, _), (same, path) = started(first), started(second)
        assert pid == same
        first.kill()
        first.wait()
        with sync.Shell(parse_url(f"unix://{path}")) as shell:
            assert shell.run(sending(("EXISTS", "written"))) == [1]
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert eventually(lambda: not running(pid))


def test_a_program_that_opens_a_stopping_server_waits_and_finds_the_data(tmp_path: Path) -> None:
    for number in range(4):
        done = program(
            f"embedded:{tmp_path}", f"shell.run(sending(('RPUSH', 'rounds', {number})));os._exit(0)"
        )
        started(done)
        done.communicate()
    lease = embedded.acquire(tmp_path)
    try:
        assert ask(lease, ("LRANGE", "rounds", 0, -1)) == [[b"0", b"1", b"2", b"3"]]
    finally:
        lease.release()


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_server_ends_with_its_program(tmp_path: Path, ending: str, kept: bool) -> None:
    process = program(f"embedded:{tmp_path}" if kept else "embedded:", ENDINGS[ending])
    pid, path = started(process)
    if ENDINGS[ending] == WAITING:
        process.send_signal(getattr(signal, ending))
    process.communicate(timeout=30)
    assert eventually(lambda: not running(pid))
    assert eventually(lambda: not path.parent.exists())
    if kept:
        lease = embedded.acquire(tmp_path)
        try:
            assert ask(lease, ("GET", "written")) == [str(process.pid).encode()]
        finally:
            lease.release()


def test_a_server_without_its_supervisor_ends_too(tmp_path: Path) -> None:
    process = program(f"embedded:{tmp_path}", "signal.pause()")
    pid, path = started(process)
    try:
        parent = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(parent, signal.SIGKILL)
        assert eventually(lambda: not running(pid))
    finally:
        shutil.rmtree(path.parent)
        if running(pid):
            os.kill(pid, signal.SIGKILL)
        process.kill()
        process.communicate()


def test_a_forked_child_neither_ends_nor_keeps_the_server() -> None:
    forking = """
child = os.fork()
if child == 0:
    shell.close()
    own = embedded.acquire(None)
    assert str(own.socket) != shell.settings.path
    own.release()
    survivor = os.fork()
    if survivor:
        print(survivor, flush=True)
        sys.exit(0)
    os.close(1)
    signal.pause()
assert os.waitpid(child, 0)[1] == 0
assert shell.run(sending(("EXISTS", "written"))) == [1]
"""
    process = program("embedded:", forking)
    pid, path = started(process)
    output, _ = process.communicate(timeout=30)
    try:
        assert process.returncode == 0
        assert running(int(output))
        assert eventually(lambda: not running(pid))
        assert eventually(lambda: not path.parent.exists())
    finally:
        os.kill(int(output), signal.SIGKILL)


def test_a_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ConfigurationError, match=r"embedded: .*file"):
            embedded.acquire(path)


def test_a_folder_that_cannot_be_written_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot use /proc/keyweave"):
        embedded.acquire("/proc/keyweave")


def test_the_error_of_a_server_that_cannot_start_has_the_reason(tmp_path: Path) -> None:
    (tmp_path / "appendonlydir").write_text("in the way")
    with pytest.raises(StoreUnavailableError, match=r"(?s)does not start; it logged:\n.*appendonlydir"):
        embedded.acquire(tmp_path)
    (tmp_path / "appendonlydir").unlink()
    embedded.acquire(tmp_path).release()


@pytest.mark.parametrize(
    ("found", "used"),
    [
        (["valkey-server"], "valkey-server"),
        (["redis-server"], "redis-server"),
        (["redis-server", "valkey-server"], "valkey-server"),
    ],
)
def test_without_the_wheel_a_server_in_the_path_is_started(
    acquire: Callable[[Path | None], Lease],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    found: list[str],
    used: str,
) -> None:
    """Each program in the path leaves its name before it becomes the server."""
    for name in found:
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f'#!/bin/sh\necho {name} > {tmp_path}/used\nexec {embedded_binary()} "$@"\n')
        program.chmod(0o755)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert ask(acquire(tmp_path / "data"), ("SET", "a", "1"), ("GET", "a")) == [b"OK", b"1"]
    assert (tmp_path / "used").read_text() == f"{used}\n"


def test_the_server_of_the_wheel_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == embedded_binary()


def test_a_missing_server_is_named_with_its_cures(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    lease = embedded.acquire(None)
    monkeypatch.setattr(embedded, "_SERVERS", {})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        ConfigurationError,
        match=r"pip install 'keyweave\[embedded\]'.*valkey-server or redis-server in the PATH",
    ):
        embedded.acquire(None)
    monkeypatch.undo()
    lease.release()


def test_the_supervisor_needs_nothing_of_the_program_it_serves() -> None:
    source = Path(supervisor.__file__).read_text()
    assert "keyweave" not in source.partition('"""\n')[2].replace("ruff", "")
