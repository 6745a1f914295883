"""A group with one partition stores, byte for byte, what it stored before a group could have several.

The recorded keyspace is that of commit ccb5345d, the last one before there were partitions: there this test made it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

from keyweave.effects import Effect
from keyweave.exchange.handshake import handshake
from keyweave.expiry.sweep import sweep
from keyweave.read.lock import get_for_update
from keyweave.store.context import Context
from keyweave.write.delete import delete
from keyweave.write.delete_many import delete_many
from keyweave.write.many import create_many, upsert_many
from keyweave.write.save import change, create, save, upsert
from keyweave.write.transact import transact
from tools.simulate.clients.arena import arena, kind
from tools.simulate.run import Run
from tools.simulate.scenario import scenario
from tools.simulate.seams import Seams
from tools.simulate.server.database import Database
from tools.simulate.server.sorted_set import SortedSet

_NUMBERS = re.compile(r"""(?<="op":")[0-9a-f]{6}|(?<=b')\d+(?= OK)""")

RECORDED = Path(__file__).parent / "one_partition.txt"


def dump(database: Database) -> str:
    """Every key with its type, its value and its native deadline, a line for each.

    Plans are numbered by their client, also those that it does not send, so their numbers are left out.
    """
    lines = []
    for key, value in sorted(database.values.items()):
        held: Any = value
        kind = "string"
        if isinstance(value, SortedSet):
            kind, held = "sorted set", sorted(value.scores.items())
        elif isinstance(value, dict):
            kind, held = "hash", sorted(value.items())
        lines.append(f"{key!r} {kind} {held!r} {database.deadlines.get(key)}\n")
    return _NUMBERS.sub("", "".join(lines))


def record_a_run() -> str:
    """Open a namespace, write, change and delete rows of several entities in one group, and return every key."""
    run = Run(scenario(0), arena())

    def close(record: Any) -> None:
        record.state = "closed"

    with Seams(0, run):
        context = run.outside()
        run.direct(handshake(context))
        for key, code in (("i0", "red"), ("i:1", None), ("i%2", "blue")):
            item = kind("Item").record(id=key, token="x", code=code, state="open")
            run.direct(create(context, kind("Item"), item))
            run.timeline.now += 1000
        run.direct(upsert(context, kind("Box"), kind("Box").record(id="b0", token="y")))
        run.direct(change(context, kind("Item"), "i0", close))
        ticket = kind("Ticket").record(id="t0", token="z", code="red", state="open")
        run.direct(create(context, kind("Ticket"), ticket))
        run.direct(change(context, kind("Ticket"), "t0", close))
        run.direct(delete(context, kind("Item"), "i%2"))
        _write_more(run, context)
    return dump(run.node.database)


def _write_more(run: Run, context: Context) -> None:
    """Bulk writes, a transaction, a delete with a cascade, rows that end, and a sweep."""
    items = [
        kind("Item").record(id=f"m{number}", token="m", code=f"m{number}", state="open")
        for number in range(5)
    ]
    run.direct(create_many(context, kind("Item"), items))
    for item in items[1:3]:
        item.state = "closed"
    run.direct(
        upsert_many(
            context, kind("Item"), [*items[1:3], kind("Item").record(id="u", token="u", state="open")]
        )
    )
    run.direct(delete_many(context, kind("Item"), ["m3", "nobody"]))
    run.direct(create(context, kind("Counter"), kind("Counter").record(id="c0")))
    run.direct(create(context, kind("Account"), kind("Account").record(id="a0", balance=5)))

    def withdraw(tx: Context) -> Generator[Effect, Any, None]:
        account = yield from get_for_update(tx, kind("Account"), "a0")
        account.balance -= 2
        yield from save(tx, kind("Account"), account)
        yield from create(tx, kind("Item"), kind("Item").record(id="tx", token="t", code="tx", state="open"))

    run.direct(transact(context, lambda tx: tx, lambda tx: run.direct(withdraw(tx))))
    for box in ("b1", "b2"):
        run.direct(create(context, kind("Box"), kind("Box").record(id=box, token="b")))
        run.direct(create(context, kind("Part"), kind("Part").record(id=f"p{box}", token="p", box_id=box)))
    run.direct(delete(context, kind("Box"), "b1"))
    for number, state in enumerate(("closed", "open")):
        ticket = kind("Ticket").record(id=f"e{number}", token="e", code=f"e{number}", state=state)
        run.direct(create(context, kind("Ticket"), ticket))
    run.timeline.now += 2_000_000
    assert run.direct(sweep(context)) == 2


def test_every_key_and_value_of_a_recorded_run_is_the_same() -> None:
    made = record_a_run()
    if os.environ.get("KEYWEAVE_UPDATE_GOLDENS"):
        RECORDED.write_text(made, encoding="utf-8")
    assert made == RECORDED.read_text(encoding="utf-8")
