"""A group with one partition stores, byte for byte, what it stored before a group could have several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from keyweave.exchange.handshake import handshake
from keyweave.write.delete import delete
from keyweave.write.save import change, create, upsert
from tools.simulate.clients.arena import arena, kind
from tools.simulate.run import Run
from tools.simulate.scenario import scenario
from tools.simulate.seams import Seams
from tools.simulate.server.sorted_set import SortedSet

RECORDED = Path(__file__).parent / "one_partition.txt"


def dump(values: dict[bytes, Any]) -> str:
    """Every key with its value, a line for each."""
    lines = []
    for key, value in sorted(values.items()):
        held = sorted(value.scores.items()) if isinstance(value, SortedSet) else value
        held = sorted(held.items()) if isinstance(held, dict) else held
        lines.append(f"{key!r} {held!r}\n")
    return "".join(lines)


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
    return dump(run.node.database.values)


def test_every_key_and_value_of_a_recorded_run_is_the_same() -> None:
    made = record_a_run()
    if os.environ.get("KEYWEAVE_UPDATE_GOLDENS"):
        RECORDED.write_text(made, encoding="utf-8")
    assert made == RECORDED.read_text(encoding="utf-8")
