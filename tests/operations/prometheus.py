"""Prometheus and promtool for the check of dashboard and alerts: out of the PATH, or unpacked into `.prometheus`.

On Debian and its descendants apt fetches and checks the package `prometheus`; nothing is installed. Elsewhere
`prometheus` and `promtool` have to be in the PATH.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

FOLDER: Final = Path(__file__).resolve().parents[2] / ".prometheus"

PROGRAMS: Final = ("promtool", "prometheus")


def program(name: str, folder: Path = FOLDER) -> str:
    """The path of one of `PROGRAMS`.

    Raises:
        RuntimeError: it is neither in the PATH nor in the folder.
    """
    unpacked = folder / "root" / "usr" / "bin" / name
    found = str(unpacked) if unpacked.is_file() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"operations: no {name}; put it into the PATH")
    return found


def provide(folder: Path = FOLDER) -> str:
    """Make sure that both programs are there, and return the version.

    Raises:
        RuntimeError: they cannot be had on this machine.
    """
    if not (folder / "root").is_dir() and not all(shutil.which(name) for name in PROGRAMS):
        _unpack(folder)
    said = run([program("promtool", folder), "--version"])
    return said.splitlines()[0]


def run(words: Sequence[str], cwd: Path | None = None) -> str:
    """The output of a program.

    Raises:
        RuntimeError: it failed; the end of its output is in the message.
    """
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        name = Path(words[0]).name
        raise RuntimeError(f"operations: {name} failed:\n{(done.stdout + done.stderr).strip()[-3000:]}")
    return done.stdout


@contextmanager
def running(configuration: str, port: int) -> Iterator[str]:
    """Start a Prometheus with this configuration on a port of this machine, and yield its URL."""
    with TemporaryDirectory(prefix="prometheus-") as folder:
        path = Path(folder) / "prometheus.yml"
        path.write_text(configuration, encoding="utf-8")
        options = [
            f"--config.file={path}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=error",
        ]
        process = subprocess.Popen(
            [program("prometheus"), *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(30)


def _unpack(folder: Path) -> None:
    """Download the package and unpack it. The folder `root` appears whole or not at all."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise RuntimeError("operations: without apt, put promtool and prometheus into the PATH")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        _download(folder, [])
    except RuntimeError:  # this machine has no lists of packages: fetch them, into the folder
        lists = folder / "lists"
        (lists / "partial").mkdir(parents=True, exist_ok=True)
        options = [
            "-o",
            f"Dir::State::lists={lists}",
            "-o",
            "APT::Sandbox::User=root",
            "-o",
            "Debug::NoLocking=1",
        ]
        run(["apt-get", *options, "update"])
        _download(folder, options)
        shutil.rmtree(lists)
    half = folder / "root.half"
    shutil.rmtree(half, ignore_errors=True)
    (package,) = folder.glob("prometheus_*.deb")
    run(["dpkg-deb", "-x", str(package), str(half)])
    half.rename(folder / "root")
    package.unlink()


def _download(folder: Path, options: list[str]) -> None:
    run(["apt-get", *options, "download", "prometheus"], cwd=folder)
