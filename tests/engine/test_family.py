"""Rows in memory: the newest of each value, and the status that follows from the rows without a parent."""

from __future__ import annotations

from compozy_engine.family import latest_by, recast, rooted
from keyweave.model.record import Record, memory_of


class Row(Record, kw_only=True):
    name: str
    parent: str | None = None


class Longer(Row, kw_only=True):
    more: int = 0


def rows(**parents: str | None) -> list[Row]:
    return [Row(name=name, parent=parent) for name, parent in parents.items()]


def test_the_last_row_of_each_value_stands() -> None:
    first, second, other = Row(name="a"), Row(name="a", parent="x"), Row(name="b")
    assert latest_by([first, other, second], "name") == {"a": second, "b": other}
    assert latest_by([], "name") == {}


def test_rows_are_kept_in_order_when_a_chain_leads_up_to_a_root() -> None:
    found = rooted(rows(leaf="child", child="top", top=None, orphan="gone", below="orphan"), "name", "parent")
    assert [row.name for row in found] == ["leaf", "child", "top"]


def test_cycles_are_not_reached() -> None:
    assert rooted(rows(a="b", b="a", own="own"), "name", "parent") == []
    deep = rows(**{f"{n}": f"{n - 1}" if n else None for n in range(3000)})
    assert rooted(deep, "name", "parent") == deep


def test_a_record_of_another_class_has_the_same_values_and_no_memory() -> None:
    reported = recast(Longer, Row(name="a", parent="b"), more=5)
    assert (reported.name, reported.parent, reported.more, memory_of(reported)) == ("a", "b", 5, None)
    assert recast(Row, reported) == Row(name="a", parent="b")
    assert recast(Row, reported, parent=None) == Row(name="a")
