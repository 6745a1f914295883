"""The comparison of ways to spare a round trip, in short: every way does its work, and takes the trips that the page says."""

from __future__ import annotations

import pytest

from tools.bench.trips import comparison
from tools.bench.trips.comparison import compare
from tools.bench.trips.ways import Measured, table


@pytest.fixture(scope="module")
def found() -> list[Measured]:
    return compare(3)


def test_every_way_takes_its_round_trips(found: list[Measured]) -> None:
    trips = {(each.case, each.name): each.trips for each in found}
    assert len(trips) == len(found)
    ways = "an insert, then a guarded plan (built)", "decode", "digest"
    assert [trips["upsert of a row written elsewhere", way] for way in ways] == [2, 1, 1]
    assert [trips["the same, and its task differs", way] for way in ways] == [2, 2, 2]
    new = "an insert (built)", "decode", "digest"
    assert [trips["upsert of a new row", way] for way in new] == [1, 1, 1]
    assert [trips["delete of a user without keys", way] for way in ("built", "declared")] == [2, 1]
    assert trips["get and delete", "read is remembered"] == trips["get and delete", "built"] - 1


def test_the_table_has_every_way(found: list[Measured]) -> None:
    lines = list(table(found))
    assert len(lines) == 2 + len(found)
    assert all(each.median > 0 and each.ratio > 0 for each in found)
    assert {each.ratio for each in found if each.name.endswith("(built)") and each.trips == 2} >= {1.0}


def test_the_command_prints_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["trips", "1"])
    comparison.main()
    assert capsys.readouterr().out.count("\n") == len(list(table(compare(1))))
