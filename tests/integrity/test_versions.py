"""Two versions of the code on one namespace: what only one of them keeps is no drift for the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from keyweave.integrity import repair as repair_flows
from keyweave.integrity.drift import Kind
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.survey import RowSums
from tests.evolution.packages import ALL, BY_STATE, NOTE, OLD, SLUG, generated
from tests.harness import Harness, harness

NEW = NOTE + ALL + BY_STATE + SLUG
LATER = NOTE + ALL + BY_STATE.replace("order: created", "order: created\n    generation: 2")


@contextmanager
def opened(schema: str, name: str | Harness) -> Iterator[Harness]:
    with harness("sync", name, module=generated(schema), moment=0.001) as stores:
        yield stores


def note(schema: str, key: str) -> Any:
    return generated(schema).Note(id=key, owner="o", slug=key)


def test_an_index_that_is_not_built_is_not_compared_and_not_repaired() -> None:
    with opened(OLD, "versions") as old:
        for key in "abc":
            old.db.notes.create(note(OLD, key))
        with opened(NEW, old) as new:
            new.db.notes.create(note(NEW, "d"))
            report = new.db.check()
            assert report.clean, report.drift
            assert report.unbuilt == ("Note.by_state", "Note.slug")
            new.send(("DEL", new.db.session.context.keyspace.partition("notes").view("Note", "all", ())))
            repairs = Repairs()
            new.db.session.run(repair_flows.reindex(new.db.session.context, repairs))
            assert [(drift.where, number) for drift, number in repairs.mended.items()] == [("Note.all", 4)]
            assert new.db.check().clean


def test_indexes_of_other_code_are_no_foreign_keys() -> None:
    with opened(NEW, "versions") as new:
        new.db.notes.create(note(NEW, "a"))
        with opened(OLD, new) as old:
            report = old.db.check()
            assert report.clean, report.drift
            assert report.others == 2
            place = new.db.session.context.keyspace.partition("notes")
            old.send(("ZADD", f"{place.tag}Note.by_mood:x", 1, "a"))
            assert [drift.kind for drift in old.db.check().drift] == [Kind.FOREIGN_KEY]


def test_a_survey_that_marks_too_much_finds_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(NEW, "versions") as new:
        for key in "abc":
            new.db.notes.create(note(NEW, key))
        with opened(OLD, new) as old:
            # Marks are kept by hash, so other keys may share them.
            monkeypatch.setattr(RowSums, "close", lambda _: True)
            monkeypatch.setattr(RowSums, "marked", lambda *_: True)
            for stores in (new, old):
                report = stores.db.check()
                assert report.clean, report.drift


def test_a_later_generation_is_checked_and_repaired_under_its_own_keys() -> None:
    with opened(LATER, "versions") as later:
        later.db.notes.create(note(LATER, "a"))
        key = later.db.session.context.keyspace.partition("notes").view("Note", "by_state", ("draft",))
        assert ".by_state.2:" in key
        later.send(("ZADD", key, 1, "ghost"), ("ZREM", key, "a"))
        assert {drift.kind for drift in later.db.check().drift} == {Kind.STALE_ENTRY, Kind.MISSING_ENTRY}
        repairs = Repairs()
        later.db.session.run(repair_flows.reindex(later.db.session.context, repairs))
        assert repairs.complete
        assert later.db.check().clean
        assert later.send(("ZRANGE", key, 0, -1)) == [[b"a"]]


def test_rows_under_a_fields_old_name_are_no_drift_and_are_repaired() -> None:
    before = NOTE + ALL
    after = before.replace("  slug: {type: string}", "  title: {type: string, renamed_from: slug}")
    with opened(before, "versions") as old:
        old.db.notes.create(note(before, "a"))
        with opened(after, old) as new:
            report = new.db.check()
            assert report.clean, report.drift
            assert report.documents == 1
            place = new.db.session.context.keyspace.partition("notes")
            new.send(("DEL", place.view("Note", "all", ())))
            repairs = Repairs()
            new.db.session.run(repair_flows.reindex(new.db.session.context, repairs))
            assert [drift.where for drift in repairs.mended] == ["Note.all"]
            assert new.db.notes.get("a").title == "a"
