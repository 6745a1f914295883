"""Options of a store: an invalid one is refused before anything connects."""

from __future__ import annotations

from typing import Any

import pytest

from compozy_store.package import PACKAGE
from keyweave.errors import ConfigurationError
from keyweave.opening.prepare import prepare


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("attempts", 1.5), ("attempts", 0), ("chunk", 2.5), ("marker_ttl", 1.5), ("marker_ttl", True),
        ("grace_ms", 10**30), ("grace_ms", -1), ("lock_ttl", 0.0001), ("lock_ttl", float("inf")),
        ("remembered", -1), ("remembered", 10**7), ("lock_wait", float("nan")), ("lock_wait", "5"), ("backoff", 0),
    ],
)  # fmt: skip
def test_an_invalid_policy_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        prepare(PACKAGE, "redis://unused", **{name: value})


def test_a_valid_policy_is_used() -> None:
    _, context = prepare(
        PACKAGE, "redis://unused", attempts=1, lock_wait=0.5, lock_ttl=2, grace_ms=1, remembered=0
    )
    policy = context.policy
    assert (policy.attempts, policy.lock_wait, policy.lock_ttl, policy.grace_ms, policy.remembered) == (
        1,
        0.5,
        2,
        1,
        0,
    )


@pytest.mark.parametrize(
    ("partitions", "reason"),
    [
        ({"nobody": 1}, "no group 'nobody'; the groups are auth, execution"),
        ({"execution": 0}, "group execution must be a power of two from 1 to 1,024"),
        ({"execution": 3}, "power of two"),
        ({"execution": 2048}, "power of two"),
        ({"execution": True}, "power of two"),
        ({"execution": "4"}, "power of two"),
        (4, "must map names of groups"),
        ([("execution", 1)], "must map names of groups"),
    ],
)
def test_numbers_of_partitions_that_a_group_cannot_have_are_refused(partitions: Any, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=f"option partitions.*{reason}"):
        prepare(PACKAGE, "redis://unused", partitions=partitions)


@pytest.mark.parametrize("partitions", [None, {}, {"execution": 1}, {"auth": 1, "execution": 1}])
def test_one_partition_is_what_a_group_has_without_the_option(partitions: Any) -> None:
    _, plain = prepare(PACKAGE, "redis://unused")
    _, context = prepare(PACKAGE, "redis://unused", partitions=partitions)
    found = [partition.tag for partition in context.keyspace.partitions()]
    assert found == [partition.tag for partition in plain.keyspace.partitions()]
