"""Members that only newer code knows stay with their element of a list, and never move to another one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness import FLAVOURS, Harness, harness
from tests.till import NEWER, till

OLD, NEW = till(), till(NEWER)


@pytest.fixture(params=FLAVOURS)
def sides(request: pytest.FixtureRequest) -> Iterator[tuple[Harness, Harness]]:
    """Stores of newer and of older code on one namespace."""
    with (
        harness(request.param, f"unknown-{request.param}", module=NEW) as newer,
        harness(request.param, newer, module=OLD) as older,
    ):
        yield newer, older


def discounts(newer: Harness, field: str, name: str) -> dict[str, int | None]:
    elements = getattr(newer.do(newer.db.sales.get("s")), field)
    return {getattr(each, name): each.discount for each in elements}


def lines(*skus: str, **more: Any) -> list[Any]:
    return [NEW.Line(sku=sku, discount=ord(sku), **more) for sku in skus]


def test_a_merge_keeps_them_by_its_key(sides: tuple[Harness, Harness]) -> None:
    newer, older = sides
    newer.do(newer.db.sales.create(NEW.Sale(id="s", lines=lines("m"))))
    older.do(older.db.sales.merge_lines("s", [OLD.Line(sku="a"), OLD.Line(sku="m", quantity=2)]))
    assert discounts(newer, "lines", "sku") == {"a": None, "m": ord("m")}
    older.do(older.db.sales.merge_lines("s", [OLD.Line(sku=" b "), OLD.Line(sku="n")]))
    assert discounts(newer, "lines", "sku") == {"a": None, "b": None, "m": ord("m"), "n": None}
    assert [each.quantity for each in newer.do(newer.db.sales.get("s")).lines] == [1, 1, 3, 1]


def test_a_save_keeps_them_by_the_key_of_the_merge(sides: tuple[Harness, Harness]) -> None:
    newer, older = sides
    newer.do(newer.db.sales.create(NEW.Sale(id="s", lines=lines("a", "b", "c"))))

    def work(row: Any) -> None:
        row.lines = [OLD.Line(sku="z"), OLD.Line(sku="c", quantity=7), OLD.Line(sku="a", quantity=8)]

    older.do(older.db.sales.change("s", work))
    assert discounts(newer, "lines", "sku") == {"z": None, "c": ord("c"), "a": ord("a")}


def test_without_a_merge_an_element_is_known_by_the_fields_that_it_must_have(
    sides: tuple[Harness, Harness],
) -> None:
    newer, older = sides
    parts = [NEW.Part(number=each, discount=ord(each)) for each in "mn"]
    newer.do(newer.db.sales.create(NEW.Sale(id="s", parts=parts)))
    for numbers, expected in (
        ("mn", {"m": ord("m"), "n": ord("n")}),  # both changed, in place
        ("nam", {"n": ord("n"), "a": None, "m": ord("m")}),  # moved, beside a new one
        ("xn", {"x": None, "n": ord("n")}),  # replaced at its place
        ("yz", {"y": None, "z": None}),
    ):

        def work(row: Any, numbers: str = numbers) -> None:
            row.parts = [OLD.Part(number=each, weight=sum(map(ord, numbers))) for each in numbers]

        older.do(older.db.sales.change("s", work))
        assert discounts(newer, "parts", "number") == expected


def test_elements_of_one_identity_take_nothing(sides: tuple[Harness, Harness]) -> None:
    newer, older = sides
    twins = [NEW.Part(number="m", discount=1), NEW.Part(number="m", weight=1.5, discount=2)]
    marks = [NEW.Mark(text="a", discount=3), NEW.Mark(text="b", discount=4)]
    newer.do(newer.db.sales.create(NEW.Sale(id="s", parts=twins, marks=marks)))

    def work(row: Any) -> None:
        row.parts = [OLD.Part(number="m", weight=2.5), OLD.Part(number="m", weight=1.5)]
        row.marks = [OLD.Mark(text="c"), OLD.Mark(text="b")]

    older.do(older.db.sales.change("s", work))
    row = newer.do(newer.db.sales.get("s"))
    assert [each.discount for each in row.parts] == [
        None,
        2,
    ]  # the second is equal to the one that was stored
    assert [each.discount for each in row.marks] == [None, 4]


def test_a_map_keeps_them_by_name(sides: tuple[Harness, Harness]) -> None:
    newer, older = sides
    named = {name: NEW.Part(number="1", discount=ord(name)) for name in "ab"}
    newer.do(newer.db.sales.create(NEW.Sale(id="s", named=named)))

    def work(row: Any) -> None:
        row.named = {"c": OLD.Part(number="1"), "b": OLD.Part(number="2"), "z": row.named["a"]}

    older.do(older.db.sales.change("s", work))
    found = newer.do(newer.db.sales.get("s")).named
    assert {name: part.discount for name, part in found.items()} == {"c": None, "b": ord("b"), "z": None}
