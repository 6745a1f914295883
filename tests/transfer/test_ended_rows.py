"""An import is not blocked by rows that have ended: past their deadline, or freed by their native TTL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyweave.transfer.load import Imported, load
from tests.evolution.packages import ALL, BY_STATE, NOTE, REMARK, SLUG, generated
from tests.harness import AT_ONCE, FLAVOURS, Harness, harness
from tests.waiting import wait_until

SCHEMA = (NOTE + ALL + BY_STATE + SLUG + "\nretention: {when: state == 'public', after: 1d}\n", REMARK)
PACKAGE = generated(*SCHEMA)
LIVE: dict[str, Any] = {"grace_ms": 60_000, "sweep_every": 0}


def note(key: str, **more: Any) -> Any:
    return PACKAGE.Note(**{"id": key, "owner": "o", "slug": f"slug of {key}", **more})


def document(stores: Harness, key: str) -> bytes:
    name = stores.db.session.context.keyspace.partition("notes").document("Note", key)
    (found,) = stores.send(("GET", name))
    return bytes(found)


@pytest.fixture(params=FLAVOURS)
def exported(request: pytest.FixtureRequest) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    with harness(request.param, "exported", module=PACKAGE, **LIVE) as source:
        for key in ("a", "b", "c"):
            source.do(source.db.notes.create(note(key)))
        yield request.param, [("Note", document(source, key)) for key in ("a", "b", "c")]


@contextmanager
def ended(flavour: str, *, freed: bool) -> Iterator[Harness]:
    """Stores with three ended rows: one has an id of the export, two have its unique values; one has a remark."""
    options: dict[str, Any] = {
        "retention": {"Note": AT_ONCE},
        "grace_ms": 1 if freed else 60_000,
        "sweep_every": 0,
    }
    with harness(flavour, "ended", module=PACKAGE, **options) as target:
        for key, slug in (("a", "own"), ("x", "slug of b"), ("y", "slug of c")):
            target.do(target.db.notes.create(note(key, slug=slug)))
            target.do(target.db.remarks.create(PACKAGE.Remark(id=f"remark of {key}", note_id=key)))
            target.do(target.db.notes.change(key, lambda row: setattr(row, "state", "public")))
        partition = target.db.session.context.keyspace.partition("notes")
        if freed:
            names = [partition.document("Note", key) for key in "axy"]
            wait_until(lambda: target.send(("EXISTS", *names)) == [0])
        yield target


@pytest.mark.parametrize("freed", [True, False], ids=["freed", "ended"])
@pytest.mark.parametrize("together", [True, False], ids=["one plan", "row by row"])
def test_ended_rows_make_way(
    exported: tuple[str, list[tuple[str, bytes]]], freed: bool, together: bool
) -> None:
    flavour, lines = exported
    with ended(flavour, freed=freed) as target:
        imported, op = Imported(), "import"
        for part in [lines] if together else [[line] for line in lines]:
            target.do(target.db.session.run(load(target.db.session.context, part, op, imported)))
        assert (imported.written, imported.conflicts) == (3, 0)
        assert [row.slug for row in target.do(target.db.notes.get_many(["a", "b", "c"]))] == [
            "slug of a",
            "slug of b",
            "slug of c",
        ]
        assert target.do(target.db.remarks.by_note("a").list()) == []
        target.do(target.db.sweep())
        report = target.do(target.db.check())
        assert report.clean, report.drift
        assert {name for name in target.contents() if ":Remark:" in name} == set()
        again = Imported()
        target.do(target.db.session.run(load(target.db.session.context, lines, op, again)))
        assert (again.present, again.conflicts) == (3, 0)


def test_live_rows_do_not_make_way(exported: tuple[str, list[tuple[str, bytes]]]) -> None:
    flavour, lines = exported
    with harness(flavour, "live", module=PACKAGE, **LIVE) as target:
        target.do(target.db.notes.create(note("a", slug="own")))
        target.do(target.db.notes.create(note("x", slug="slug of b")))
        imported = Imported()
        target.do(target.db.session.run(load(target.db.session.context, lines, "import", imported)))
        assert (imported.written, imported.conflicts) == (1, 2)
        assert target.do(target.db.check()).clean
