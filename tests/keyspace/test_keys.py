"""Different values never share a key, and every key of a partition has one hash tag."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from keyweave.keyspace.keys import Keyspace, Namespace, join

TEXT = st.text(alphabet=st.sampled_from(list(":%{}23A5B\0a\N{SNOWMAN}")), max_size=6) | st.text(max_size=300)
VALUES = st.lists(TEXT, min_size=1, max_size=3)
PART = st.text(alphabet=st.sampled_from(list(":%{}a")), min_size=1, max_size=4)


@given(VALUES, VALUES)
def test_joining_is_injective(left: list[str], right: list[str]) -> None:
    assert (join(left) == join(right)) == (left == right)


@given(st.tuples(PART, PART, PART, PART), st.tuples(PART, PART, PART, PART))
def test_namespaces_never_overlap(left: tuple[str, str, str, str], right: tuple[str, str, str, str]) -> None:
    one, two = (Keyspace(Namespace(*parts), {"g": 1}).partition("g") for parts in (left, right))
    assert (one.tag == two.tag) == (left == right)


@given(PART, TEXT, VALUES)
def test_every_key_of_a_partition_hashes_by_its_tag_alone(tenant: str, key: str, values: list[str]) -> None:
    partition = Keyspace(Namespace("a", "v1", "e", tenant), {"g": 1}).partition("g")
    made = [
        partition.clock,
        partition.expiry,
        partition.document("User", key),
        partition.view("User", "all", ()),
        partition.view("User", "by", values),
        partition.claims("User", "email"),
        partition.lock("User", key),
        partition.ledger("session"),
    ]
    assert len(set(made)) == len(made)
    for name in made:
        start = name.index("{")
        assert name[start + 1 : name.index("}", start)] == partition.tag[1:-2]


@given(TEXT, TEXT, VALUES)
def test_keys_of_different_kinds_never_collide(key: str, other: str, values: list[str]) -> None:
    partition = Keyspace(Namespace("a", "v1", "e", "t"), {"g": 1}).partition("g")
    assert (partition.document("User", key) == partition.document("User", other)) == (key == other)
    assert partition.document("User", key) != partition.view("User", "by", values)
    assert partition.lock("User", key) != partition.document("User", other)


@given(VALUES, TEXT)
def test_the_key_of_an_index_can_be_parsed(values: list[str], key: str) -> None:
    partition = Keyspace(Namespace("a", "b", "c", "d"), {"g": 1}, {"E.later": "E.later.2"}).partition("g")
    assert partition.index_of(partition.view("E", "v", values)) == ("E.v", tuple(values))
    assert partition.index_of(partition.view("E", "later", values)) == ("E.later.2", tuple(values))
    assert partition.index_of(partition.view("E", "all", ())) == ("E.all", ())
    assert partition.index_of(partition.claims("E", "u")) == ("E.u", ())
    for other in (partition.document("E", key), partition.clock, partition.expiry, partition.lock("E", key)):
        assert partition.index_of(other) is None
