"""References with restrict: a row with a referring row is not deleted, and a refused delete changes nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from keyweave.errors import ReferenceViolationError
from tests.depot import depot
from tests.harness import FLAVOURS, Harness, harness


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A shelf with two boxes, the second of which is sealed. Plans delete at most four rows."""
    with harness(request.param, request.node.name, module=depot(), chunk=4) as opened:
        opened.do(opened.db.shelfs.create(shelf("s")))
        for key in ("a", "b"):
            opened.do(opened.db.boxes.create(box(key)))
        opened.do(opened.db.seals.create(seal("x", "b")))
        yield opened


def shelf(key: str) -> Any:
    return depot().Shelf(id=key)


def box(key: str) -> Any:
    return depot().Box(id=key, shelf_id="s")


def seal(key: str, of: str | None) -> Any:
    return depot().Seal(id=key, box_id=of)


def refuse(stores: Harness, delete: Any) -> None:
    before = stores.contents()
    with pytest.raises(ReferenceViolationError) as caught:
        stores.do(delete())
    assert (caught.value.entity, caught.value.field, caught.value.target) == ("Box", "box_id", "Seal")
    assert stores.contents() == before
    assert stores.do(stores.db.check()).clean


def test_a_row_with_a_restricting_reference_is_not_deleted(stores: Harness) -> None:
    refuse(stores, lambda: stores.db.boxes.delete("b"))
    stores.do(stores.db.boxes.delete("a"))
    stores.do(stores.db.seals.delete("x"))
    stores.do(stores.db.boxes.delete("b"))
    assert stores.do(stores.db.check()).documents == 1


def test_a_parent_of_a_restricted_row_is_not_deleted_and_neither_are_its_children(stores: Harness) -> None:
    refuse(stores, lambda: stores.db.shelfs.delete("s"))


def test_a_restricted_family_too_large_for_one_step_is_refused_before_the_first_removal(
    stores: Harness,
) -> None:
    for number in range(20):
        stores.do(stores.db.boxes.create(box(f"before{number}")))
    refuse(stores, lambda: stores.db.shelfs.delete("s"))
    stores.do(stores.db.seals.delete("x"))
    stores.do(stores.db.shelfs.delete("s"))
    assert stores.contents() == {}


def test_many_restricting_references_to_one_row_are_refused_too(stores: Harness) -> None:
    for number in range(9):
        stores.do(stores.db.seals.create(seal(f"x{number}", "b")))
    refuse(stores, lambda: stores.db.boxes.delete("b"))
    refuse(stores, lambda: stores.db.shelfs.delete("s"))


@pytest.mark.parametrize("how", ["delete", "move", "clear"])
def test_a_transaction_that_removes_the_restricting_row_may_delete(stores: Harness, how: str) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        if how == "delete":
            yield tx.seals.delete("x")
        else:
            target = "a" if how == "move" else None
            yield tx.seals.change("x", lambda row: setattr(row, "box_id", target))
        yield tx.boxes.delete("b")

    stores.transact(steps)
    assert stores.do(stores.db.boxes.find("b")) is None
    found = stores.do(stores.db.seals.find("x"))
    assert (found.box_id if found else "gone") == {"delete": "gone", "move": "a", "clear": None}[how]
    assert stores.do(stores.db.check()).clean


@pytest.mark.parametrize("how", ["create", "move"])
def test_a_transaction_that_adds_a_restricting_row_may_not_delete(stores: Harness, how: str) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        if how == "create":
            yield tx.seals.create(seal("new", "a"))
        else:
            yield tx.seals.change("x", lambda row: setattr(row, "box_id", "a"))
        yield tx.boxes.delete("a")

    refuse(stores, lambda: stores.transact(steps))


def test_a_transaction_can_continue_after_a_refused_delete(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, None]:
        with pytest.raises(ReferenceViolationError):
            yield tx.shelfs.delete("s")
        yield tx.boxes.delete("a")

    stores.transact(steps)
    assert [stores.do(stores.db.boxes.find(key)) is not None for key in ("a", "b")] == [False, True]
    assert stores.do(stores.db.shelfs.find("s")) is not None
    assert stores.do(stores.db.check()).clean


def test_a_restricting_row_that_is_added_before_the_commit_refuses_the_delete(stores: Harness) -> None:
    """The delete of the box is guarded by the seals that it read; when it runs again, it is refused."""
    late = iter(["late"])

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.boxes.delete("a")
        for key in late:
            yield stores.db.seals.create(seal(key, "a"))

    with pytest.raises(ReferenceViolationError):
        stores.transact(steps)
    assert stores.do(stores.db.boxes.find("a")) is not None
    assert stores.do(stores.db.check()).clean
