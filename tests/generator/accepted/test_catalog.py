"""A catalog: a row has an entry for each of its tags, and some indexes hold a part of the rows only."""

from __future__ import annotations

import random
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from keyweave.errors import ConfigurationError, UnboundedQueryError, UniqueViolationError, ValidationError
from keyweave.model.entity import Condition
from keyweave.query import at_least, at_most, contains, is_not, one_of
from tests.generator.accepted.stage import Stage

CASE = "catalog"
LEAP = date(2024, 2, 29)


def item(stage: Stage, key: str = "1", **more: Any) -> Any:
    catalog = stage.package
    given = {
        "id": key,
        "seller": "ada",
        "sku": f"S{key}",
        "status": catalog.Status.LIVE,
        "price": Decimal("2.50"),
        "stock": 9,
        "sold_on": date(2023, 1, 1),
        "tags": {"red", "sale"},
        "codes": [3, 3, 1],
        "colours": [catalog.Colour.RED, catalog.Colour.RED],
        "days": {LEAP},
    }
    return catalog.Item(**{**given, **more})


def ids(rows: Any) -> list[str]:
    return [row.id for row in rows]


def test_rows_written_together_have_the_entries_of_rows_written_alone(stage: Stage) -> None:
    """As many entries as rows, but not one of each row: one row has an element twice, and another has none."""
    rows = [item(stage, "1"), item(stage, "2", codes=[]), item(stage, "3", tags={"sale"}, codes=[1])]
    assert stage.items.create_many(rows) == rows
    assert stage.check().clean
    assert ids(stage.items.by_code(3)) == ["1"]
    assert set(ids(stage.items.by_code(1))) == {"1", "3"}
    assert set(ids(stage.items.by_tag("sale"))) == {"1", "2", "3"}


def test_a_catalog_at_work(stage: Stage) -> None:
    boot, left = item(stage), item(stage, "2", tags={"red"}, price=Decimal("9.00"))
    stage.create(boot, left)
    stage.items.create(item(stage, "3", sold_on=None))
    for key in ("1", "2", "3"):
        stage.visit(stage.items.get(key))
    for record in (boot, left):
        stage.write_again(record)
    assert set(ids(stage.items.unsold("ada"))) == {"3"}
    assert stage.check().clean
    stage.remove(boot, left, stage.items.get("3"))
    assert stage.items.by_tag("red").count() == 0
    stage.finish()


def test_each_element_finds_the_row_once(stage: Stage) -> None:
    stage.items.create(item(stage))
    stage.items.create(item(stage, "2", codes=None, tags=set(), colours=[]))
    assert ids(stage.items.by_code(3)) == ids(stage.items.by_code(1)) == ["1"]
    assert stage.items.by_code(3).count() == 1
    assert ids(stage.items.by_tag("red")) == ids(stage.items.by_tag("sale")) == ["1"]
    assert stage.items.by_colour("ada").group_counts() == {stage.package.Colour.RED: 1}
    assert ids(stage.items.by_seller_tag("ada", "red")) == ["1"]
    assert ids(stage.items.by_seller_tag("bob", "red")) == []
    assert ids(stage.items.by_day(LEAP)) == ["2", "1"]


def test_entries_follow_the_elements(stage: Stage) -> None:
    row = stage.items.create(item(stage))
    row.tags = {"sale", "new"}
    row.codes = [7]
    stage.items.save(row)
    assert ids(stage.items.by_tag("red")) == []
    assert ids(stage.items.by_tag("new")) == ids(stage.items.by_tag("sale")) == ["1"]
    assert stage.items.by_code(3).count() == 0
    stage.items.delete("1")
    assert stage.items.by_tag("new").count() == 0


def test_an_element_is_trimmed_and_checked_like_a_value(stage: Stage) -> None:
    for method, value in (("by_tag", 5), ("by_code", "3"), ("by_day", "2024-02-29")):
        with pytest.raises(ValidationError):
            getattr(stage.items, method)(value).page()


def test_a_partial_view_holds_the_rows_for_which_its_condition_holds(stage: Stage) -> None:
    status = stage.package.Status
    drawn = random.Random(3)
    rows = [
        item(
            stage,
            str(number),
            status=drawn.choice(list(status)),
            price=drawn.choice([Decimal("1.49"), Decimal("1.50"), Decimal(7)]),
            sold_on=drawn.choice([None, date(2023, 12, 31), date(2024, 1, 1)]),
            hidden=drawn.choice([True, False]),
            stock=drawn.choice([0, 4, 5]),
        )
        for number in range(60)
    ]
    for row in rows:
        stage.items.create(row)
    for _ in range(2):
        public = {row.id for row in rows if row.status.is_public and row.price >= Decimal("1.5")}
        unsold = {row.id for row in rows if row.sold_on is None and row.status is not status.DRAFT}
        old = {row.id for row in rows if row.sold_on is not None and row.sold_on < date(2024, 1, 1)}
        odd = {row.id for row in rows if row.status is status.LIVE and (not row.hidden or row.stock > 4)}
        assert {row.id for row in stage.items.public()} == public
        assert {row.id for row in stage.items.unsold("ada")} == unsold
        assert {row.id for row in stage.items.old("ada")} == old
        assert {row.id for row in stage.items.odd(status.LIVE)} == odd
        assert {row.id for row in stage.items.by_day(LEAP)} == {r.id for r in rows if not r.hidden}
        for row in rows:
            row.status = drawn.choice(list(status))
            row.sold_on = drawn.choice([None, date(2023, 12, 31), date(2024, 1, 1)])
            row.hidden = drawn.choice([True, False])
            row.sku = f"S{row.id}"
            stage.items.save(row)


def test_a_partial_unique_constraint_holds_where_its_condition_holds(stage: Stage) -> None:
    status = stage.package.Status
    stage.items.create(item(stage, sku="A"))
    stage.items.create(item(stage, "2", sku="a", status=status.DRAFT))
    assert stage.items.get_by_live_sku("A").id == "1"
    with pytest.raises(UniqueViolationError):
        stage.items.create(item(stage, "3", sku="a"))
    row = stage.items.get("2")
    row.status = status.SOLD
    with pytest.raises(UniqueViolationError):
        stage.items.save(row)
    first = stage.items.get("1")
    first.status = status.DRAFT
    stage.items.save(first)
    stage.items.save(row)
    assert stage.items.get_by_live_sku("a").id == "2"
    assert stage.items.find_by_live_sku("b") is None


def test_a_search_uses_a_view_only_if_it_has_every_row(stage: Stage) -> None:
    status = stage.package.Status
    stage.items.create(item(stage, status=status.DRAFT, tags=set(), sold_on=None))
    stage.items.create(item(stage, "2", price=Decimal(2), sku="B", sold_on=None))
    assert ids(stage.items.where().scan()) == ["2", "1"]
    for filters, views, compared, found in (
        ({"seller": "ada"}, ("by_seller",), (), ["2", "1"]),
        ({"seller": "ada", "sold_on": None}, ("by_seller",), ("sold_on",), ["2", "1"]),
        ({"seller": "ada", "sold_on": None, "status": status.LIVE}, ("unsold",), ("status",), ["2"]),
        ({"seller": "ada", "sold_on": None, "status": is_not(status.DRAFT)}, ("unsold",), (), ["2"]),
        ({"seller": "ada", "sold_on": at_most(date(2023, 12, 31))}, ("old",), ("sold_on",), []),
        ({"seller": "ada", "sold_on": at_most(date(2024, 1, 1))}, ("by_seller",), ("sold_on",), []),
        ({"tags": contains("red")}, ("by_tag",), (), ["2"]),
        ({"days": contains(LEAP), "hidden": False}, ("by_day",), (), ["2", "1"]),
        ({"sku": "B", "status": status.LIVE}, (), ("status",), ["2"]),
    ):
        rows = stage.items.where(**filters)
        plan = rows.explain()
        assert (plan.views, plan.compared, ids(rows)) == (views, compared, found), str(plan)
    with pytest.raises(UnboundedQueryError):
        stage.items.where(days=contains(LEAP)).page()
    with pytest.raises(UnboundedQueryError):
        stage.items.where(sku="b").page()
    public = stage.items.where(status=one_of(status.LIVE, status.SOLD), price=at_least(Decimal("1.5")))
    assert public.order_by("price").explain().views == ("public",)
    assert ids(public.order_by("price")) == ["2"]


def test_a_view_of_elements_cannot_guard_a_create(stage: Stage) -> None:
    with pytest.raises(ConfigurationError):
        stage.items.create(item(stage), if_none="by_tag")
    stage.items.create(item(stage), if_none="unsold")
    stage.items.create(item(stage, "2", sold_on=None), if_none="unsold")


def test_a_transaction_sees_its_own_elements(stage: Stage) -> None:
    def blocking(tx: Any) -> Any:
        row = tx.items.create(item(stage))
        row.tags = {"new"}
        tx.items.save(row)
        return [rows.list() for rows in (tx.items.by_tag("new"), tx.items.by_tag("red"), tx.items.public())]

    async def waiting(tx: Any) -> Any:
        row = await tx.items.create(item(stage))
        row.tags = {"new"}
        await tx.items.save(row)
        return [
            await rows.list() for rows in (tx.items.by_tag("new"), tx.items.by_tag("red"), tx.items.public())
        ]

    aio = type(stage.store).__module__.endswith(".aio")
    new, red, public = stage.wait_for(stage.store.transact(waiting if aio else blocking))
    assert (ids(new), ids(red), ids(public)) == (["1"], [], ["1"])
    assert ids(stage.items.by_tag("new")) == ["1"]


def test_descriptors_say_what_a_planner_needs(stage: Stage) -> None:
    views = stage.package.PACKAGE.entities["Item"].views
    assert views["by_tag"].selecting == ("tags",)
    assert (views["by_tag"].whole, views["public"].whole, views["all"].whole) == (False, False, True)
    assert views["public"].conditions == (
        Condition("status", "in", ("sold", "live")),
        Condition("price", ">=", (Decimal("1.50"),)),
    )
    assert views["unsold"].conditions == (
        Condition("sold_on", "is null"),
        Condition("status", "!=", ("draft",)),
    )
    assert views["old"].conditions == (Condition("sold_on", "<", (date(2024, 1, 1),)),)
    assert views["by_day"].conditions == (Condition("hidden", "==", (False,)),)
    assert views["odd"].conditions is None
    assert views["public"].where == ("status in Status.public and price >= 1.50; Status.public: sold, live")
