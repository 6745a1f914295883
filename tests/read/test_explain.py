"""What `explain` reports is what a page sends: trips, documents and views."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.errors import UnboundedQueryError
from keyweave.query import OneOf, at_least, at_most, between, contains, is_not, one_of, starts_with
from tests.harness import FLAVOURS, Harness, exchanges, harness
from tests.queries.draw import DAY
from tests.queries.package import stock
from tests.scripted import declare_keys

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
                tags=["new", "sale"][: number % 5],
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
        lambda items: items.where(kind=stock().Kind.TOOL, owner=starts_with("a")),
        "view",
        ["by_kind"],
        1,
    ),
    "an element": (lambda items: items.where(tags=contains("new")), "view", ["by_tag"], 1),
    "elements": (lambda items: items.where(tags=contains("new", "sale")), "view", ["by_tag"], 1),
    "an element of some owners": (
        lambda items: items.where(tags=contains("new"), owner=one_of("a", "b")).order_by("price"),
        "view",
        ["by_owner_tag"] * 2,
        1,
    ),
    "either element": (
        lambda items: items.where(tags=contains("new")) | items.where(tags=contains("sale")),
        "view",
        ["by_tag"] * 2,
        1,
    ),
    "elements in a stretch": (
        lambda items: items.where(tags=contains("new", "sale"), owner="a", price=between(3, 7)).order_by(
            "price"
        ),
        "view",
        ["by_owner_tag"],
        1,
    ),
    "an element of a kind": (
        lambda items: items.where(tags=contains("sale"), kind=stock().Kind.TOOL),
        "view",
        [],
        1,
    ),
    "a partial view": (
        lambda items: items.where(price=at_most(2), tags=contains("sale")).order_by("price"),
        "view",
        ["cheap_tag"],
        1,
    ),
    "a condition that is the filter": (
        lambda items: items.where(rank=None, owner=at_least("ab"), kind=stock().Kind.TOOL),
        "view",
        [],
        1,
    ),
    "a partial unique value": (
        lambda items: items.where(slug="slug7", kind=stock().Kind.BOOK, flag=True),
        "unique",
        [],
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


COVERED: dict[str, Callable[[Any], Any]] = {
    "two views": lambda items: items.where(kind=stock().Kind.TOOL, team="red"),
    "values and a view": lambda items: items.where(kind=two_kinds(), team="red"),
    "a stretch of another order": lambda items: items.where(kind=two_kinds(), price=between(2, 6)),
    "two stretches": lambda items: items.where(
        kind=stock().Kind.TOOL, price=at_least(4), weight=at_most(30)
    ).order_by("weight"),
    "elements": lambda items: items.where(tags=contains("new", "sale")),
    "elements and a view": lambda items: items.where(tags=contains("new", "sale"), kind=two_kinds()),
    "an element and a condition": lambda items: items.where(tags=contains("sale"), price=at_most(2)),
    "a condition": lambda items: items.where(rank=None, owner=at_least("ab"), kind=stock().Kind.TOOL),
    "either": lambda items: items.where(kind=stock().Kind.TOOL) | items.where(team="red"),
    "either of three": lambda items: (
        items.where(kind=stock().Kind.TOOL, team="red")
        | items.by_tag("sale")
        | items.where(price=between(8, 9))
    ),
    "either with none": lambda items: items.where(kind=one_of()) | items.by_tag("sale"),
    "another order": lambda items: items.where(team="red").order_by("price"),
    "all rows": lambda items: items.where().scan(),
    "none": lambda items: items.where(kind=one_of()),
}
"""Queries whose filters views cover."""


@pytest.mark.parametrize("declared", [False, True], ids=["", "declared keys"])
@pytest.mark.parametrize("name", COVERED)
def test_what_views_cover_is_counted_and_named_without_documents(
    stores: Harness, name: str, declared: bool
) -> None:
    rows = COVERED[name](stores.db.items)
    found = stores.do(rows.list())
    stores.do(rows.keys())
    declare_keys(stores.db.session.context, declared)
    replies: list[Any] = []
    with exchanges(stores, replies) as sent:
        assert stores.do(rows.count()) == len(found)
        assert stores.do(rows.exists()) == bool(found)
        assert stores.do(rows.keys()) == [row.id for row in found]
    assert (documents_in(replies), len(sent)) == (0, 0 if name == "none" else 3)
    for words in (words for pipeline in sent for words in pipeline):
        assert words[0] != "MGET" and words[0] != "GETRANGE"


@pytest.mark.parametrize("scan", [1, 3, 7])
def test_a_count_goes_on_where_a_call_ended(
    stores: Harness, scan: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyweave.read.cover.SCAN", scan)
    for make in COVERED.values():
        rows = make(stores.db.items)
        found = [row.id for row in stores.do(rows.list())]
        assert (stores.do(rows.count()), stores.do(rows.exists())) == (len(found), bool(found))
        assert stores.do(rows.keys()) == found


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


CHOICES: dict[str, tuple[Callable[[Any], Any], str, tuple[str, ...], tuple[str, ...]]] = {
    "elements": (lambda items: items.where(tags=contains("sale", "new")), "by_tag", ("by_tag:new",), ()),
    "an element and a kind": (
        lambda items: items.where(tags=contains("new"), kind=stock().Kind.TOOL),
        "by_kind",
        ("by_tag",),
        (),
    ),
    "a filter that the condition contains": (
        lambda items: items.where(price=at_most(1)).order_by("price"),
        "cheap",
        (),
        (),
    ),
    "a filter that the condition does not decide": (
        lambda items: items.where(price=one_of(0, 1)).order_by("price"),
        "cheap",
        (),
        ("price",),
    ),
    "a condition that decides a filter": (
        lambda items: items.where(flag=True, team=is_not(None)).order_by("revision"),
        "flagged",
        (),
        (),
    ),
    "all values of a condition": (
        lambda items: items.where(
            kind=one_of(stock().Kind.BOOK, stock().Kind.TOOL), weight=is_not(0.25)
        ).order_by("weight"),
        "some_kinds",
        (),
        (),
    ),
    "more than a condition": (
        lambda items: items.where(
            kind=one_of(stock().Kind.BOOK, stock().Kind.PART), weight=is_not(0.25)
        ).order_by("weight"),
        "by_kind_weight",
        (),
        ("weight",),
    ),
    "a stretch beyond a condition": (
        lambda items: items.where(price=between(1, 3)).order_by("price"),
        "by_price",
        (),
        (),
    ),
    "a condition without terms": (
        lambda items: items.where(team="red", flag=True),
        "by_flag",
        ("by_team",),
        (),
    ),
}


@pytest.mark.parametrize("name", CHOICES)
def test_a_view_is_chosen_by_its_elements_and_its_condition(stores: Harness, name: str) -> None:
    make, view, narrowing, compared = CHOICES[name]
    plan = stores.do(make(stores.db.items).explain())
    assert (plan.view, plan.narrowing, plan.compared) == (view, narrowing, compared), str(plan)


def test_rows_of_a_condition_are_not_bounded_by_rows_of_referrers_that_are_not(stores: Harness) -> None:
    items, notes = stores.db.items, stores.db.notes
    stores.do(notes.create(stock().Note(id="n", item="i001", state=1)))
    refused = (
        items.where(),
        items.where().order_by("price"),
        items.where(rank=is_not(None)),
        items.where().having(notes.where()),
        items.where().having(notes.all()),
        items.where(weight=0.25).having(notes.where(id=is_not("n"))),
        items.where().having(notes.where(state=1) | notes.where()),
    )
    for rows in refused:
        for ask in (rows.page, rows.list, rows.first, rows.count, rows.exists, rows.keys, rows.explain):
            with pytest.raises(UnboundedQueryError, match="scan"):
                stores.do(ask())
        stores.do(rows.scan().page())
    allowed = (
        items.where().having(notes.where(state=1)),
        items.where().having(notes.by_state(1)),
        items.where().having(notes.where(id="n")),
        items.where().having(notes.where(id=one_of("n", "m"))),
        items.where().having(notes.where(made=at_least(DAY)) | notes.where(id="n")),
        items.where().having(notes.where().scan()),
        items.where(rank=None).having(notes.where(state=1)).having(notes.where()),
    )
    for rows in allowed:
        assert [row.id for row in stores.do(rows.page())] == ["i001"]
    for rows in (items.where(id="i001"), items.where(id=one_of("i001", "none"))):
        assert stores.do(rows.keys()) == ["i001"]


def test_a_stretch_without_ends_bounds_nothing_and_one_with_ends_does(stores: Harness) -> None:
    items = stores.db.items
    everything = items.where().order_by("price").between(None, None)
    assert len(stores.do(everything.scan().list())) == ROWS
    plan = stores.do(items.where(price=between(3, 4)).order_by("price").explain())
    assert (plan.views, plan.scan, plan.compared) == (("by_price",), False, ())
    with pytest.raises(UnboundedQueryError):
        stores.do(everything.page())
    assert stores.do(items.by_price().between(None, None).explain()).compared == ()


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
