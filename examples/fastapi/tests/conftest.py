"""The application on a real server, in a namespace of each test. Every answer is compared with the OpenAPI document."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from jsonschema import Draft202012Validator

from keyweave.model.entity import Package
from shop_api.__main__ import token_for
from shop_api.app import create_app
from web_shop.package import PACKAGE
from web_shop.sync import Store


def require_described(document: dict[str, Any], method: str, path: str, answer: Any) -> None:
    """Make sure that an answer has a status, a media type and a body that the document describes for its endpoint."""
    path = urlsplit(path).path
    templates = [
        each
        for each in sorted(document["paths"], key=lambda each: each.count("{"))
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", each), path)
    ]
    described = document["paths"][templates[0]][method.lower()]["responses"][str(answer.status_code)]
    content = described.get("content", {})
    if not content:
        assert answer.content == b""
        return
    ((media_type, body),) = content.items()
    assert answer.headers["content-type"].partition(";")[0] == media_type
    whole = {**body["schema"], "components": document["components"]}
    assert [error.message for error in Draft202012Validator(whole).iter_errors(answer.json())] == []
    if "Link" in described.get("headers", {}):
        assert answer.headers["Link"]


class Browser:
    """A client of the application, with the token of a customer or without one.

    Args:
        client: of HTTP.
        document: the OpenAPI document, or None if answers are not compared with it.
        token: of the customer.
    """

    def __init__(self, client: Any, document: dict[str, Any] | None = None, token: str | None = None) -> None:
        self.client = client
        self.token = token
        self._document = document

    def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        """The answer to a request, which has this status and is as described."""
        headers = dict(more.pop("headers", {}))
        if self.token is not None:
            headers.setdefault("Authorization", f"Bearer {self.token}")
        answer = self.client.request(method, path, headers=headers, **more)
        assert answer.status_code == status, answer.text
        if self._document is not None:
            require_described(self._document, method, path, answer)
        return answer

    def order(self, key: str, status: int = 201, **counts: int) -> Any:
        """The answer to an order of products."""
        lines = [{"sku": sku, "count": count} for sku, count in counts.items()]
        return self.ask("POST", "/orders", status, json={"lines": lines}, headers={"Idempotency-Key": key})

    def stock(self, sku: str) -> int:
        """How many of a product are left."""
        return int(self.ask("GET", f"/products/{sku}").json()["stock"])


class Site:
    """The application while it runs, and a blocking store in its namespace."""

    def __init__(self, app: FastAPI, client: TestClient, store: Store, document: dict[str, Any]) -> None:
        self.app = app
        self.client = client
        self.store = store
        self.document = document

    def guest(self) -> Browser:
        """A client without a token."""
        return Browser(self.client, self.document)

    def customer(self, email: str, *, staff: bool = False) -> Browser:
        """A client with a token of this customer."""
        return Browser(self.client, self.document, token_for(self.store, email, staff=staff))


@pytest.fixture(scope="session")
def keyweave_package() -> Package:
    """The package of the stores under test."""
    return PACKAGE


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    """The OpenAPI document, which is the same for every store."""
    document = create_app("redis://localhost").openapi()
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    return document


@pytest.fixture
def site(keyweave_url: str, keyweave_namespace: str, document: dict[str, Any]) -> Iterator[Site]:
    """The application with some products. Afterwards every index entry still agrees with its document."""
    app = create_app(keyweave_url, namespace=keyweave_namespace)
    with (
        Store.open(keyweave_url, namespace=keyweave_namespace) as store,
        TestClient(app, base_url="http://shop.test") as client,
    ):
        site = Site(app, client, store, document)
        staff = site.customer("boss@shop.test", staff=True)
        for sku, price, stock in (("tea", "7.90", 3), ("cup", "12.00", 10), ("pot", "39.50", 1)):
            body = {"sku": sku, "title": sku.title(), "price": price, "stock": stock}
            staff.ask("POST", "/products", 201, json=body)
        yield site
        assert store.check().clean
