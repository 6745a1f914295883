"""Tenants are spread over the masters of a cluster by the slots of their hash tags."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from compozy_store.package import PACKAGE
from keyweave.connection.redis_py.cluster.route import SLOTS, slot_of_tag
from keyweave.keyspace.keys import Keyspace, Namespace

MASTERS = 3
PAGE = Path(__file__).resolve().parents[2] / "docs" / "topologies.md"


def digest(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


NAMES: dict[str, Callable[[int], str]] = {
    "`tenant-0`, `tenant-1`, …": lambda number: f"tenant-{number}",
    "`tenant-01`, `tenant-02`, …": lambda number: f"tenant-{number + 1:02}",
    "`0`, `1`, …": str,
    "`customer:0`, `customer:1`, …": lambda number: f"customer:{number}",
    "`0190c2a4-0000-7000-8000-…`, `0190c2a4-0001-7000-8000-…`, …": (
        lambda number: f"0190c2a4-{number:04d}-7000-8000-000000000000"
    ),
    "16 hexadecimal digits of a hash": lambda number: digest(number)[:16],
    "6 such digits before a name: `5feceb-tenant-0`, …": lambda number: f"{digest(number)[:6]}-tenant-{number}",
}


def slots(name: Callable[[int], str], tenants: int) -> Counter[int]:
    """How many groups of so many tenants are in each slot."""
    app, version, environment, _ = PACKAGE.namespace
    count: Counter[int] = Counter()
    for number in range(tenants):
        keyspace = Keyspace(Namespace(app, version, environment, name(number)), PACKAGE.groups)
        count.update(slot_of_tag(partition.tag[:-1]) for partition in keyspace.partitions())
    return count


def shares(name: Callable[[int], str], tenants: int) -> list[float]:
    """The share of each master in all groups, smallest first."""
    masters: Counter[int] = Counter()
    for slot, groups in slots(name, tenants).items():
        masters[slot * MASTERS // SLOTS] += groups
    return sorted(masters[master] / masters.total() for master in range(MASTERS))


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_tenants_are_spread_over_three_masters(name: str) -> None:
    """Each master has a third of the groups, give or take 10 percent."""
    least, *_, most = shares(NAMES[name], 1000)
    assert 0.9 / MASTERS <= least <= most <= 1.1 / MASTERS


@pytest.mark.parametrize("name", NAMES)
def test_few_tenants_share_no_slots(name: str) -> None:
    """So the masters can be balanced: each group moves by itself."""
    found = slots(NAMES[name], 64)
    assert len(found) >= 0.96 * found.total()


def test_the_page_has_these_figures() -> None:
    """The smallest and the largest share of a master, and how many groups of a pattern have to move."""
    text = PAGE.read_text(encoding="utf-8")
    groups = 64 * len(PACKAGE.groups)
    surplus = (shares(NAMES["`tenant-0`, `tenant-1`, …"], 64)[-1] - 1 / MASTERS) * groups
    assert f"{surplus:.0f} of {groups} groups" in text
    rows = [
        f"| {title} | {' | '.join(_figures(name, tenants) for tenants in (64, 256, 1000))} |"
        for title, name in NAMES.items()
    ]
    shown = re.findall(r"^\| .* \| \d+ to \d+ % \| .* \|$", text, re.MULTILINE)
    assert shown == rows


def _figures(name: Callable[[int], str], tenants: int) -> str:
    least, *_, most = shares(name, tenants)
    return f"{100 * least:.0f} to {100 * most:.0f} %"
