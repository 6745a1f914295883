"""What an index entry costs, measured on a server of choice: the constants of `keyweave_generator.costs`.

    python -m tools.bench.costs [rows]

Bytes are differences of `used_memory`; microseconds are processor time of the server, taken from `INFO cpu`, so
that other programs on the machine do not count. Each figure is a median of differences between two packages that are
generated on the spot and differ by ten indexes only.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from keyweave.connection.settings import parse_url
from keyweave.sync.shell import Shell
from keyweave_generator.load import load_sources
from keyweave_generator.render import render
from tests.servers.running import server_url

ROWS = 20_000
WRITES = 2_000
INDEXES = 10
ROUNDS = 5
KINDS = {
    "none": "",
    "large": "views: {%s}",
    "small": "views: {%s}",
    "alone": "views: {%s}",
    "revision": "views: {%s}",
    "text": "views: {%s}",
    "claim": "unique: {%s}",
}
FIELDS = {"large": "one", "small": "family", "alone": "own", "revision": "one", "claim": "own"}


def sources(kind: str) -> dict[str, str]:
    """A package whose only entity has ten indexes of one kind; no two indexes may be the same, so each has its field."""
    fields = "\n".join(f"  f{number}: {{type: string}}" for number in range(INDEXES))
    order = "revision" if kind == "revision" else "created"
    tail = "}" if kind == "claim" else f", order: {order}, why: measured}}"
    indexes = ", ".join(f"i{number}: {{fields: [f{number}]{tail}" for number in range(INDEXES))
    if kind == "text":
        indexes = ", ".join(
            f"i{number}: {{fields: [], order: f{number}, why: measured}}" for number in range(INDEXES)
        )
    return {
        "package.yaml": f"package: cost_{kind}\nnamespace: {{app: cost, version: v1, environment: dev, tenant: {kind}}}\n"
        "groups: {all: {}}\n",
        "row.yaml": f"entity: Row\ngroup: all\nkey: id\nfields:\n  id: {{type: id}}\n{fields}\n"
        + (KINDS[kind] % indexes if kind != "none" else ""),
    }


def values(kind: str, number: int) -> dict[str, str]:
    """The fields of a row: one value for all rows, one per family of ten, or one per row."""
    shared = {"large": "all", "none": "all", "revision": "all", "small": f"family-{number // 10:08}"}
    value = shared.get(kind, f"value-{number:010}")
    return {f"f{each}": value for each in range(INDEXES)}


def server(client: Any) -> tuple[int, float]:
    """Bytes in use, and microseconds of processor time used so far."""
    cpu = client.info("cpu")
    return client.info("memory")["used_memory"], 1e6 * (cpu["used_cpu_user"] + cpu["used_cpu_sys"])


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[tuple[Any, Any]]:
    """The generated package of a kind, and a store of its own."""
    for path, text in render(load_sources(sources(kind))).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    package = importlib.import_module(f"cost_{kind}")
    with importlib.import_module(f"cost_{kind}.sync").Store.open(server_url()) as store:
        yield package, store


def bytes_per_row(kind: str, like: str, rows: int, folder: Path, client: Any) -> float:
    """Bytes that one row takes with the indexes of `kind` and the values of `like`."""
    client.flushall()
    with opened(kind, folder) as (package, store):
        store.rows.create(package.Row(id="warm", **values(like, rows)))
        before, _ = server(client)
        for number in range(rows):
            store.rows.create(package.Row(id=f"2abcdefghijklmnopq{number:09}", **values(like, number)))
        after, _ = server(client)
    return (after - before) / rows


def micros_per_write(kind: str, like: str, folder: Path, client: Any) -> tuple[float, float]:
    """Processor time of the server for one insert, and for one save that changes no indexed field but the revision."""
    with opened(kind, folder) as (package, store):
        client.flushall()
        rows = [
            package.Row(id=f"2abcdefghijklmnopq{each:09}", **values(like, each)) for each in range(WRITES)
        ]
        _, start = server(client)
        for row in rows:
            store.rows.create(row)
        _, middle = server(client)
        for row in rows:
            store.rows.save(row)
        _, end = server(client)
    return (middle - start) / WRITES, (end - middle) / WRITES


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    shell = Shell(parse_url(server_url()))  # keeps an embedded server alive between the stores
    settings = shell.settings
    client: Any = (
        redis.Redis(unix_socket_path=settings.path) if settings.path else redis.Redis.from_url(server_url())
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sys.path.insert(0, name)
        for kind in ("large", "small", "alone", "text", "claim"):
            with_indexes = bytes_per_row(kind, kind, rows, folder, client)
            without = bytes_per_row("none", kind, rows, folder, client)
            print(f"{kind}: {(with_indexes - without) / INDEXES:.0f} bytes per entry")
        for kind in ("large", "small", "revision", "text", "claim"):
            inserts, saves = [], []
            for _ in range(ROUNDS):
                insert, save = micros_per_write(kind, kind, folder, client)
                bare_insert, bare_save = micros_per_write("none", kind, folder, client)
                inserts.append((insert - bare_insert) / INDEXES)
                saves.append((save - bare_save) / INDEXES)
            print(
                f"{kind}: {statistics.median(inserts):.2f} µs per entry and insert, "
                f"{statistics.median(saves):.2f} µs per entry and save"
            )
        client.flushall()
    shell.close()


if __name__ == "__main__":
    main()
