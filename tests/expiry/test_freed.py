"""Rows that the native TTL freed before any sweep: every rule of rows past their deadline applies to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from keyweave.errors import ReferenceViolationError
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from tests.depot import depot
from tests.evolution.packages import ALL, BY_STATE, NOTE, REMARK, SLUG, generated
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness
from tests.waiting import wait_until

ENDS = """
retention: {when: state == 'public', after: 1d}
"""
REPLY = (
    REMARK.replace("entity: Remark", "entity: Reply")
    .replace("note_id", "remark_id")
    .replace("by_note", "by_remark")
    .replace("entity: Note", "entity: Remark")
)
SCHEMA = (NOTE + ALL + BY_STATE + SLUG + ENDS, REMARK, REPLY)
PACKAGE = generated(*SCHEMA)


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Stores in which nothing sweeps by itself. The note `freed` is freed, and has remarks with a reply."""
    options: dict[str, Any] = {"retention": {"Note": AT_ONCE}, "grace_ms": 1, "sweep_every": 0}
    with harness(request.param, f"freed-{request.param}", module=PACKAGE, **options) as opened:
        for key in ("freed", "stays"):
            opened.do(opened.db.notes.create(note(key)))
            for number in range(3):
                opened.do(opened.db.remarks.create(PACKAGE.Remark(id=f"{key}{number}", note_id=key)))
            opened.do(opened.db.replies.create(PACKAGE.Reply(id=f"{key}-reply", remark_id=f"{key}0")))
        opened.do(opened.db.notes.change("freed", lambda row: setattr(row, "state", "public")))
        wait_until_freed(opened, "freed")
        yield opened


def note(key: str, **more: Any) -> Any:
    return PACKAGE.Note(**{"id": key, "owner": "o", "slug": f"slug of {key}", **more})


def wait_until_freed(stores: Harness, key: str) -> None:
    document = stores.db.session.context.keyspace.partition("notes").document("Note", key)
    wait_until(lambda: stores.send(("EXISTS", document)) == [0])


def remarks(stores: Harness) -> list[str]:
    """Keys of the remarks that are left, and of the replies, as documents."""
    partition = stores.db.session.context.keyspace.partition("notes")
    return sorted(
        name.removeprefix(partition.tag)
        for name in stores.contents()
        if name.startswith((f"{partition.tag}Remark:", f"{partition.tag}Reply:"))
    )


LEFT = ["Remark:stays0", "Remark:stays1", "Remark:stays2", "Reply:stays-reply"]


def test_a_sweep_removes_the_family_of_a_freed_row(stores: Harness) -> None:
    stats = stores.db.session.context.state.stats
    assert stores.do(stores.db.sweep()) == 5  # the note, its remarks, and the reply
    assert remarks(stores) == LEFT
    assert stats.swept == 1
    report = stores.do(stores.db.check())
    assert (report.clean, report.unswept) == (True, 0)


WAYS: dict[str, Callable[[Harness], Any]] = {
    "create": lambda stores: stores.do(stores.db.notes.create(note("freed"))),
    "upsert": lambda stores: stores.do(stores.db.notes.upsert(note("freed"))),
    "transaction": lambda stores: stores.transact(_create_in_transaction),
}


def _create_in_transaction(tx: Any) -> Any:
    yield tx.notes.create(note("freed"))
    yield tx.remarks.create(PACKAGE.Remark(id="own", note_id="freed"))


@pytest.mark.parametrize("way", WAYS)
def test_a_new_row_of_the_same_key_inherits_nothing(stores: Harness, way: str) -> None:
    WAYS[way](stores)
    own = ["own"] if way == "transaction" else []
    assert [row.id for row in stores.do(stores.db.remarks.by_note("freed").list())] == own
    assert remarks(stores) == sorted([*LEFT, *(f"Remark:{key}" for key in own)])
    assert stores.do(stores.db.notes.by_state("public").page()).rows == []
    assert stores.do(stores.db.check()).clean


def test_what_waits_for_a_sweep_is_no_drift_and_a_repair_removes_it(stores: Harness) -> None:
    report = stores.do(stores.db.check())
    assert (dict(report.drift), report.unswept) == ({}, 1)
    repairs = Repairs()
    stores.do(stores.db.session.run(reindex(stores.db.session.context, repairs)))
    assert (repairs.complete, repairs.forgotten, repairs.mended.total()) == (True, 1, 0)
    assert remarks(stores) == LEFT
    assert stores.do(stores.db.check()).clean


def test_a_reference_to_a_row_that_never_was_is_still_drift(stores: Harness) -> None:
    partition = stores.db.session.context.keyspace.partition("notes")
    stores.send(("DEL", partition.document("Note", "stays")))
    report = stores.do(stores.db.check())
    assert "Remark.note_id" in {group.where for group in report.drift}


def test_a_freed_row_counts_its_delay_as_a_swept_one_does(stores: Harness) -> None:
    spent: list[tuple[str, float]] = []

    class Sink:
        def count(self, metric: str, number: int, entity: str = "", reason: str = "") -> None: ...

        def record_duration(self, metric: str, seconds: float, entity: str = "") -> None:
            spent.append((metric, seconds))

    stores.db.session.context.state.stats.sink = Sink()
    stores.do(stores.db.sweep())
    assert [metric for metric, _ in spent] == ["keyweave.sweep.delay"]
    assert 0 < spent[0][1] < 600


def test_its_unique_value_is_free(stores: Harness) -> None:
    stores.do(stores.db.notes.create(note("other", slug="Slug of freed")))
    assert stores.do(stores.db.notes.get_by_slug("slug of freed")).id == "other"
    stores.do(stores.db.sweep())
    assert stores.do(stores.db.notes.get_by_slug("slug of freed")).id == "other"
    assert stores.do(stores.db.check()).clean


@pytest.mark.parametrize("freed", [True, False], ids=["freed", "ended"])
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_an_ended_row_does_not_block_the_build_of_a_unique_constraint(flavour: str, freed: bool) -> None:
    before = (NOTE + ALL + BY_STATE + ENDS, REMARK, REPLY)
    options: dict[str, Any] = {
        "retention": {"Note": AT_ONCE},
        "grace_ms": 1 if freed else 60_000,
        "sweep_every": 0,
    }
    with ExitStack() as stack:
        old = stack.enter_context(harness(flavour, "built", module=generated(*before), **options))
        for key, state in (("a", "draft"), ("m", "public"), ("z", "draft")):
            slug = "same" if key in "am" else "other"
            row = generated(*before).Note(id=key, owner="o", slug=slug, state=state)
            old.do(old.db.notes.create(row))
        for number in range(20):
            row = generated(*before).Note(id=f"e{number}", owner="o", slug="other", state="public")
            old.do(old.db.notes.create(row))
        if freed:
            wait_until_freed(old, "m")
            wait_until_freed(old, "e19")
        new = stack.enter_context(harness(flavour, old, module=PACKAGE, **options))
        build = Build()
        new.do(new.db.session.run(backfill(new.db.session.context, build)))
        assert (build.complete, build.collisions) == (True, {})
        assert new.do(new.db.notes.get_by_slug("same")).id == "a"
        assert new.do(new.db.notes.get_by_slug("other")).id == "z"
        assert new.do(new.db.check()).clean
        new.do(new.db.sweep())
        assert new.do(new.db.notes.get_by_slug("same")).id == "a"
        assert new.do(new.db.check()).clean


@pytest.fixture(params=FLAVOURS)
def shelves(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Stores with the freed shelves `held` and `free`, each with a box. A live seal restricts the removal of the first box.

    The schema has no retention that restrict would block, as one of an earlier version may have had.
    """
    with harness(request.param, f"shelves-{request.param}", module=depot(), sweep_every=0) as opened:
        partition = opened.db.session.context.keyspace.partition("goods")
        for key in ("held", "free"):
            opened.do(opened.db.shelfs.create(depot().Shelf(id=key)))
            opened.do(opened.db.boxes.create(depot().Box(id=key, shelf_id=key)))
            opened.send(
                ("DEL", partition.document("Shelf", key)),
                ("ZADD", partition.expiry, 1700000000000000, f"Shelf:{key}"),
            )
        opened.do(opened.db.seals.create(depot().Seal(id="seal", box_id="held")))
        yield opened


def boxes(stores: Harness) -> list[str]:
    prefix = stores.db.session.context.keyspace.partition("goods").document("Box", "")
    return sorted(name.removeprefix(prefix) for name in stores.contents() if name.startswith(prefix))


def test_a_freed_row_whose_family_is_restricted_stays_and_the_others_go(shelves: Harness) -> None:
    for removed in (2, 0):
        assert shelves.do(shelves.db.sweep()) == removed
        assert boxes(shelves) == ["held"]
    shelves.do(shelves.db.seals.delete("seal"))
    assert shelves.do(shelves.db.sweep()) == 2
    assert boxes(shelves) == []
    report = shelves.do(shelves.db.check())
    assert (report.clean, report.unswept) == (True, 0)


def test_a_freed_row_whose_family_cannot_be_read_stays_and_the_others_go(shelves: Harness) -> None:
    name = shelves.db.session.context.keyspace.partition("goods").document("Box", "held")
    (document,) = shelves.send(("GET", name))
    shelves.do(shelves.db.seals.delete("seal"))
    shelves.send(("SET", name, document.replace(b'"shelf_id":"held"', b'"shelf_id":1')))
    assert shelves.do(shelves.db.sweep()) == 2
    assert boxes(shelves) == ["held"]
    shelves.send(("SET", name, document))
    assert shelves.do(shelves.db.sweep()) == 2
    assert boxes(shelves) == []
    assert shelves.do(shelves.db.check()).clean


def _create_shelves(tx: Any) -> Any:
    yield tx.shelfs.create(depot().Shelf(id="held"))
    yield tx.shelfs.create(depot().Shelf(id="more"))


CREATING: dict[str, Callable[[Harness], Any]] = {
    "one row": lambda stores: stores.do(stores.db.shelfs.create(depot().Shelf(id="held"))),
    "transaction": lambda stores: stores.transact(_create_shelves),
}


@pytest.mark.parametrize("way", CREATING)
def test_no_row_is_created_under_the_key_of_a_freed_one_whose_family_is_restricted(
    shelves: Harness, way: str
) -> None:
    with pytest.raises(ReferenceViolationError, match="Seal"):
        CREATING[way](shelves)
    assert boxes(shelves) == ["free", "held"]
    shelves.do(shelves.db.seals.delete("seal"))
    shelves.do(shelves.db.shelfs.create(depot().Shelf(id="held")))
    assert boxes(shelves) == ["free"]
    assert shelves.do(shelves.db.sweep()) == 2
    assert shelves.do(shelves.db.check()).clean
