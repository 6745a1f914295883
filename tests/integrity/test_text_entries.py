"""Entries in the order of strings: what damages them is named and repaired, and what they leave behind is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from keyweave.errors import ViewNotEmptyError
from keyweave.exchange.heal import dangling_members, heal_entries
from keyweave.integrity.drift import Kind
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from keyweave.write.delete_unreadable import discard_unreadable
from tests.evolution.packages import generated
from tests.harness import AT_ONCE, FLAVOURS, Harness, exchanges, harness
from tests.scripted import declare_keys
from tests.waiting import wait_until

NOTE = """
entity: Note
doc: A note.
group: notes
key: id
fields:
  id: {type: id}
  owner: {type: id}
  slug: {type: string}
  state: {type: State, default: draft}
"""
ENDS = "retention: {when: state == 'public', after: 1d}\n"
VIEWS = """
views:
  all: {fields: [], order: created, why: everything}
  by_slug: {fields: [], order: slug, why: the index}
  by_owner: {fields: [owner], order: slug desc, why: the index of an owner}
  by_state: {fields: [state], order: created, why: lists}
"""
PACKAGE = generated(NOTE + VIEWS + ENDS)


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Stores in which nothing sweeps by itself, with five notes."""
    options: dict[str, Any] = {"retention": {"Note": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}
    with harness(request.param, f"texts-{request.param}", module=PACKAGE, **options) as opened:
        for number in range(5):
            opened.do(opened.db.notes.create(note(f"n{number}", slug="aab\0c"[number])))
        yield opened


def note(key: str, **more: Any) -> Any:
    return PACKAGE.Note(**{"id": key, "owner": "o", "slug": "s", **more})


def partition(stores: Harness) -> Any:
    return stores.db.session.context.keyspace.partition("notes")


def by_slug(stores: Harness) -> str:
    return str(partition(stores).view("Note", "by_slug", ()))


def listed(stores: Harness) -> list[str]:
    return [row.id for row in stores.do(stores.db.notes.by_slug().list())]


DAMAGES: dict[str, tuple[Callable[[Harness], Any], set[Kind]]] = {
    "an entry is missing": (
        lambda stores: stores.send(("ZREM", by_slug(stores), "a\0n0")),
        {Kind.MISSING_ENTRY},
    ),
    "the view is missing": (lambda stores: stores.send(("DEL", by_slug(stores))), {Kind.MISSING_ENTRY}),
    "a former value": (
        lambda stores: stores.send(("ZADD", by_slug(stores), 0, "former\0n0")),
        {Kind.WRONG_VALUE},
    ),
    "another value": (
        lambda stores: stores.send(("ZREM", by_slug(stores), "b\0n2"), ("ZADD", by_slug(stores), 0, "x\0n2")),
        {Kind.MISSING_ENTRY, Kind.WRONG_VALUE},
    ),
    "a row that never was": (
        lambda stores: stores.send(("ZADD", by_slug(stores), 0, "a\0ghost")),
        {Kind.STALE_ENTRY},
    ),
    "a member without a value": (
        lambda stores: stores.send(("ZADD", by_slug(stores), 0, "n1")),
        {Kind.WRONG_VALUE},
    ),
    "bytes that are no text": (
        lambda stores: stores.send(("ZADD", by_slug(stores), 0, b"\xff\0\xfe")),
        {Kind.STALE_ENTRY},
    ),
    "a score": (lambda stores: stores.send(("ZADD", by_slug(stores), 1, "a\0n0")), {Kind.WRONG_SCORE}),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_entry_is_named_and_repaired(stores: Harness, name: str) -> None:
    damage, kinds = DAMAGES[name]
    whole = stores.contents()
    damage(stores)
    report = stores.do(stores.db.check())
    assert {group.kind for group in report.drift} == kinds
    repairs = Repairs()
    stores.do(stores.db.session.run(reindex(stores.db.session.context, repairs)))
    assert repairs.complete
    assert stores.contents() == whole
    assert stores.do(stores.db.check()).clean
    assert listed(stores) == ["n3", "n0", "n1", "n2", "n4"]


@pytest.mark.parametrize("declared", [False, True])
def test_a_page_leaves_out_an_entry_without_a_document(stores: Harness, declared: bool) -> None:
    declare_keys(stores.db.session.context, declared)
    stores.send(("ZADD", by_slug(stores), 0, "a\0ghost"), ("DEL", partition(stores).document("Note", "n2")))
    assert listed(stores) == ["n3", "n0", "n1", "n4"]
    if not declared:
        members = stores.send(("ZRANGE", by_slug(stores), 0, -1))[0]
        assert members == [b"\x01\x01\0n3", b"a\0n0", b"a\0n1", b"c\0n4"], "the read has healed the view"


def test_an_entry_is_healed_only_while_its_row_is_missing(stores: Harness) -> None:
    """A page may have met an entry just before another process wrote its row."""
    entity = PACKAGE.PACKAGE.entities["Note"]
    rows = dangling_members(entity, entity.views["by_slug"], (), [b"a\0n0"])
    assert stores.do(stores.db.session.run(heal_entries(stores.db.session.context, rows))) == 0
    assert listed(stores) == ["n3", "n0", "n1", "n2", "n4"]


def test_a_range_is_one_trip(stores: Harness) -> None:
    for rows in (
        stores.db.notes.by_slug(),
        stores.db.notes.by_slug().between("a", "b"),
        stores.db.notes.by_owner("o").between("a", None),
        stores.db.notes.by_slug() | stores.db.notes.by_owner("o").reverse(),
    ):
        stores.do(rows.page())  # the server knows the scripts from here on
        with exchanges(stores, []) as sent:
            assert len(stores.do(rows.page())) > 0
        assert len(sent) == 1
        assert stores.do(rows.explain()).trips == 1


def test_a_transaction_sees_its_own_values(stores: Harness) -> None:
    for declared in (False, True):
        declare_keys(stores.db.session.context, declared)
        seen: dict[str, Any] = {}
        suffix = str(declared)

        def work(tx: Any, seen: dict[str, Any] = seen, suffix: str = suffix) -> Any:
            yield tx.notes.update("n1", slug="z")
            yield tx.notes.delete("n2")
            yield tx.notes.create(note("new" + suffix, slug="a\0"))
            yield tx.notes.create(note("n9" + suffix, slug="a"))
            yield tx.notes.update("n9" + suffix, slug="bb")
            rows = yield tx.notes.by_slug().list()
            seen["all"] = [row.id for row in rows]
            seen["desc"] = [row.id for row in (yield tx.notes.by_owner("o").page(limit=2))]
            seen["some"] = [row.id for row in (yield tx.notes.by_slug().between("a", "c").list())]
            seen["count"] = (yield tx.notes.by_slug().count()), (
                yield tx.notes.by_slug().between("a", "c").count()
            )
            first = yield tx.notes.by_slug().page(limit=2)
            seen["rest"] = [row.id for row in (yield tx.notes.by_slug().page(cursor=first.cursor))]

        stores.transact(work)
        new, late = "new" + suffix, "n9" + suffix
        assert seen == {
            "all": ["n3", "n0", new, late, "n4", "n1"],
            "desc": ["n1", "n4"],
            "some": ["n0", new, late, "n4"],
            "count": (6, 4),
            "rest": [new, late, "n4", "n1"],
        }
        assert listed(stores) == seen["all"]
        assert stores.do(stores.db.check()).clean
        stores.do(stores.db.notes.delete_many([new, late]))
        stores.do(stores.db.notes.upsert_many([note("n1", slug="a"), note("n2", slug="b")]))


def test_entries_of_a_freed_row_are_found_and_removed(stores: Harness) -> None:
    stores.do(stores.db.notes.update("n2", state="public"))
    document = partition(stores).document("Note", "n2")
    wait_until(lambda: stores.send(("EXISTS", document)) == [0])
    assert stores.do(stores.db.notes.by_slug().count()) == 4
    assert stores.do(stores.db.notes.by_slug().between("b", None).count()) == 1
    stores.do(stores.db.notes.create(note("n2", slug="new")))
    assert stores.send(("ZRANGE", by_slug(stores), 0, -1))[0][-1] == b"new\0n2"
    assert listed(stores) == ["n3", "n0", "n1", "n4", "n2"]
    assert stores.do(stores.db.check()).clean


def test_a_row_that_cannot_be_read_is_deleted_with_its_entries(stores: Harness) -> None:
    context = stores.db.session.context
    stores.send(("SET", partition(stores).document("Note", "n0"), b"{}"))
    entity = PACKAGE.PACKAGE.entities["Note"]
    assert stores.do(stores.db.session.run(discard_unreadable(context, entity, "n0"))) is True
    assert listed(stores) == ["n3", "n1", "n2", "n4"]
    assert stores.do(stores.db.check()).clean


def test_a_view_must_be_empty_for_a_row(stores: Harness) -> None:
    with pytest.raises(ViewNotEmptyError):
        stores.do(stores.db.notes.create(note("n5"), if_none="by_slug"))
    for number in range(5):
        stores.do(stores.db.notes.delete(f"n{number}"))
    stores.send(("ZADD", by_slug(stores), 0, "a\0ghost"))
    stores.do(stores.db.notes.create(note("n5"), if_none="by_slug"))
    assert listed(stores) == ["n5"]
    assert stores.do(stores.db.check()).clean
