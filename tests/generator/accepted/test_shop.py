"""A shop: customers and products stay while something refers to them, parcels are deleted with their order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import (
    AlreadyExistsError,
    CheckViolationError,
    ReferenceViolationError,
    UniqueViolationError,
    ValidationError,
)
from tests.generator.accepted.stage import Stage

CASE = "shop"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def customer(stage: Stage, **more: Any) -> Any:
    shop = stage.package
    home = shop.Address(street=" Long Lane 1 ", city="Ulm")
    given = {"id": "ada", "email": " Ada@Example.org ", "name": "Ada", "address": home, "since": NOON}
    return shop.Customer(**{**given, **more})


def product(stage: Stage, **more: Any) -> Any:
    given = {
        "sku": " tea ",
        "category": "Food",
        "title": "Green Tea",
        "price": 4.5,
        "stock": 7,
        "weight": 0.1,
    }
    return stage.package.Product(**{**given, **more})


def order(stage: Stage, **more: Any) -> Any:
    shop = stage.package
    lines = [shop.Line(sku="tea", count=2, price=450), shop.Line(sku="cup", price=800, total=700)]
    given = {
        "id": "o1",
        "customer_id": "ada",
        "state": shop.OrderState.SENT,
        "lines": lines,
        "stops": {"next door": shop.Address(street=" Short Lane 2", city="Ulm ")},
        "total": 1600,
        "discount": 100,
        "coupon": "SPRING",
        "tracking": "T-1",
        "sent_at": NOON,
    }
    return shop.Order(**{**given, **more})


def parcel(stage: Stage, **more: Any) -> Any:
    return stage.package.Parcel(**{"id": "p1", "order_id": "o1", "sku": "tea", "weight": 0.25, **more})


def test_a_shop_at_work(stage: Stage) -> None:
    ada, tea, first, box = customer(stage), product(stage), order(stage), parcel(stage)
    for record in (ada, tea, first, box):
        stage.create(record)
        stage.visit(record)
        stage.write_again(record)

    assert stage.customers.where().scan().having(stage.orders.where(state=first.state)).page().rows == [
        stage.customers.get("ada")
    ]
    assert stage.orders.where().scan().having(stage.parcels.where(sku="cup")).page().rows == []
    assert stage.orders.touch_sent_at("o1", NOON + timedelta(days=1)) is True
    assert stage.orders.touch_sent_at("o1", NOON) is True
    assert stage.orders.touch_sent_at("o2", NOON) is False
    assert stage.orders.get("o1").sent_at == NOON + timedelta(days=1)

    with pytest.raises(
        ReferenceViolationError, match="Customer 'ada': rows of Order refer to it by customer_id"
    ):
        stage.customers.delete("ada")
    with pytest.raises(ReferenceViolationError, match="Product 'tea': rows of Parcel refer to it by sku"):
        stage.products.delete("tea")
    stage.remove(first)
    assert stage.parcels.find("p1") is None
    stage.remove(ada, tea)
    box.order_id = "o1"
    with pytest.raises(ReferenceViolationError, match="order_id"):
        stage.parcels.upsert(box)
    assert stage.parcels.discard("p1") is False
    assert stage.parcels.delete_many(["p1"]) == [False]
    with pytest.raises(stage.package.ParcelNotFoundError):
        stage.parcels.delete("p1")
    stage.finish()


def test_stored_values_are_trimmed_and_derived(stage: Stage) -> None:
    shop = stage.package
    stage.customers.create(customer(stage))
    stage.products.create(product(stage))
    stage.orders.create(order(stage))
    ada = stage.customers.get("ada")
    assert (ada.email, ada.address.street, ada.address.country) == ("Ada@Example.org", "Long Lane 1", "DE")
    assert ada.since > NOON
    assert stage.products.get("tea").sku == "tea"
    assert [line.total for line in stage.orders.get("o1").lines] == [900, 700]
    assert stage.orders.get("o1").stops == {"next door": shop.Address(street="Short Lane 2", city="Ulm")}


def test_pages_are_in_the_order_of_their_view(stage: Stage) -> None:
    prices = {"a": 10.25, "b": 0.0, "c": 10.125, "d": 1e-9}
    for stock, (sku, price) in enumerate(prices.items()):
        stage.products.create(product(stage, sku=sku, title=sku, price=price, stock=stock))
    priciest = stage.products.by_price("Food").page(limit=3)
    rest = stage.products.by_price("Food").page(limit=3, cursor=priciest.cursor)
    assert [row.sku for row in priciest.rows + rest.rows] == ["a", "c", "d", "b"]
    assert [row.sku for row in stage.products.by_stock().reverse()] == ["a", "b", "c", "d"]


def test_values_that_are_taken(stage: Stage) -> None:
    shop = stage.package
    stage.customers.create(customer(stage))
    with pytest.raises(shop.CustomerExistsError) as exists:
        stage.customers.create(customer(stage))
    assert isinstance(exists.value, AlreadyExistsError)
    with pytest.raises(shop.EmailTakenError) as taken:
        stage.customers.create(customer(stage, id="eve", email="ADA@example.ORG"))
    assert (taken.value.constraint, taken.value.fields) == ("email", ("email",))
    assert stage.customers.get_by_email("ada@EXAMPLE.org").id == "ada"
    with pytest.raises(shop.NoSuchCustomerError):
        stage.customers.get_by_email("eve@example.org")

    stage.products.create(product(stage))
    with pytest.raises(shop.ProductTitleExistsError, match="same category and title") as double:
        stage.products.create(product(stage, sku="tea2", title=" green TEA "))
    assert isinstance(double.value, UniqueViolationError)
    stage.products.create(product(stage, sku="tea2", category="Gifts"))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"tracking": None}, "sent_is_tracked"),
        ({"sent_at": None}, "sent_has_a_moment"),
        ({"state": "open"}, "sent_has_a_moment"),
        ({"discount": 801}, "discount_is_at_most_half"),
        ({"discount": None}, "coupon_gives_a_discount"),
        ({"discount": 0}, "coupon_gives_a_discount"),
        ({"total": 0, "discount": None, "coupon": None}, "only_open_orders_are_free"),
    ],
)
def test_a_check_names_itself(stage: Stage, change: dict[str, Any], check: str) -> None:
    shop = stage.package
    stage.customers.create(customer(stage))
    if "state" in change:
        change = {"state": shop.OrderState(change["state"])}
    with pytest.raises(CheckViolationError, match=f"^Order 'o1': check {check}: ") as caught:
        stage.orders.create(order(stage, **change))
    assert caught.value.rule == check
    assert stage.orders.all().count() == 0


@pytest.mark.parametrize(
    ("make", "change", "field"),
    [
        (customer, {"email": "nowhere"}, "email"),
        (customer, {"email": " @ "}, "email"),
        (customer, {"name": "x" * 201}, "name"),
        (product, {"price": -0.5}, "price"),
        (product, {"weight": 1000.75}, "weight"),
        (product, {"sku": "  "}, "sku"),
        (parcel, {"weight": 31.75}, "weight"),
        (order, {"lines": []}, "lines"),
    ],
)
def test_a_limit_names_its_field(stage: Stage, make: Any, change: dict[str, Any], field: str) -> None:
    record = make(stage, **change)
    with pytest.raises(ValidationError) as caught:
        stage.repository_of(record).create(record)
    assert caught.value.field == field
