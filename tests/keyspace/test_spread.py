"""Partitions are spread evenly over slots, and neither their tags nor their values depend on how many there are."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from keyweave.keyspace.keys import Keyspace, Namespace
from keyweave.keyspace.spread import (
    MOST_PARTITIONS,
    SLOTS,
    STRETCH,
    bit_reversed,
    index_of,
    is_number_of_partitions,
    slot_of,
    stretch_of,
    tag_of,
)

TENANT = Namespace("compozy", "v1", "dev", "default")
POWERS = [1 << power for power in range(11)]
PART = st.text(alphabet=st.sampled_from(list("a:%{}.\N{SNOWMAN}")), min_size=1, max_size=5)

INDEXES = {
    "": 740,
    "a": 64,
    "exec-1": 598,
    "Ünï": 245,
    "2NxKb1YbSvDuPqpRWoOLCGbLb9E": 317,
    "0190c2a4-0000-7000-8000-000000000000": 769,
}
"""The partitions of values among 1,024. They are stored: another value here loses rows."""

TAGS = {
    0: "a:v:e:t:g:0",
    1: "a:v:e:t:g:1.16",
    2: "a:v:e:t:g:2.233",
    3: "a:v:e:t:g:3.1124",
    512: "a:v:e:t:g:512.176",
    1023: "a:v:e:t:g:1023.523",
}
"""Tags of partitions of one namespace. They begin every stored key."""


def slots(keyspace: Keyspace) -> list[int]:
    return [slot_of(partition.tag[1:-2].encode()) for partition in keyspace.partitions()]


@pytest.mark.parametrize("value", INDEXES)
def test_the_partition_of_a_value_never_changes(value: str) -> None:
    assert index_of(value, MOST_PARTITIONS) == INDEXES[value]


@pytest.mark.parametrize("index", TAGS)
def test_the_tag_of_a_partition_never_changes(index: int) -> None:
    assert tag_of("a:v:e:t", "g", index) == TAGS[index]


def test_the_partition_of_a_value_is_the_same_in_another_process() -> None:
    program = "from keyweave.keyspace.spread import index_of; print(index_of('exec-1', 1024))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) == INDEXES["exec-1"]


@given(st.text(), st.sampled_from(POWERS[:-1]))
def test_doubling_leaves_a_value_where_it_is_or_moves_it_to_the_new_twin(value: str, number: int) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        return
    assert index_of(value, 2 * number) in (index_of(value, number), index_of(value, number) + number)


def test_values_are_spread_evenly() -> None:
    """10,000 values on 16 partitions: each has its share, give or take 15 percent."""
    shares = Counter(index_of(f"exec-{number}", 16) for number in range(10_000))
    assert len(shares) == 16
    assert all(abs(share - 625) < 0.15 * 625 for share in shares.values())


@given(PART, PART, st.integers(1, MOST_PARTITIONS - 1))
def test_the_salt_is_the_smallest_that_reaches_the_stretch(tenant: str, group: str, index: int) -> None:
    prefix = Namespace("a", "v", "e", tenant).prefix()
    first = slot_of(f"{prefix}:{group}:0".encode())
    start = stretch_of(first, index)
    unsalted, _, salt = tag_of(prefix, group, index).rpartition(".")
    assert unsalted == f"{prefix}:{group}:{index}"

    def reaches(number: int) -> bool:
        return (slot_of(f"{unsalted}.{number}".encode()) - start) % SLOTS < STRETCH

    assert reaches(int(salt))
    assert not any(reaches(number) for number in range(int(salt)))


@given(st.binary(max_size=60).filter(lambda text: b"{" not in text and b"}" not in text))
def test_a_slot_is_what_a_cluster_takes(text: bytes) -> None:
    assert slot_of(text) == key_slot(text)


def test_partition_0_has_the_tag_of_a_group_with_one_partition() -> None:
    for number in POWERS:
        assert Keyspace(TENANT, {"g": number}).partitions()[0].tag == "{compozy:v1:dev:default:g:0}:"


@pytest.mark.parametrize("number", POWERS)
def test_slots_are_spread_evenly_whatever_the_number(number: int) -> None:
    """Sorted, they are as far from each other as a fair share is wide, give or take a stretch."""
    found = sorted(slots(Keyspace(TENANT, {"g": number})))
    share = SLOTS // number
    gaps = [(later - slot) % SLOTS for slot, later in zip(found, [*found[1:], found[0]], strict=True)]
    if number > 1:
        assert all(share - STRETCH < gap < share + STRETCH for gap in gaps)
    # Any contiguous third of the slots, as three masters have them, holds its share of the partitions.
    for start in range(0, SLOTS, 1000):
        third = sum((slot - start) % SLOTS < SLOTS // 3 for slot in found)
        assert abs(third - number / 3) <= 1


def test_doubling_leaves_partitions_where_they_are() -> None:
    tags: list[str] = []
    for number in POWERS:
        partitions = [partition.tag for partition in Keyspace(TENANT, {"g": number}).partitions()]
        assert partitions[: len(tags)] == tags
        tags = partitions
    assert len(set(tags)) == MOST_PARTITIONS


def test_a_tag_names_tenant_group_and_number() -> None:
    for partition in Keyspace(TENANT, {"execution": 8}).partitions():
        inner = partition.tag[1:-2]
        tenant, group, number = inner.split(":")[3:]
        assert (tenant, group) == ("default", "execution")
        assert number.partition(".")[0] == str(partition.index)


def test_tenants_start_at_different_slots() -> None:
    starts = {
        slots(Keyspace(Namespace("a", "v", "e", f"tenant-{number}"), {"g": 16}))[0] for number in range(64)
    }
    assert len(starts) >= 60


def test_the_bits_of_an_index_are_reversed() -> None:
    assert [bit_reversed(index) for index in (0, 1, 2, 3, 1023)] == [0, 512, 256, 768, 1023]
    assert sorted(map(bit_reversed, range(MOST_PARTITIONS))) == list(range(MOST_PARTITIONS))


@pytest.mark.parametrize(
    ("number", "possible"),
    [(1, True), (2, True), (1024, True), (0, False), (-2, False), (3, False), (2048, False), (True, False)],
)
def test_a_number_of_partitions_is_a_power_of_two(number: int, possible: bool) -> None:
    assert is_number_of_partitions(number) is possible


def test_values_select_partitions() -> None:
    keyspace = Keyspace(TENANT, {"g": 16, "one": 1})
    assert keyspace.partition("g", "exec-1").index == index_of("exec-1", 16)
    assert keyspace.partition("g", "exec-1") is keyspace.partition("g", "exec-1")
    assert keyspace.partition("one", "exec-1").index == 0
    with pytest.raises(ValueError, match="group g has several partitions"):
        keyspace.partition("g")


def test_1024_partitions_are_built_in_50_milliseconds() -> None:
    began = time.process_time()
    partitions = Keyspace(Namespace("a", "v", "e", "quick"), {"g": MOST_PARTITIONS}).partitions()
    spent = time.process_time() - began
    assert len(partitions) == MOST_PARTITIONS
    assert spent < 0.05
