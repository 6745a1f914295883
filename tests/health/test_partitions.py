"""What an examination says of a group with several partitions: rows, due rows and homes of each, and whether they are uneven."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from keyweave.admin.doctor import page
from keyweave.admin.probe import as_json, lines
from keyweave.effects import Send, ServerError
from keyweave.health.diagnose import diagnose
from keyweave.health.examine import examine
from keyweave.health.limits import Limits
from keyweave.health.report import Health, PartitionFacts, Severity
from keyweave.model.ids import ksuid
from tests.partitioned.estate import Estate, estate, opened
from tests.waiting import wait_until

ACCOUNTS = [f"a{number}" for number in range(12)]


@pytest.fixture
def full() -> Iterator[Estate]:
    with opened(ksuid(), retention={"Deal": timedelta(microseconds=1)}) as world:
        for name in ACCOUNTS:
            world.account(name)
            world.store.deals.create(world.deal(f"{name}.open", name, code=f"c{name}"))
        world.store.deals.create(world.deal("over", "a1", state=estate().State.CLOSED))
        # What is due is counted by an estimate of the server's time.
        wait_until(lambda: sum(each.due or 0 for each in examined(world).partitions) == 1)
        yield world


def examined(world: Estate) -> Health:
    found: Health = world.store.health()
    return found


def test_rows_due_rows_and_homes_are_counted_by_partition(full: Estate) -> None:
    health = examined(full)
    assert [(each.group, each.number) for each in health.partitions] == [("deals", each) for each in range(8)]
    expected: Counter[int] = Counter()
    for name in ACCOUNTS:
        expected[full.partition(name).index] += 2
    expected[full.partition("a1").index] += 1
    assert {each.number: each.rows for each in health.partitions if each.rows} == expected
    assert {each.number: each.due for each in health.partitions if each.due} == {
        full.partition("a1").index: 1
    }
    homes = Counter(
        full.context.keyspace.partition("deals", value).index
        for value in (
            "over",
            *[f"{name}.open" for name in ACCOUNTS],
            *[f"c{name}" for name in ACCOUNTS],
            *[f"{name}@x" for name in ACCOUNTS],
        )
    )
    assert {each.number: each.homes for each in health.partitions if each.homes} == homes


def test_programs_get_every_partition_and_people_a_line(full: Estate) -> None:
    health = examined(full)
    shape = json.loads(json.dumps(as_json(health)))
    assert len(shape["partitions"]) == 8
    assert shape["partitions"][0].keys() == {"group", "number", "rows", "due", "homes"}
    (line,) = [line for line in lines(health) if line.startswith("  partitions")]
    most, least = (pick(health.partitions, key=lambda each: each.rows or 0) for pick in (max, min))
    assert f"8 of deals, 25 rows, {least.rows} in " in line
    assert f" to {most.rows} in " in line
    assert line.endswith(f", 1 due, most in {full.partition('a1').index}, 37 homes")
    printed = [str(part) for part in page(health).renderables]  # type: ignore[union-attr]
    assert any(part.startswith("partitions: 8 of deals, 25 rows") for part in printed)


def test_a_group_with_one_partition_says_and_asks_what_it_always_did() -> None:
    with opened(ksuid(), partitions={"deals": 1}) as world:
        health = examined(world)
        commands = asked(world)
    assert health.partitions == ()
    assert "partitions" not in as_json(health)
    assert not any("partitions" in line for line in lines(health))
    assert {command[0] for command in commands} <= {
        "PING",
        "TIME",
        "INFO",
        "EVAL",
        "CONFIG",
        "ZRANGE",
        "HGET",
        "EXISTS",
    }


def asked(world: Estate) -> list[Any]:
    """The commands of the first exchange of an examination."""
    effect = next(examine(world.context))
    assert isinstance(effect, Send)
    return list(effect.commands)


def test_all_of_it_takes_the_same_exchange(full: Estate) -> None:
    commands = asked(full)
    assert [command[0] for command in commands].count("ZCOUNT") == 8
    assert {"ZCARD", "HLEN"} <= {command[0] for command in commands}


def test_what_the_user_may_not_read_is_unknown(full: Estate) -> None:
    flow = examine(full.context)
    effect = next(flow)
    assert isinstance(effect, Send)
    replies = full.store._session.shell.channel.exchange(effect.commands)
    refused = ServerError("NOPERM this user has no permissions to run the 'hlen' command")
    answers = [
        refused if command[0] in ("HLEN", "ZCARD") else reply
        for command, reply in zip(effect.commands, replies, strict=True)
    ]
    try:
        while True:
            effect = flow.send(answers)
            answers = full.store._session.shell.channel.exchange(effect.commands)  # type: ignore[union-attr]
    except StopIteration as stop:
        health = stop.value
    assert {(each.rows, each.homes) for each in health.partitions} == {(None, None)}
    assert sum(each.due for each in health.partitions) == 1
    (line,) = [line for line in lines(health) if line.startswith("  partitions")]
    assert line.split(None, 1)[1] == f"8 of deals, 1 due, most in {full.partition('a1').index}"


def holding(health: Health, *rows: int | None) -> Health:
    facts = [
        PartitionFacts(group="deals", number=number, rows=each, due=0, homes=0)
        for number, each in enumerate(rows)
    ]
    return msgspec.structs.replace(health, partitions=tuple(facts))


@pytest.mark.parametrize(
    ("rows", "uneven"),
    [
        ((100_000, 0), True),
        ((99_999, 0), False),
        ((500_000, 100_000, 100_000, 100_000), True),
        ((300_000, 200_000, 250_000, 250_000), False),
        ((0, 0), False),
        ((None, None), False),
        ((1_000_000, *[450_000] * 15), True),
    ],
)
def test_partitions_that_are_badly_uneven_are_a_finding(
    full: Estate, rows: tuple[int | None, ...], uneven: bool
) -> None:
    found = [
        each for each in diagnose(holding(examined(full), *rows), Limits()) if each.id == "partitions-uneven"
    ]
    assert len(found) == uneven
    if found:
        assert found[0].severity is Severity.NOTICE
        assert found[0].what.startswith(f"Partition 0 of deals has {rows[0]:,} rows, ")
