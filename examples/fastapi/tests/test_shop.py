"""Requests to the shop, in the process. Each answer is also compared with the OpenAPI document."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urljoin

import httpx
import pytest
from fastapi.testclient import TestClient

from keyweave.errors import (
    ConfigurationError,
    CorruptDocumentError,
    InvalidCursorError,
    KeyweaveError,
    LockTimeoutError,
    OutcomeUnknownError,
    StoreOutOfMemoryError,
    StoreUnavailableError,
    TransactionConflictError,
)
from shop_api.auth import new_token
from shop_api.problems import KINDS
from web_shop import Order, Product, State
from web_shop.aio import ProductRepository, Store

from .conftest import Browser, Site


def next_of(answer: Any) -> str | None:
    """The target of the link to the next page, resolved against the request's address."""
    found = re.findall(r"<([^>]*)>; rel=\"next\"", answer.headers["link"])
    return urljoin(str(answer.url), found[0]) if found else None


def test_answers_are_the_records(site: Site) -> None:
    ann = site.customer("ann@example.com")
    product = site.store.products.get("tea")
    assert ann.ask("GET", "/products/tea").json() == product.to_dict(mode="json")
    placed = ann.order("k", tea=2).json()
    order = site.store.orders.get(placed["id"])
    assert placed == order.to_dict(mode="json")
    assert (placed["total"], placed["lines"]) == ("15.80", [{"sku": "tea", "count": 2, "price": "7.90"}])
    assert set(placed) == set(Order.__struct_fields__)
    assert set(site.document["components"]["schemas"]["Product"]["properties"]) == set(
        Product.__struct_fields__
    )


def test_every_endpoint_describes_what_it_may_answer(site: Site) -> None:
    operations = [
        (path, operation) for path, item in site.document["paths"].items() for operation in item.values()
    ]
    assert len(operations) == 16
    for path, operation in operations:
        answers = operation["responses"]
        assert ("422" in answers) == (bool(operation.get("parameters")) or "requestBody" in operation), path
        assert ("503" in answers) == (path != "/health/live"), path
        assert ("401" in answers) == ("security" in operation), path
        for status, answer in answers.items():
            if status >= "400":
                assert list(answer["content"]) == ["application/problem+json"]
    assert len({operation["operationId"] for _, operation in operations}) == len(operations)


def test_a_token_that_is_not_valid_is_refused(site: Site) -> None:
    unknown = "shop_0000000000000000_"
    tokens = (
        "",
        "nonsense",
        unknown,
        unknown + "A" * 43,
        "shop_*_" + "A" * 43,
        unknown + "A" * 42 + "\u00e9",
    )
    headers: list[dict[str, Any]] = [{}, *({"Authorization": f"Bearer {each}".encode()} for each in tokens)]
    for given in (*headers, {"Authorization": "Bearer " + "x" * 5000}, {"Authorization": "Bearer"}):
        answer = site.guest().ask("GET", "/me", 401, headers=given)
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        assert answer.json()["detail"] == "A valid token is necessary"


def test_a_token_holds_with_its_own_secret_until_it_ends_or_is_revoked(site: Site) -> None:
    ann, bob = site.customer("ann@example.com"), site.customer("bob@example.com")
    answer = ann.ask("POST", "/tokens", 201, json={"label": "phone", "days": 1})
    assert answer.headers["Cache-Control"] == "no-store"
    made = answer.json()
    phone = Browser(site.client, site.document, made["token"])
    assert phone.ask("GET", "/me").json() == ann.ask("GET", "/me").json()

    assert bob.token is not None
    other = "_".join([*made["token"].split("_", 2)[:2], bob.token.split("_", 2)[2]])
    for wrong in (other, made["token"][:-1], made["token"].upper(), f"{made['token']}x"):
        Browser(site.client, site.document, wrong).ask("GET", "/me", 401)
    site.guest().ask("GET", "/me", 401, headers={"Authorization": f"Basic {made['token']}"})

    listed = ann.ask("GET", "/tokens").json()["items"]
    assert [each["label"] for each in listed] == ["phone", "command line"]
    assert made["token"].split("_", 2)[2] not in ann.ask("GET", "/tokens").text
    bob.ask("DELETE", f"/tokens/{made['id']}", 404)
    phone.ask("DELETE", f"/tokens/{made['id']}", 204)
    phone.ask("GET", "/me", 401)
    ann.ask("DELETE", f"/tokens/{made['id']}", 404)

    token, row = new_token(ann.ask("GET", "/me").json()["id"])
    row.ends_at = datetime.now(UTC) - timedelta(seconds=1)
    site.store.tokens.create(row)
    Browser(site.client, site.document, token).ask("GET", "/me", 401)
    site.store.customers.delete(ann.ask("GET", "/me").json()["id"])
    ann.ask("GET", "/me", 401)


def test_no_secret_is_in_any_row(site: Site) -> None:
    token, row = new_token("c")
    secret = token.split("_", 2)[2]
    assert secret not in repr(row.to_dict())
    assert len(row.digest) == 32 and row.digest.hex() not in repr(row)


def test_only_the_staff_writes_products_and_customers(site: Site) -> None:
    ann, boss = site.customer("ann@example.com"), site.customer("boss@shop.test")
    body = {"sku": "new", "title": "New", "price": "1", "stock": 0}
    for client, status in ((site.guest(), 401), (ann, 403)):
        client.ask("POST", "/products", status, json=body)
        client.ask("PATCH", "/products/tea", status, json={"stock": 100})
        client.ask("DELETE", "/products/tea", status)
        client.ask("POST", "/customers", status, json={"email": "eve@example.com", "role": "staff"})
    assert site.store.products.get("tea").stock == 3
    answer = boss.ask("POST", "/products", 201, json=body)
    assert answer.headers["Location"] == "/products/new"
    assert boss.ask("PATCH", "/products/new", json={"price": "2.50"}).json()["price"] == "2.50"
    assert boss.ask("PATCH", "/products/new", json={}).json()["title"] == "New"
    boss.ask("DELETE", "/products/new", 204)


def test_errors_have_their_status(site: Site) -> None:
    boss = site.customer("boss@shop.test")
    tea = {"sku": "tea", "title": "Tea", "price": "1", "stock": 0}

    def refused(method: str, path: str, status: int, **more: Any) -> Any:
        return boss.ask(method, path, status, **more).json()

    assert refused("GET", "/products/none", 404)["code"] == "not-found"
    assert refused("DELETE", "/products/none", 404)["title"] == "Not Found"
    assert refused("POST", "/products", 409, json=tea)["code"] == "exists"
    assert refused("POST", "/customers", 409, json={"email": "BOSS@shop.test"})["code"] == "taken"
    for wrong in (
        {"price": "-1"},
        {"stock": -1},
        {"stock": "1"},
        {"title": ""},
        {"sku": "a/b"},
    ):
        assert refused("POST", "/products", 422, json={**tea, "sku": "new", **wrong})["errors"]
    assert refused("POST", "/products", 422, json={**tea, "sku": "new", "price": "0.001"})["errors"] == [
        {"field": "price", "detail": "expected a decimal with at most 2 places"}
    ]
    assert (
        refused("PATCH", "/products/tea", 422, json={"colour": "red"})["errors"][0]["field"] == "body.colour"
    )
    assert refused("PATCH", "/products/tea", 422, json={"title": None})["errors"][0]["field"] == "body.title"
    secret = "s3cret-in-a-body"
    assert secret not in boss.ask("POST", "/products", 422, json={**tea, "stock": secret}).text
    assert site.client.get("/nothing").json()["status"] == 404
    assert site.client.put("/products/tea").headers["allow"]


def test_products_in_pages_by_links(site: Site) -> None:
    guest = site.guest()
    first = guest.ask("GET", "/products?limit=2")
    assert [each["sku"] for each in first.json()["items"]] == ["tea", "cup"]
    assert first.headers["link"].startswith('<?limit=2>; rel="first", <?limit=2&cursor=')
    target = next_of(first)
    assert target is not None
    assert target.startswith("http://shop.test/products?limit=2&cursor=")
    second = guest.ask("GET", target.removeprefix("http://shop.test"))
    assert [each["sku"] for each in second.json()["items"]] == ["pot"]
    assert (second.json()["next"], next_of(second)) == (None, None)
    by_body = guest.ask("GET", "/products", params={"limit": 2, "cursor": first.json()["next"]})
    assert by_body.json() == second.json()

    narrow = guest.ask("GET", "/products?limit=1&low=8&high=40.00")
    assert [each["sku"] for each in narrow.json()["items"]] == ["cup"]
    target = next_of(narrow)
    assert target is not None
    assert "limit=1&low=8&high=40.00&cursor=" in target
    assert [each["sku"] for each in guest.ask("GET", target).json()["items"]] == ["pot"]


def test_a_damaged_query_is_refused_and_gets_into_no_header(site: Site) -> None:
    damaged = {
        "limit": ("0", "101", "1\r\nSet-Cookie: a=b"),
        "low": ("NaN", "Infinity", "0.001", "-1"),
        "high": ("1e1000000000", "\u0661.\u0661.1"),
        "cursor": (
            "",
            "x",
            'a>; rel="next", <http://evil.test/',
            "a\r\nSet-Cookie: a=b",
            "a" * 2000,
            "\u2603",
        ),
    }
    for name, values in damaged.items():
        for value in values:
            answer = site.guest().ask("GET", "/products", 422, params={name: value})
            assert not {"set-cookie", "link"} & set(answer.headers)


def test_the_host_of_a_request_gets_into_no_link(site: Site) -> None:
    answer = site.guest().ask("GET", "/products?limit=1", headers={"Host": "evil.test"})
    assert "evil" not in answer.headers["link"]


def test_a_cursor_opens_no_list_but_its_own(site: Site) -> None:
    ann, bob = site.customer("ann@example.com"), site.customer("bob@example.com")
    for number in range(3):
        ann.order(f"k{number}", cup=1)
        bob.order(f"k{number}", cup=1)
    page = ann.ask("GET", "/orders?limit=2").json()
    rest = ann.ask("GET", "/orders", params={"limit": 2, "cursor": page["next"]}).json()
    assert len({each["id"] for each in page["items"] + rest["items"]}) == 3
    assert {each["customer_id"] for each in page["items"] + rest["items"]} == {
        ann.ask("GET", "/me").json()["id"]
    }
    for path in ("/orders", "/tokens", "/products"):
        answer = bob.ask("GET", path, 422, params={"cursor": page["next"]})
        assert answer.json()["code"] == "cursor"
    for damaged in (page["next"][:-1], page["next"][:-1] + "!", page["next"].swapcase()):
        ann.ask("GET", "/orders", 422, params={"cursor": damaged})


def test_an_order_takes_from_stock_and_is_its_customers_only(site: Site) -> None:
    ann, bob = site.customer("ann@example.com"), site.customer("bob@example.com")
    placed = ann.order("k1", tea=2, cup=1)
    path = placed.headers["Location"]
    assert placed.json()["total"] == "27.80"
    assert (ann.stock("tea"), ann.stock("cup")) == (1, 9)
    assert ann.ask("GET", path).json() == placed.json()
    bob.ask("GET", path, 404)
    bob.ask("POST", f"{path}/cancellation", 404)
    assert bob.ask("GET", "/orders").json()["items"] == []
    refused = bob.order("k2", 409, cup=1, tea=2).json()
    assert (refused["code"], refused["detail"]) == ("out-of-stock", "tea: 1 left")
    assert bob.order("k3", 409, gold=1).json()["detail"] == "gold: 0 left"
    assert ann.stock("cup") == 9


def test_a_repeated_request_places_one_order(site: Site) -> None:
    ann, bob = site.customer("ann@example.com"), site.customer("bob@example.com")
    first = ann.order("same", tea=3)
    again = ann.order("same", 200, tea=3)
    assert again.json() == first.json()
    assert again.headers["Location"] == first.headers["Location"]
    assert ann.order("same", 409, tea=2).json()["code"] == "key-used"
    assert ann.order("same", 409, cup=1).json()["code"] == "key-used"
    assert ann.stock("tea") == 0
    bob.order("same", cup=1)  # a key belongs to its customer
    assert len(ann.ask("GET", "/orders").json()["items"]) == 1
    for missing in ({}, {"Idempotency-Key": ""}, {"Idempotency-Key": "a b"}, {"Idempotency-Key": "x" * 101}):
        ann.ask("POST", "/orders", 422, json={"lines": [{"sku": "cup", "count": 1}]}, headers=missing)


def test_requests_with_one_key_at_the_same_time_place_one_order(site: Site) -> None:
    """All of them want the last pot, so those that lose the race find an empty shelf, and then the order."""
    ann = site.customer("ann@example.com")

    async def crowd() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app=site.app)
        headers = {"Authorization": f"Bearer {ann.token}", "Idempotency-Key": "k"}
        body = {"lines": [{"sku": "pot", "count": 1}]}
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.test") as client:
            requests = [client.post("/orders", json=body, headers=headers) for _ in range(8)]
            return await asyncio.gather(*requests)

    async def in_a_loop_of_its_own() -> list[httpx.Response]:
        async with site.app.router.lifespan_context(site.app):
            return await crowd()

    open_store = site.app.state.store
    try:
        answers = asyncio.run(in_a_loop_of_its_own())
    finally:
        site.app.state.store = open_store
    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert ann.stock("pot") == 0


def test_a_cancelled_order_gives_back_what_it_took_once(site: Site) -> None:
    ann, boss = site.customer("ann@example.com"), site.customer("boss@shop.test")
    path = ann.order("k", tea=2, pot=1).headers["Location"]
    boss.ask("DELETE", "/products/pot", 204)
    for _ in range(2):
        assert ann.ask("POST", f"{path}/cancellation").json()["state"] == "cancelled"
        assert ann.stock("tea") == 3
    ann.order("k", 200, tea=2, pot=1)
    path = ann.order("other", tea=1).headers["Location"]
    site.store.orders.update(path.rpartition("/")[2], state=State.PACKED)
    assert ann.ask("POST", f"{path}/cancellation", 409).json()["code"] == "packed"


def test_a_store_that_is_away_is_503_with_the_time_to_ask_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = site.customer("ann@example.com")
    errors: dict[KeyweaveError, str] = {
        StoreUnavailableError("secret-host:6379 is down"): "unavailable",
        StoreOutOfMemoryError("secret-host:6379 is full"): "unavailable",
        OutcomeUnknownError("no answer from secret-host:6379"): "outcome-unknown",
        LockTimeoutError("Product: locked", key="secret-host"): "busy",
        TransactionConflictError("lost to others", key="secret-host"): "busy",
    }
    for error, code in errors.items():

        async def fail(store: Store, function: Callable[..., Any], error: KeyweaveError = error) -> Any:
            raise error

        monkeypatch.setattr(Store, "transact", fail)
        answer = ann.order("k", 503, tea=1)
        assert answer.headers["Retry-After"] == "2"
        assert answer.json()["code"] == code
        assert "secret-host" not in answer.text


def test_an_unknown_outcome_is_settled_by_the_same_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer of the store is lost after the order was placed, and once before: both requests are repeated."""
    ann = site.customer("ann@example.com")
    transact = Store.transact

    async def answer_lost(store: Store, function: Callable[..., Any]) -> Any:
        await transact(store, function)
        raise OutcomeUnknownError("no answer")

    async def request_lost(store: Store, function: Callable[..., Any]) -> Any:
        raise OutcomeUnknownError("no answer")

    monkeypatch.setattr(Store, "transact", answer_lost)
    assert ann.order("written", 503, tea=1).json()["code"] == "outcome-unknown"
    monkeypatch.setattr(Store, "transact", request_lost)
    ann.order("lost", 503, cup=1)
    monkeypatch.undo()
    ann.order("written", 200, tea=1)
    ann.order("lost", 201, cup=1)
    assert (ann.stock("tea"), ann.stock("cup")) == (2, 9)


def test_kinds_of_errors_are_in_an_order_in_which_each_is_reached() -> None:
    kinds = [kind for kind, *_ in KINDS]
    for position, kind in enumerate(kinds):
        assert not any(issubclass(kind, earlier) for earlier in kinds[:position]), kind
    assert not any(issubclass(ConfigurationError, kind) for kind in kinds)
    assert InvalidCursorError in kinds


def test_an_error_that_no_client_can_correct_is_500_without_its_text(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(products: Any, key: str) -> Any:
        raise CorruptDocumentError("secret-key of Product")

    monkeypatch.setattr(ProductRepository, "get", fail)
    client = TestClient(site.app, raise_server_exceptions=False)
    answer = client.get("/products/tea")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")


def test_no_body_or_path_makes_the_shop_fail(site: Site) -> None:
    boss = site.customer("boss@shop.test")
    tea = {"sku": "new", "title": "Tea", "price": "1", "stock": 0}
    for wrong in (
        {"stock": 1.5},
        {"stock": float("nan")},
        {"price": "1e400"},
        {"price": float("nan")},
        {"price": "Infinity"},
        {"title": "\ud800"},
        {"title": ["a"]},
        {"sku": "a\n"},
        {"sku": "a\r\nSet-Cookie: a=b"},
        {"created_at": "now"},
    ):
        for method, path in (("POST", "/products"), ("PATCH", "/products/tea")):
            body = json.dumps({**tea, **wrong} if method == "POST" else wrong)
            boss.ask(method, path, 422, content=body, headers={"Content-Type": "application/json"})
    for body, status in (("", 422), ("[]", 422), ("null", 422), ("{", 422), ("[" * 100_000, 400)):
        answer = site.client.post(
            "/products",
            content=body,
            headers={"Authorization": f"Bearer {boss.token}", "Content-Type": "application/json"},
        )
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
    for path in (
        "/products/%00",
        "/products/%0d%0aSet-Cookie:a",
        "/products/%ff",
        "/orders/*",
        "/orders/%F0%9F%8D%B5",
    ):
        boss.ask("GET", path, 404)
    for sku in ("*", "\x00", "{tea}", "tea!", "\u2603"):
        answer = boss.ask(
            "POST",
            "/orders",
            409,
            json={"lines": [{"sku": sku, "count": 1}]},
            headers={"Idempotency-Key": "k"},
        )
        assert answer.json()["code"] == "out-of-stock"
    boss.ask(
        "POST",
        "/orders",
        422,
        content='{"lines": [{"sku": "\\ud800", "count": 1}]}',
        headers={"Idempotency-Key": "k", "Content-Type": "application/json"},
    )


def test_a_path_begins_no_line_of_the_log(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(products: Any, key: str) -> Any:
        raise StoreUnavailableError(f"away\n{key}")

    monkeypatch.setattr(ProductRepository, "get", fail)
    site.guest().ask("GET", "/products/%1b%5b2J%0aforged", 503)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "shop_api"]
    assert "forged" in line
    assert line.isprintable()


def test_health(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    guest = site.guest()
    assert guest.ask("GET", "/health/live").json() == {"status": "ok"}
    assert guest.ask("GET", "/health/ready").json() == {"status": "ok"}

    async def away(store: Store) -> Any:
        raise StoreUnavailableError("away")

    monkeypatch.setattr(Store, "health", away)
    assert guest.ask("GET", "/health/ready", 503).headers["Retry-After"] == "2"
    guest.ask("GET", "/health/live")
