"""Check, reindex, export and import: entities per second, and the memory of the tool's process.

Each command runs in a process of its own on an embedded server with its own data folder. The rows are task states
as the engine writes them: a payload of 560 bytes, ten views, in executions of twenty tasks with a parent each.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from compozy_store import PACKAGE
from compozy_store.sync import Store
from keyweave.effects import Command, Flow, Send

BASE: Final = 1_790_000_000_000_000
FAMILY: Final = 20
PAYLOAD: Final = "x" * 540
STATES: Final = ("RUNNING", "PENDING", "WAITING", "PAUSED")
CHECK_TARGET: Final = 120.0
MEMORY_TARGET: Final = 200.0


class Measured(NamedTuple):
    """One run of a command."""

    command: str
    entities: int
    seconds: float
    processor: float
    server: float
    megabytes: float

    def __str__(self) -> str:
        rate = self.entities / self.seconds
        return (
            f"{self.command:<24} {self.seconds:>8.1f} s {rate:>10,.0f} entities/s {self.megabytes:>6.0f} MB"
            f"   processor: tool {self.processor:.1f} s, server {self.server:.1f} s"
        )


def documents(count: int) -> Iterator[bytes]:
    """Lines of `count` documents: an execution after every twenty tasks."""
    for number in range(count):
        revision = BASE + number
        run, place = divmod(number, FAMILY)
        head = f'"document":{{"revision":{revision},"created":{revision},"expires":0,"op":"{"0" * 18}"'
        if place == 0:
            rest = f'"workflow_exec_id":"run-{run:09}","workflow_id":"report-{run % 7}","status":"RUNNING"'
            yield f'{{"entity":"WorkflowState",{head},{rest}}}}}\n'.encode()
            continue
        parent = f'"parent_state_id":"task-{run:09}-1",' if place > 1 else ""
        rest = (
            f'"task_exec_id":"task-{run:09}-{place}","task_id":"step-{place}","workflow_exec_id":"run-{run:09}",'
            f'"workflow_id":"report-{run % 7}","component":"agent","status":"{STATES[number % 4]}",{parent}'
            f'"agent_id":"agent-{number % 5}","action_id":"action-{number % 9}","output":{{"text":"{PAYLOAD}"}}'
        )
        yield f'{{"entity":"TaskState",{head},{rest}}}}}\n'.encode()


def write_file(path: Path, count: int) -> None:
    """An artificial export of `count` documents."""
    digest = hashlib.sha256()
    with path.open("wb") as output:

        def write(line: bytes) -> None:
            digest.update(line)
            output.write(line)

        header = {
            "keyweave_export": 1,
            "package": PACKAGE.name,
            "fingerprint": PACKAGE.fingerprint,
            "time": BASE,
        }
        write(json.dumps(header).encode() + b"\n")
        for line in documents(count):
            write(line)
        end = {"end": True, "documents": count, "counts": {}, "left_out": 0, "sha256": digest.hexdigest()}
        output.write(json.dumps(end).encode() + b"\n")


def timed(name: str, count: int, words: Sequence[str], url: str, store: Store, expected: int = 0) -> Measured:
    """Run one command in a process of its own. On a busy machine processor time is more exact than the clock."""
    shared = ["--package", "compozy_store", "--namespace", "bench", "--url", url]
    before, start = server_seconds(store), time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "keyweave.cli", *words, *shared], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    seconds, server = time.monotonic() - start, server_seconds(store) - before
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != expected:
        raise SystemExit(f"{name} ended with {process.returncode}")
    processor = usage.ru_utime + usage.ru_stime
    measured = Measured(name, count, seconds, processor, server, usage.ru_maxrss / 1024)
    print(measured, flush=True)
    return measured


def server_seconds(store: Store) -> float:
    """Processor time that the server has used."""

    def flow() -> Flow[bytes]:
        (said,) = yield Send((("INFO", "cpu"),))
        return bytes(said)

    lines = store.session.run(flow()).decode().splitlines()
    names = ("used_cpu_sys:", "used_cpu_user:")
    return sum(float(line.partition(":")[2]) for line in lines if line.startswith(names))


def damage(store: Store) -> None:
    """Remove the entries of one view, so that one in four tasks lacks an entry."""
    context = store.session.context
    place = context.keyspace.partition("execution")

    def flow() -> Flow[None]:
        command: Command = ("DEL", place.view("TaskState", "by_status", ("PAUSED",)))
        yield Send((command,))

    store.session.run(flow())


def run(count: int, folder: Path) -> list[Measured]:
    """All commands, on one store."""
    source, copy = folder / "made.ndjson", folder / "copy.ndjson"
    write_file(source, count)
    with Store.open(f"embedded:{folder / 'data'}", namespace="bench", timeout=60) as store:
        url = f"embedded:{folder / 'data'}"
        found = [timed("import", count, ["import", str(source)], url, store)]
        source.unlink()
        found.append(timed("check", count, ["check"], url, store))
        found.append(timed("export", count, ["export", str(copy)], url, store))
        damage(store)
        found.append(timed("check, 1 in 4 damaged", count, ["check"], url, store, 1))
        found.append(timed("reindex, 1 in 4 damaged", count, ["reindex"], url, store))
        found.append(timed("reindex, nothing to do", count, ["reindex"], url, store))
    return found


def main() -> int:
    """Measure, and compare with the targets."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[10_000, 1_000_000])
    failed = False
    for count in parser.parse_args().counts:
        print(f"{count:,} entities", flush=True)
        with tempfile.TemporaryDirectory(prefix="keyweave-bench-") as folder:
            found = run(count, Path(folder))
        check = next(each for each in found if each.command == "check")
        most = max(each.megabytes for each in found)
        limit = CHECK_TARGET * count / 1_000_000
        print(
            f"targets: check in {limit:.1f} s (took {check.seconds:.1f}), {MEMORY_TARGET:.0f} MB (took {most:.0f})"
        )
        failed = failed or most > MEMORY_TARGET or (count >= 1_000_000 and check.seconds > limit)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
