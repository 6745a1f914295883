"""A Redis 8 for the tests: unpacked from the distribution's packages into `.redis8`, and nowhere installed.

`python -m tests.servers.redis8` (`make redis8`) provides it. On Debian 13 the packages of `redis-server` and
everything it links to come by apt, checked by apt's own keys, from the mirror that this machine uses already;
the server then runs with its own loader and libraries, so it does not matter what else is installed. Elsewhere
a `redis-server` of version 8 in the PATH does.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / ".redis8"

RELEASE: Final = "trixie"
"""The first release of Debian with Redis 8."""

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

_TARGETS: Final = "$(REPO_URI) $(CREATED_BY) $(COMPONENT)"
_LOADERS: Final = {"x86_64": "ld-linux-x86-64.so.2", "aarch64": "ld-linux-aarch64.so.1"}


def server_command(folder: Path = FOLDER) -> list[str]:
    """The words that start the server.

    Raises:
        RuntimeError: `make redis8` has not run, and there is no `redis-server` in the PATH.
    """
    root = folder / "root"
    if root.is_dir():
        return _unpacked_command(root)
    found = shutil.which("redis-server")
    if found is None:
        raise RuntimeError("redis8: no server; run make redis8, or put redis-server 8 into the PATH")
    return [found]


def server_version(command: Sequence[str]) -> tuple[int, ...]:
    """The version that a server reports.

    Raises:
        RuntimeError: it reports none.
    """
    said = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    match = re.search(r"\bRedis server v=(\d+)\.(\d+)\.(\d+)", said.stdout)
    if match is None:
        raise RuntimeError(f"redis8: {command[0]} is no Redis: {(said.stdout + said.stderr).strip()[:500]}")
    return tuple(map(int, match.groups()))


def provide(folder: Path = FOLDER) -> list[str]:
    """Make sure that there is a Redis 8, and return the words that start it.

    Raises:
        RuntimeError: it cannot be had on this machine.
    """
    if not (folder / "root").is_dir():
        found = shutil.which("redis-server")
        if found is not None and server_version([found])[0] >= 8:
            return [found]
        _unpack(folder)
    command = server_command(folder)
    version = server_version(command)
    if version[0] < 8:
        raise RuntimeError(f"redis8: found version {'.'.join(map(str, version))}; needs 8 or later")
    return command


def _unpack(folder: Path) -> None:
    """Download the packages and unpack them. The folder `root` appears whole or not at all."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RuntimeError(
            "redis8: without apt, put redis-server 8 into the PATH, or set KEYWEAVE_REDIS8_URL"
        )
    if not KEYRING.is_file():
        raise RuntimeError(f"redis8: {KEYRING} is missing, with which Debian's packages are checked")
    archives = folder / "cache" / "archives"
    for path in (folder / "lists" / "partial", archives / "partial"):
        path.mkdir(parents=True, exist_ok=True)
    (folder / "status").write_text("")
    sources = folder / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} {RELEASE} main\n")
    options = _options(folder, sources)
    _run(["apt-get", *options, "update"])
    # With nothing installed, the closure of the tools is complete down to the C library. The server's own package
    # also depends on init scripts, which are not needed here.
    _run(["apt-get", *options, "install", "--download-only", "--no-install-recommends", "-y", "redis-tools"])
    _run(["apt-get", *options, "download", "redis-server"], cwd=archives)
    half = folder / "root.half"
    shutil.rmtree(half, ignore_errors=True)
    for package in sorted(archives.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(half)])
    half.rename(folder / "root")
    shutil.rmtree(folder / "cache")
    shutil.rmtree(folder / "lists")


def _mirror() -> str:
    """The source of Debian's packages on this machine."""
    said = _run(["apt-get", "indextargets", "--format", _TARGETS])
    for line in said.splitlines():
        words = line.split()
        if words[1:] == ["Packages", "main"]:
            return words[0]
    raise RuntimeError("redis8: apt knows no mirror of Debian's main packages")


def _options(folder: Path, sources: Path) -> list[str]:
    """Options by which apt keeps to `folder` and leaves what is installed alone."""
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::State::lists": folder / "lists",
        "Dir::State::status": folder / "status",
        "Dir::Cache": folder / "cache",
        "APT::Sandbox::User": "root",
        "Debug::NoLocking": "1",
    }
    return [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]


def _run(words: Sequence[str], cwd: Path | None = None) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"redis8: {words[0]} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout


def _unpacked_command(root: Path) -> list[str]:
    machine = platform.machine()
    if machine not in _LOADERS:
        raise RuntimeError(f"redis8: no loader is known for {machine}; put redis-server 8 into the PATH")
    libraries = root / "usr" / "lib" / f"{machine}-linux-gnu"
    binary = root / "usr" / "bin" / "redis-server"
    loader = libraries / _LOADERS[machine]
    for path in (binary, loader):
        if not path.is_file():
            raise RuntimeError(f"redis8: {path} is missing; remove {root.parent} and run make redis8 again")
    return [str(loader), "--library-path", str(libraries), str(binary)]


def main() -> int:
    """Provide the server and print its version."""
    try:
        command = provide()
        version = ".".join(map(str, server_version(command)))
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"redis8: Redis {version} is ready\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
