"""Random combinations of damages, and a monkey with redis-cli: named, repaired as far as possible, and no data lost."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from keyweave.effects import Command
from keyweave.errors import KeyweaveError
from tests.integrity.damage import NotSoAnyMoreError, Outcome
from tests.integrity.damages import DAMAGES
from tests.integrity.site import Site, healthy

COMBINATIONS = 24
MONKEYS = 32


def repair(site: Site) -> None:
    """Repair, and make sure of what holds after any damage."""
    damaged, data = site.contents(), site.data()
    planned = site.reindex(dry_run=True)
    assert site.contents() == damaged
    repairs = site.reindex()
    assert not repairs.postponed
    assert site.data() >= data
    assert bool(planned.mended or planned.left) == bool(repairs.mended or repairs.left)
    report, _ = site.check()
    assert report.drift == repairs.left
    again = site.reindex()
    assert (again.mended.total(), again.left) == (0, repairs.left)


@pytest.mark.parametrize("seed", range(COMBINATIONS))
def test_damages_together(seed: int) -> None:
    damage_together(seed)


@pytest.mark.parametrize("seed", range(MONKEYS))
def test_a_monkey_with_redis_cli(seed: int) -> None:
    let_a_monkey_in(seed)


def damage_together(seed: int) -> None:
    """Damages of the list, one after the other; every second time only such as can be undone."""
    chance = random.Random(seed)
    derived_only = seed % 2 == 0
    choices = [each for each in DAMAGES if not derived_only or each.outcome is Outcome.RESTORED]
    with healthy("together") as site:
        before = site.contents()
        for damage in chance.sample(choices, chance.randint(2, 8)):
            try:
                damage.do(site)
            except (NotSoAnyMoreError, KeyweaveError):
                continue
        assert site.contents() == before or not site.check()[0].clean
        repair(site)
        if derived_only:
            assert site.contents() == before


def commands_on(site: Site, chance: random.Random) -> list[Callable[[str], Command]]:
    """Commands that can damage a key."""
    names = [name for name in site.names() if not name.endswith("@schema")]
    ids = ["u1", "u2", "t1", "t2", "d1", "root", "w", "v", "ghost", "TaskState:t1", "TaskState:d1", "Odd:1"]

    def other() -> str:
        return chance.choice([*names, chance.choice(names) + chance.choice([":x", "%", "x", ""])])

    return [
        lambda key: ("DEL", key),
        lambda key: ("RENAME", key, other()),
        lambda key: ("COPY", key, other(), "REPLACE"),
        lambda key: ("SET", key, chance.choice(["", "5", "{}", "\n", "{" * 200])),
        lambda key: ("APPEND", key, chance.choice(["}", " ", "\0"])),
        lambda key: ("SETRANGE", key, chance.randint(0, 90), chance.choice(["7", '"', "x"])),
        lambda key: ("EXPIRE", key, 500),
        lambda key: ("PERSIST", key),
        lambda key: (
            "ZADD",
            key,
            chance.choice(["1", "1790000000000000", "-inf", "0.5"]),
            chance.choice(ids),
        ),
        lambda key: ("ZREM", key, chance.choice(ids)),
        lambda key: ("ZPOPMIN", key, 2),
        lambda key: ("ZINCRBY", key, 3, chance.choice(ids)),
        lambda key: ("HSET", key, chance.choice(["u1@x", "u2@x", "p1", "\0"]), chance.choice(ids)),
        lambda key: ("HDEL", key, chance.choice(["u1@x", "u2@x", "p1"])),
        lambda key: ("LPUSH", key, "x"),
        lambda key: ("SADD", key, "x"),
    ]


def let_a_monkey_in(seed: int) -> None:
    """Any command on any key."""
    chance = random.Random(seed)
    with healthy("monkey") as site:
        before = site.contents()
        for _ in range(chance.randint(1, 12)):
            act = chance.choice(commands_on(site, chance))
            site.send(act(chance.choice([name for name in site.names() if not name.endswith("@schema")])))
        assert site.contents() == before or not site.check()[0].clean
        repair(site)
