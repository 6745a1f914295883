"""Tenants are spread over the masters of a cluster by the slots of their hash tags."""

from __future__ import annotations

from collections import Counter

import pytest

from compozy_store.package import PACKAGE
from keyweave.connection.redis_py.cluster.route import SLOTS, slot_of_tag
from keyweave.keyspace.keys import Keyspace, Namespace

MASTERS = 3
NAMES = ["tenant-{}", "{}", "customer:{}", "0190c2a4-{:04d}-7000-8000-000000000000"]


def slots(name: str, tenants: int) -> Counter[int]:
    """How many groups of so many tenants are in each slot."""
    app, version, environment, _ = PACKAGE.namespace
    count: Counter[int] = Counter()
    for number in range(tenants):
        keyspace = Keyspace(Namespace(app, version, environment, name.format(number)), PACKAGE.groups)
        count.update(slot_of_tag(partition.tag[:-1]) for partition in keyspace.partitions())
    return count


@pytest.mark.parametrize("name", NAMES)
def test_a_thousand_tenants_are_spread_over_three_masters(name: str) -> None:
    """Each master has a third of the groups, give or take 20 percent."""
    masters: Counter[int] = Counter()
    for slot, groups in slots(name, 1000).items():
        masters[slot * MASTERS // SLOTS] += groups
    third = masters.total() / MASTERS
    assert all(0.8 * third <= masters[master] <= 1.2 * third for master in range(MASTERS)), masters


@pytest.mark.parametrize("name", NAMES)
def test_few_tenants_share_no_slots(name: str) -> None:
    """So the masters can be balanced: each group moves by itself."""
    found = slots(name, 64)
    assert len(found) >= 0.96 * found.total()
