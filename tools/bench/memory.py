"""Bytes per row: of each entity as a whole, and of each document, view, unique constraint and deadline.

The whole is what the server's data grew by; the parts are the sum of MEMORY USAGE over the keys of a kind. The server
is the one under test: `KEYWEAVE_TEST_SERVER=redis8` measures Redis 8.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

from compozy_store import APIKey, Role, Status, User, WorkflowState, sync
from keyweave.effects import Command, Flow, Send
from tests.servers.running import chosen_server, new_namespace, server_url
from tools.bench.core import task, used

PER_RUN = 10
"""Tasks of one execution; half of them are children of the first."""
CHUNK = 200


def send(*commands: Command) -> Flow[list[Any]]:
    """Raw commands in one pipeline."""
    replies: list[Any] = yield Send(commands)
    return replies


def users(tx: sync.Transaction, number: int) -> None:
    """A user."""
    tx.users.create(User(id=f"2user{number:022}", email=f"user{number}@example.org", role=Role.USER))


def keys(tx: sync.Transaction, number: int) -> None:
    """An API key of a user."""
    tx.api_keys.create(
        APIKey(
            id=f"2apikey{number:020}",
            user_id=f"2user{number:022}",
            hash=b"h" * 60,
            fingerprint=number.to_bytes(32, "big"),
            prefix=f"cpk_{number:08}",
        )
    )


def runs(tx: sync.Transaction, number: int) -> None:
    """An execution that has ended, so that it has a deadline; 50 workflows share them."""
    tx.workflow_states.create(
        WorkflowState(
            workflow_exec_id=f"2run{number:023}", workflow_id=f"workflow-{number % 50}", status=Status.SUCCESS
        )
    )


def tasks(tx: sync.Transaction, number: int) -> None:
    """A task that has ended, with a payload of 560 bytes, an agent and an action."""
    run, place = divmod(number, PER_RUN)
    parent = f"2task{run * PER_RUN:022}" if place > PER_RUN // 2 else None
    row = task(f"2task{number:022}", f"2run{run:023}", place, parent)
    row.status = Status.SUCCESS
    tx.task_states.create(row)


def fill(store: sync.Store, rows: int, insert: Callable[[sync.Transaction, int], None]) -> float:
    """Insert rows; bytes that the data grew by, per row."""
    before = used(store)
    for start in range(0, rows, CHUNK):

        def some(tx: sync.Transaction, start: int = start) -> None:
            for number in range(start, min(start + CHUNK, rows)):
                insert(tx, number)

        store.transact(some)
    return (used(store) - before) / rows


def parts(store: sync.Store) -> tuple[Counter[str], Counter[str]]:
    """Bytes and number of keys of every kind of key: `TaskState` (documents), `TaskState.by_status`, `@expiry`."""
    size: Counter[str] = Counter()
    number: Counter[str] = Counter()
    cursor: Any = 0
    pattern = store.session.context.keyspace.pattern()
    while True:
        ((cursor, names),) = store.session.run(send(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)))
        sizes = store.session.run(send(*[("MEMORY", "USAGE", name, "SAMPLES", 0) for name in names] or []))
        for name, each in zip(names, sizes, strict=True):
            kind = name.decode().rpartition("}:")[2].partition(":")[0]
            size[kind] += each
            number[kind] += 1
        if int(cursor) == 0:
            return size, number


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=20_000)
    rows = parser.parse_args().rows
    with sync.Store.open(server_url(), namespace=new_namespace("memory")) as store:
        counts = {
            "User": rows // 10,
            "APIKey": rows // 10,
            "WorkflowState": rows // PER_RUN,
            "TaskState": rows,
        }
        fillers = {"User": users, "APIKey": keys, "WorkflowState": runs, "TaskState": tasks}
        whole = {name: fill(store, counts[name], fillers[name]) for name in fillers}
        size, number = parts(store)
        (info,) = store.session.run(send(("INFO", "server")))
    reported = dict(line.split(":", 1) for line in info.decode().splitlines() if ":" in line)
    version = reported.get("valkey_version") or reported["redis_version"]
    print(f"{chosen_server()}, version {version}; bytes per row\n")
    kinds: dict[str, list[str]] = defaultdict(list)
    for kind in sorted(size):
        kinds[kind.partition(".")[0]].append(kind)
    for entity, total in whole.items():
        print(f"| {entity} | {counts[entity]} rows | {total:.0f} |")
        for kind in kinds[entity]:
            print(f"| {kind} | {number[kind]} keys | {size[kind] / counts[entity]:.0f} |")
    ended = counts["WorkflowState"] + counts["TaskState"]
    print(f"| @expiry | {number['@expiry']} keys | {size['@expiry'] / ended:.0f} |")


if __name__ == "__main__":
    main()
