"""A calendar: every form of expression decides what may be stored, and slots are taken once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import CheckViolationError, ReferenceViolationError
from tests.generator.accepted.stage import Stage

CASE = "booking"
NINE = datetime(2024, 2, 29, 9, tzinfo=UTC)
HOUR = timedelta(hours=1)


def room(stage: Stage, **more: Any) -> Any:
    given = {
        "name": "Attic",
        "floor": -2,
        "seats": 4,
        "standing": 6,
        "width": 2.0,
        "depth": 3.0,
        "locked": True,
        "access_code": b"\x00123",
    }
    return stage.package.Room(**{**given, **more})


def booking(stage: Stage, **more: Any) -> Any:
    given = {
        "id": "b1",
        "room": "Attic",
        "kind": stage.package.Kind("meeting"),
        "starts": NINE,
        "ends": NINE + HOUR,
        "length": HOUR,
        "setup": HOUR / 2,
        "reminded_at": NINE,
        "title": "Plans",
        "host": "Ada",
        "deputy": "Bob",
        "guests": ["Cy"],
        "meals": {"tea": 2, "cake": 1},
        "costs": 12.5,
        "paid": 12.0,
        "cancelled": True,
        "confirmed": False,
    }
    if "kind" in more:
        more["kind"] = stage.package.Kind(more["kind"])
    return stage.package.Booking(**{**given, **more})


def test_a_calendar_at_work(stage: Stage) -> None:
    attic, first = room(stage), booking(stage)
    for record in (attic, first):
        stage.create(record)
        stage.visit(record)
        stage.write_again(record)
    assert "access_code=<secret>" in repr(stage.rooms.get("Attic"))
    for field in ("starts", "ends", "reminded_at"):
        assert getattr(stage.bookings, f"touch_{field}")("b1", NINE - HOUR) is True
    assert stage.bookings.get("b1") == first
    with pytest.raises(ReferenceViolationError, match="room"):
        stage.rooms.delete("Attic")
    stage.remove(first, attic)
    stage.finish()


def test_the_calendar_of_a_room_is_in_order(stage: Stage) -> None:
    stage.create(room(stage))
    for key, hour in {"noon": 12, "dawn": 6, "night": 22}.items():
        starts = NINE.replace(hour=hour)
        length = timedelta(minutes=hour)
        stage.bookings.create(
            booking(
                stage,
                id=key,
                starts=starts,
                ends=starts + length,
                length=length,
                setup=None,
                reminded_at=None,
                title=key,
            )
        )
    day = [row.id for row in stage.bookings.by_room("Attic").reverse()]
    assert day == ["dawn", "noon", "night"]
    assert [row.id for row in stage.bookings.by_room_created("Attic")] == ["night", "dawn", "noon"]
    meeting = stage.package.Kind.MEETING
    longest = stage.bookings.where(kind=meeting, room="Attic").order_by("length").page(limit=2)
    assert [row.id for row in longest.rows] == ["night", "noon"]
    rest = stage.bookings.where(kind=meeting, room="Attic").order_by("length").page(cursor=longest.cursor)
    assert [row.id for row in rest.rows] == ["dawn"]
    assert stage.bookings.by_room_kind("Attic").group_counts() == {meeting: 3}
    assert (
        stage.rooms.where(floor=-2).having(stage.bookings.where(host="Ada")).order_by("seats").page().rows
        != []
    )


def test_a_slot_and_a_host_are_unique(stage: Stage) -> None:
    stage.create(room(stage), room(stage, name="Cellar"), booking(stage))
    with pytest.raises(stage.package.SlotTakenError) as slot:
        stage.bookings.create(booking(stage, id="b2", host="Eve"))
    assert slot.value.fields == ("room", "starts")
    with pytest.raises(stage.package.HostBusyError) as host:
        stage.bookings.create(booking(stage, id="b2", room="Cellar", host="ADA", title="plans"))
    assert host.value.fields == ("host", "title")
    stage.bookings.create(booking(stage, id="b2", room="Cellar", host=None, deputy=None))
    assert stage.bookings.get_by_start("Cellar", NINE).id == "b2"
    assert stage.bookings.find_by_host("aDa", "pLANS").id == "b1"
    assert stage.bookings.find_by_start("Cellar", NINE + HOUR) is None


BARE: dict[str, Any] = {"guests": [], "meals": {}, "host": None, "deputy": None}


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"seats": 0}, "some_seats"),
        ({"seats": 41, "standing": None}, "some_seats"),
        ({"standing": 5}, "room_to_stand"),
        ({"seats": 5, "standing": 7}, "floor_space"),
        ({"seats": 2, "standing": 4}, "not_too_deep"),
        ({"seats": 3, "floor": -3, "standing": 5}, "not_too_deep"),
        ({"access_code": None}, "locked_has_a_code"),
        ({"access_code": b"123"}, "locked_has_a_code"),
        ({"locked": False}, "unlocked_has_no_code"),
    ],
)
def test_a_room_breaks_a_check(stage: Stage, change: dict[str, Any], check: str) -> None:
    with pytest.raises(CheckViolationError) as caught:
        stage.rooms.create(room(stage, **change))
    assert caught.value.rule == check
    stage.rooms.create(room(stage))


@pytest.mark.parametrize(
    ("change", "check"),
    [
        ({"ends": NINE}, "ends_later"),
        ({"reminded_at": NINE + HOUR}, "reminded_before"),
        ({"setup": HOUR}, "setup_is_short"),
        ({**BARE, "kind": "cleaning", "guests": ["Cy"]}, "guests_are_expected"),
        ({**BARE, "kind": "cleaning", "host": "Ada"}, "cleaning_is_anonymous"),
        ({"kind": "party", "title": ""}, "parties_have_a_title"),
        ({"meals": {"a": 1, "b": 1, "c": 1}}, "meals_for_all"),
        ({"host": None}, "deputy_is_another"),
        ({"deputy": "Ada"}, "deputy_is_another"),
        ({"paid": 11.0}, "paid_enough"),
        ({**BARE, "kind": "cleaning"}, "kinds_that_cost"),
        ({"cancelled": False}, "confirmed_or_alive"),
    ],
)
def test_a_booking_breaks_a_check(stage: Stage, change: dict[str, Any], check: str) -> None:
    stage.create(room(stage))
    with pytest.raises(CheckViolationError) as caught:
        stage.bookings.create(booking(stage, **change))
    assert caught.value.rule == check
    assert stage.bookings.by_room("Attic").count() == 0


@pytest.mark.parametrize(
    "change",
    [
        {"setup": None, "reminded_at": None, "paid": None, "confirmed": None},
        {**BARE, "kind": "cleaning", "costs": 0.0, "paid": 0.0},
        {**BARE, "kind": "cleaning", "costs": 0.0, "paid": None, "title": ""},
        {"kind": "party", "confirmed": True, "cancelled": False},
        {"deputy": None, "guests": [], "meals": {"tea": 1}},
    ],
)
def test_a_booking_that_keeps_every_check_is_stored(stage: Stage, change: dict[str, Any]) -> None:
    stage.create(room(stage))
    assert stage.bookings.create(booking(stage, **change)) == stage.bookings.get("b1")


def test_a_room_without_a_lock_is_stored(stage: Stage) -> None:
    plain = room(stage, locked=False, access_code=None, standing=None, floor=0)
    assert stage.rooms.create(plain) == stage.rooms.get("Attic")
