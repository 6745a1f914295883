"""A museum: the schema that uses every key of the language makes a store that works."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import CheckViolationError, ReferenceViolationError, ValidationError
from tests.generator.accepted.stage import Stage

CASE = "complete"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def gallery(stage: Stage, name: str = "East") -> Any:
    return stage.package.Gallery(name=name, opened_at=NOON, changed_at=NOON)


def part(stage: Stage, **more: Any) -> Any:
    given = {"name": " Bowl ", "maker": "Ada", "shelf": "s", "since": NOON, "until": timedelta(hours=1)}
    return stage.package.Part(**{**given, **more})


def exhibit(stage: Stage, key: str = "1", **more: Any) -> Any:
    """An exhibit with a value in every field that does not refer to another one."""
    crate = stage.package.Crate(label=" fragile ", price=4711)
    given = {
        "id": key,
        "gallery": "East",
        "title": f" Vase {key} ",
        "seal": key.encode() * 8,
        "sealed": True,
        "height": 2.5,
        "width": 2,
        "opens": NOON.time(),
        "tags": {"a", "b"},
        "turn": timedelta(seconds=int(key)),
        "found_at": NOON,
        "notes": {"a": [1, None]},
        "state": stage.package.State.STORED,
        "parts": [part(stage)],
        "crates": {"a": [crate]},
        "largest": crate,
        "marks": ["red", "old"],
        "states": [stage.package.State.STORED],
    }
    return stage.package.Exhibit(**{**given, **more})


def test_a_museum_at_work(stage: Stage) -> None:
    east, vase, lid = gallery(stage), exhibit(stage), exhibit(stage, "2", part_of="1")
    stage.create(east)
    stage.exhibits.create(vase)
    visit = stage.package.Visit(ends_at=datetime(2100, 1, 1, tzinfo=UTC))
    stage.create(lid, visit)
    stage.visit(visit)
    stage.write_again(visit)
    assert stage.callers.touch_ends_at(visit.number) is True
    museum = stage.package
    desk, ticket = museum.Desk(number=-5), museum.Ticket(
        grade=museum.Grade.E_ACUTE, at=" ", holder=visit.number, desk=-5
    )
    stage.create(desk, ticket)
    for record in (ticket, desk):
        stage.visit(record)
        stage.write_again(record)
    for record in (east, vase, lid):
        stage.visit(record)
        stage.write_again(record)
    assert [row.id for row in stage.exhibits.tree("1")] == ["1", "2"]
    merged = stage.exhibits.merge_parts("1", [part(stage, name="bowl", maker="ADA", since=NOON, number=2)])
    assert [each.number for each in merged.parts] == [3]
    assert stage.exhibits.touch_found_at("1") is True
    with pytest.raises(ReferenceViolationError, match="gallery"):
        stage.galleries.delete("East")
    stage.remove(stage.exhibits.get("1"))
    assert stage.exhibits.find("2") is None
    stage.remove(stage.tickets.get(*stage.arguments_of(ticket)), desk)
    stage.remove(east, visit)
    stage.finish()


def test_records_inside_are_normalized_and_texts_are_kept(stage: Stage) -> None:
    museum = stage.package
    stage.create(gallery(stage))
    stage.exhibits.create(exhibit(stage))
    stored = stage.exhibits.get("1")
    crate = stored.crates["a"][0]
    assert (stored.title, crate.label, crate.total) == ("Vase 1", "fragile", -2355.5)
    assert crate == stored.largest and "4711" not in repr(stored)
    assert stored.parts[0].note == "" and stored.parts[0].colours == []
    least = museum.Exhibit(id="9", gallery="East", seal=b"12345678", height=2.0, turn=timedelta(0))
    assert (least.title, least.state) == ('it\'s "new"\n\tand on two lines', museum.State.ON_LOAN)
    assert museum.Part(name="x", shelf="s", since=NOON).maker == 'plain "text" and a \\ backslash'
    assert str(museum.__doc__).startswith(
        'Galleries, "exhibits" and C:\\temp\\new; the doc ends with a "quote"'
    )


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"title": "secret"}, "no_open_secret"),
        ({"gallery": "\\"}, "no_backslash"),
        ({"seal": b"short"}, "no_backslash"),
        ({"height": 1.5}, "of_a_size"),
        ({"height": 90.0}, "of_a_size"),
        ({"width": 1}, "wide_enough"),
        ({"width": None}, "wide_enough"),
        ({"state": 'on "loan"'}, "found_when_shown"),
    ],
)
def test_every_check_is_made(stage: Stage, change: dict[str, Any], rule: str) -> None:
    stage.create(gallery(stage))
    if "state" in change:
        change = {"state": stage.package.State(change["state"])}
    with pytest.raises(CheckViolationError) as caught:
        stage.exhibits.create(exhibit(stage, **change))
    assert caught.value.rule == rule


def test_errors_have_the_names_that_were_picked(stage: Stage) -> None:
    museum = stage.package
    stage.create(gallery(stage))
    with pytest.raises(museum.GalleryExistsError):
        stage.galleries.create(gallery(stage))
    with pytest.raises(museum.NoSuchGalleryError):
        stage.galleries.get("West")
    with pytest.raises(ValidationError, match="name"):
        stage.galleries.create(gallery(stage, "east"))
    stage.exhibits.create(exhibit(stage))
    stage.exhibits.create(exhibit(stage, "2", part_of="1"))
    with pytest.raises(museum.SameTitleError):
        stage.exhibits.create(exhibit(stage, "3", part_of="1", title="VASE 2"))
