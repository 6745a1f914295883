"""The comparison of 16 partitions with one: what it counts and writes. Its times are no concern of a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.bench import partitions


@pytest.fixture(scope="module")
def compared() -> partitions.Comparison:
    return partitions.compare(2)


def test_every_call_is_compared(compared: partitions.Comparison) -> None:
    assert tuple(each.name for each in compared.calls) == partitions.CALLS
    assert set(partitions.TARGETS) <= set(partitions.CALLS)
    assert all(each.one > 0 and each.many > 0 and each.ratio > 0 for each in compared.calls)


def test_trips_and_documents_are_those_of_the_protocol(compared: partitions.Comparison) -> None:
    trips = {each.name: each.trips for each in compared.calls}
    assert trips["get(key, value)"] == trips["get(key), the row is known"] == trips["save"] == 1.0
    assert trips["create an execution"] == trips["page of a view with the value"] == 1.0
    assert trips["create a task"] == 2.0
    (page,) = [each for each in compared.calls if each.documents]
    assert 2.0 <= page.trips < 2.5 and page.documents <= partitions.MOST_DOCUMENTS
    assert compared.uneven <= partitions.MOST_UNEVEN


def test_the_wire_carries_the_bytes_of_the_page_on_both_sides(compared: partitions.Comparison) -> None:
    assert compared.wire is not None
    assert compared.wire.one > 0 and compared.wire.many > 0 and compared.wire.ratio > 0


def test_a_comparison_is_kept_and_shown(compared: partitions.Comparison, tmp_path: Path) -> None:
    partitions.keep(compared, tmp_path)
    assert partitions.load(tmp_path) == compared
    text = "\n".join(partitions.section(compared))
    assert all(f"| {name} |" in text for name in partitions.CALLS)
    assert "*The wire*" in text
