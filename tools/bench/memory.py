"""Bytes per row: of each entity as a whole, of each document, view, unique constraint and deadline, and of PostgreSQL's tables.

The same rows lie in Valkey, in Redis 8 and in PostgreSQL. The whole is what a server's data grew by; the parts are the sum of
MEMORY USAGE over the keys of a kind. PostgreSQL's bytes are those of its files after `vacuum`.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from compozy_store import APIKey, Role, Status, TaskState, User, WorkflowState, sync
from keyweave.effects import Command, Flow, Send
from tests.oracle.engine import PostgresEngine
from tests.oracle.rows import json_by
from tests.oracle.server import running as running_postgres
from tests.servers.running import new_namespace, running_redis8
from tools.bench.core import task, used
from tools.bench.loading import copy_records
from tools.bench.sections import table

PER_RUN: Final = 10
"""Tasks of one execution; half of them are children of the first."""
CHUNK: Final = 200

TABLES: Final = {
    "User": "users",
    "APIKey": "api_keys",
    "WorkflowState": "workflow_states",
    "TaskState": "task_states",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """One server of ours.

    Attributes:
        name: and version.
        whole: bytes a row, by entity.
        size, number: bytes and number of all keys of a kind: `TaskState` (documents), `TaskState.by_status`, `@expiry`.
    """

    name: str
    whole: Mapping[str, float]
    size: Counter[str]
    number: Counter[str]


@dataclass(frozen=True, slots=True)
class Tables:
    """PostgreSQL: bytes a row of tables, values out of line included, and of indexes, by entity."""

    name: str
    rows: Mapping[str, float]
    indexes: Mapping[str, float]


def send(*commands: Command) -> Flow[list[Any]]:
    """Raw commands in one pipeline."""
    replies: list[Any] = yield Send(commands)
    return replies


def user(number: int) -> User:
    """A user."""
    return User(id=f"2user{number:022}", email=f"user{number}@example.org", role=Role.USER)


def key(number: int) -> APIKey:
    """An API key of a user."""
    return APIKey(
        id=f"2apikey{number:020}",
        user_id=f"2user{number:022}",
        hash=b"h" * 60,
        fingerprint=number.to_bytes(32, "big"),
        prefix=f"cpk_{number:08}",
    )


def run(number: int) -> WorkflowState:
    """An execution that has ended, so that it has a deadline; 50 workflows share them."""
    return WorkflowState(
        workflow_exec_id=f"2run{number:023}", workflow_id=f"workflow-{number % 50}", status=Status.SUCCESS
    )


def ended_task(number: int) -> TaskState:
    """A task that has ended, with a payload of 560 bytes, an agent and an action."""
    run, place = divmod(number, PER_RUN)
    parent = f"2task{run * PER_RUN:022}" if place > PER_RUN // 2 else None
    row = task(f"2task{number:022}", f"2run{run:023}", place, parent)
    row.status = Status.SUCCESS
    return row


MAKERS: Final[Mapping[str, Callable[[int], Any]]] = {
    "User": user,
    "APIKey": key,
    "WorkflowState": run,
    "TaskState": ended_task,
}


def amounts(tasks: int) -> dict[str, int]:
    """The number of rows of each entity beside a number of tasks."""
    few = tasks // 10
    return {"User": few, "APIKey": few, "WorkflowState": tasks // PER_RUN, "TaskState": tasks}


def measure(url: str, tasks: int) -> Measured:
    """Fill a namespace of a server, and measure it."""
    with sync.Store.open(url, namespace=new_namespace("memory")) as store:
        whole = {name: _fill(store, name, number) for name, number in amounts(tasks).items()}
        size, number = parts(store)
        (info,) = store.session.run(send(("INFO", "server")))
    reported = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    valkey = reported.get("valkey_version")
    name = f"Valkey {valkey}" if valkey else f"Redis {reported['redis_version']}"
    return Measured(name, whole, size, number)


def _fill(store: sync.Store, name: str, rows: int) -> float:
    """Insert rows of an entity; bytes that the data grew by, per row."""
    repositories = {
        "User": lambda tx: tx.users,
        "APIKey": lambda tx: tx.api_keys,
        "WorkflowState": lambda tx: tx.workflow_states,
        "TaskState": lambda tx: tx.task_states,
    }
    before = used(store)
    for start in range(0, rows, CHUNK):

        def some(tx: sync.Transaction, start: int = start) -> None:
            for number in range(start, min(start + CHUNK, rows)):
                repositories[name](tx).create(MAKERS[name](number))

        store.transact(some)
    return (used(store) - before) / rows


def parts(store: sync.Store) -> tuple[Counter[str], Counter[str]]:
    """Bytes and number of keys of every kind of key."""
    size: Counter[str] = Counter()
    number: Counter[str] = Counter()
    cursor: Any = 0
    seen: set[bytes] = set()
    pattern = store.session.context.keyspace.pattern()
    while True:
        ((cursor, names),) = store.session.run(send(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)))
        names = list(set(names) - seen)  # SCAN may return a key twice
        seen.update(names)
        sizes = store.session.run(send(*[("MEMORY", "USAGE", name, "SAMPLES", 0) for name in names] or []))
        for name, each in zip(names, sizes, strict=True):
            kind = name.decode().rpartition("}:")[2].partition(":")[0]
            size[kind] += each
            number[kind] += 1
        if int(cursor) == 0:
            return size, number


async def measure_postgres(dsn: str, tasks: int) -> Tables:
    """Fill the tables of a database that has none, and measure their files."""
    with json_by(lambda value: msgspec.json.encode(value).decode(), msgspec.json.decode):
        async with PostgresEngine.open(dsn) as engine, engine.pool.acquire() as connection:
            rows, indexes = {}, {}
            for name, number in amounts(tasks).items():
                await copy_records(connection, TABLES[name], [MAKERS[name](each) for each in range(number)])
            await connection.execute("vacuum analyze")
            for name, number in amounts(tasks).items():
                rows[name] = (
                    await connection.fetchval("select pg_table_size($1::regclass)", TABLES[name]) / number
                )
                indexes[name] = (
                    await connection.fetchval("select pg_indexes_size($1::regclass)", TABLES[name]) / number
                )
            version = await connection.fetchval("show server_version")
    return Tables(f"PostgreSQL {version}", rows, indexes)


def report(servers: Sequence[Measured], postgres: Tables, tasks: int) -> Iterator[str]:
    """Two tables: whole rows on every server, and the parts of a row on ours."""
    numbers = amounts(tasks)
    names = [server.name for server in servers]
    yield from table(
        ("bytes per row", "rows", *names, postgres.name, "of it tables", "of it indexes"),
        [
            (
                name,
                f"{number:,}",
                *(f"{server.whole[name]:.0f}" for server in servers),
                f"{postgres.rows[name] + postgres.indexes[name]:.0f}",
                f"{postgres.rows[name]:.0f}",
                f"{postgres.indexes[name]:.0f}",
            )
            for name, number in numbers.items()
        ],
    )
    kinds = sorted({kind for server in servers for kind in server.size if kind.partition(".")[0] in numbers})
    rows = [
        (
            kind,
            f"{servers[0].number[kind]:,}",
            *(f"{server.size[kind] / numbers[kind.partition('.')[0]]:.0f}" for server in servers),
        )
        for kind in kinds
    ]
    ended = numbers["WorkflowState"] + numbers["TaskState"]
    rows.append(
        (
            "@expiry",
            f"{servers[0].number['@expiry']:,}",
            *(f"{server.size['@expiry'] / ended:.0f}" for server in servers),
        )
    )
    yield from table(("bytes per row", "keys", *names), rows)


def main() -> None:
    """Measure, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000, help="Tasks; the others are a tenth of them.")
    tasks = parser.parse_args().rows
    servers = [measure("embedded:", tasks)]
    with running_redis8() as url:
        servers.append(measure(url, tasks))
    with running_postgres() as dsn:
        postgres = asyncio.run(measure_postgres(dsn, tasks))
    print("\n".join(report(servers, postgres, tasks)))


if __name__ == "__main__":
    main()
