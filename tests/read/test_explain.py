"""What `explain` reports is what a page sends: trips, documents and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.query import OneOf, at_least, between, contains, is_not, one_of, starts_with
from tests.harness import FLAVOURS, Harness, exchanges, harness
from tests.queries.draw import DAY
from tests.queries.package import stock

ROWS = 120


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    with harness(request.param, f"explain-{request.param}", module=stock()) as opened:
        kinds = list(stock().Kind)
        for number in range(ROWS):
            item = stock().Item(
                id=f"i{number:03}",
                kind=kinds[number % 3],
                owner="ab"[number % 2],
                team="red" if number % 4 else None,
                price=number % 10,
                weight=number / 2,
                opened=DAY,
                length=DAY - DAY,
                slug=f"slug{number}",
                tags=["new"] if number % 5 else [],
            )
            opened.do(opened.db.items.create(item))
        yield opened


def two_kinds() -> OneOf[Any]:
    return one_of(*list(stock().Kind)[:2])


PLANS: dict[str, tuple[Callable[[Any], Any], str, list[str], int]] = {
    "a view": (lambda items: items.by_kind(stock().Kind.TOOL), "view", ["by_kind"], 1),
    "a stretch": (lambda items: items.by_owner_price("a").between(2, 6), "view", ["by_owner_price"], 1),
    "a range": (lambda items: items.where(price=between(2, 6)).order_by("price"), "view", ["by_price"], 1),
    "several lists": (lambda items: items.where(kind=two_kinds()), "view", ["by_kind"] * 2, 1),
    "either": (
        lambda items: items.by_kind(stock().Kind.TOOL) | items.by_flag(True),
        "view",
        ["by_kind", "by_flag"],
        1,
    ),
    "both": (lambda items: items.where(kind=stock().Kind.TOOL, flag=True), "view", [], 1),
    "a key": (lambda items: items.where(id="i001"), "key", [], 1),
    "keys": (lambda items: items.where(id=one_of("i001", "i002")), "key", [], 1),
    "a unique value": (lambda items: items.where(slug="slug7"), "unique", [], 1),
    "another order": (lambda items: items.where(team="red").order_by("weight"), "sort", ["by_team"], 1),
    "narrowed": (lambda items: items.where(team="red"), "view", ["all"], 1),
    "compared": (
        lambda items: items.where(kind=stock().Kind.TOOL, tags=contains("new")),
        "view",
        ["by_kind"],
        1,
    ),
    "strings": (lambda items: items.by_owner(), "view", ["by_owner"], 1),
    "a beginning": (
        lambda items: items.where(owner=starts_with("a")).order_by("owner"),
        "view",
        ["by_owner"],
        1,
    ),
    "lists of strings": (
        lambda items: items.by_kind_from_owner(stock().Kind.TOOL).between("a", None)
        | items.by_team_owner("red").reverse(),
        "view",
        ["by_kind_from_owner", "by_team_owner"],
        1,
    ),
    "strings in two views": (
        lambda items: items.where(team="red", flag=None).order_by("owner"),
        "view",
        ["by_team_owner"],
        1,
    ),
    "strings and another view": (
        lambda items: items.where(team="red", slug=at_least("slug")).order_by("owner"),
        "view",
        ["by_team_owner"],
        1,
    ),
    "an order with nulls": (lambda items: items.where().order_by("rank").scan(), "view", ["by_rank"], 1),
    "all rows": (lambda items: items.where(rank=is_not(None)).scan(), "view", ["all"], 3),
    "nothing": (lambda items: items.where(kind=one_of()), "nothing", [], 0),
    "the latest": (lambda items: items.where(made=at_least(DAY)), "view", ["all"], 1),
}


def documents_in(replies: list[Any]) -> int:
    """The number of documents in replies: of scripts, MGET and GET."""
    found = 0
    for reply in replies:
        if isinstance(reply, bytes):
            found += reply.startswith(b'{"revision"')
        elif isinstance(reply, list | tuple):
            found += documents_in(list(reply))
    return found


@pytest.mark.parametrize("name", PLANS)
def test_a_page_costs_what_explain_reports(stores: Harness, name: str) -> None:
    make, access, views, trips = PLANS[name]
    rows = make(stores.db.items)
    stores.do(rows.page())  # the server knows the scripts from here on
    plan = stores.do(rows.explain())
    assert plan.access == access
    if views:
        assert list(plan.views) == views
    replies: list[Any] = []
    with exchanges(stores, replies) as sent:
        page = stores.do(rows.page())
    assert len(sent) == trips
    if not plan.scan:
        assert plan.trips == trips, "a scan reads on until the page is full"
        assert documents_in(replies) <= plan.documents
    if plan.compared == () and access == "view":
        assert documents_in(replies) == len(page) <= 50
    text = str(plan)
    assert text.startswith("Item ") and f"{plan.trips} trip" in text
    assert all(view in text for view in plan.views)
    assert all(field in text for field in plan.compared)


def test_a_merged_page_reads_each_document_once(stores: Harness) -> None:
    items = stores.db.items
    rows = items.where(kind=two_kinds()) | items.by_kind(stock().Kind.TOOL)
    replies: list[Any] = []
    stores.do(rows.page(limit=20))
    with exchanges(stores, replies) as sent:
        page = stores.do(rows.page(limit=20))
    assert (len(page), len(sent), documents_in(replies)) == (20, 1, 20)


def test_keys_and_counts_read_no_document(stores: Harness) -> None:
    items = stores.db.items
    stores.do(items.where(kind=two_kinds()).keys())
    replies: list[Any] = []
    with exchanges(stores, replies) as sent:
        keys = stores.do(items.where(kind=two_kinds()).keys())
        assert stores.do(items.where(kind=two_kinds()).count()) == len(keys) == 80
        assert stores.do(items.by_price().between(3, 4).count()) == 24
        assert stores.do(items.where(kind=two_kinds()).exists())
    assert (documents_in(replies), len(sent)) == (0, 4)


def test_the_smallest_view_is_chosen(stores: Harness) -> None:
    rows = stores.db.items.where(kind=two_kinds(), flag=True)
    plan = stores.do(rows.explain())
    assert (plan.view, plan.candidates) == ("by_flag", {"by_flag": 0, "by_kind": 80})


def test_a_field_with_two_conditions_is_decided_by_its_order_only_if_both_are_ranges(stores: Harness) -> None:
    items = stores.db.items
    for rows, expected in (
        (items.where(price=one_of(2, 7)).order_by("price").between(-3, None), {2, 7}),
        (items.where(price=is_not(4)).order_by("price").between(3, 5), {3, 5}),
        (items.where(price=between(2, 6)).order_by("price").between(5, 9), {5, 6}),
        (items.where(price=5).order_by("price").between(5, 9), {5}),
        (items.where(price=5).order_by("price").between(6, 9), set()),
    ):
        assert {row.price for row in stores.do(rows.list())} == expected
        assert stores.do(rows.count()) == len(stores.do(rows.keys())) == 12 * len(expected)
