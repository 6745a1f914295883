"""A fleet of devices: every type is read back unchanged, alone, in lists and in maps, and every type is looked up."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from keyweave.errors import UniqueViolationError, ValidationError
from tests.generator.accepted.stage import Stage

CASE = "fleet"
SEEN = datetime(2024, 2, 29, 12, 30, 15, 123457, UTC)
KATHMANDU = timezone(timedelta(hours=5, minutes=45))


def device(stage: Stage, serial: str = "AB-1", **more: Any) -> Any:
    fleet = stage.package
    harbour = fleet.Place(latitude=53.5, longitude=-9.75, altitude=-3)
    track = fleet.Track(name=" North ", places=[harbour, harbour], stops={"a:b": harbour}, start=harbour)
    given = {
        "serial": serial,
        "label": "Pump % 1",
        "owner": "o:1",
        "firmware": 2**60,
        "battery": 0.1,
        "offset": -1e-300,
        "online": True,
        "last_seen": SEEN,
        "uptime": timedelta(days=400, microseconds=1),
        "fingerprint": b"\x00\xff:%",
        "settings": {"a": [1, 2.5, {}, [], None, True, "ü\0"], "": 2**70},
        "mode": fleet.Mode.LOW_POWER,
        "place": harbour,
        "track": track,
        "note": "",
        "channel": -7,
        "humidity": 1e300,
        "rented": False,
        "serviced_at": datetime(1969, 7, 20, 20, 17, 40, tzinfo=KATHMANDU),
        "alarm_after": timedelta(microseconds=-1),
        "badge": b"",
        "extra": [[]],
        "previous": fleet.Mode.IDLE,
        "alarms": [],
        "limits": {"": math.pi},
    }
    return fleet.Device(**{**given, **more})


def telemetry(stage: Stage, key: str, size: int) -> Any:
    """A report with `size` elements in every list and map."""
    fleet = stage.package
    place = fleet.Place(latitude=-90, longitude=180)
    elements: dict[str, list[Any]] = {
        "texts": ["", "a:%{}\0ü"],
        "ids": ["x", " "],
        "ints": [0, -(2**63)],
        "floats": [0.1, -1e300],
        "flags": [False, True],
        "moments": [SEEN, datetime(1, 1, 1, tzinfo=UTC)],
        "spans": [timedelta(0), timedelta(days=-1, microseconds=1)],
        "blobs": [b"", b"\x00\xff"],
        "extras": [None, {"deep": [{}, [], 1.5]}],
        "modes": [fleet.Mode.ACTIVE, fleet.Mode.LOW_POWER],
        "places": [place, fleet.Place(latitude=0, longitude=0, altitude=8848)],
    }
    lists = {name: values[:size] for name, values in elements.items()}
    maps = {f"{name}_by_name": {str(n): value for n, value in enumerate(lists[name])} for name in elements}
    return fleet.Telemetry(
        id=key,
        device="AB-1",
        routes=[[], [{"a": [fleet.Track(name=" South ", places=[place])], "b": []}]][:size],
        rows=[[], [0.5, 1.0]][:size],
        tables=[{"a": 1}, {}],
        rows_by_name={"a": [timedelta(1)], "b": []} if size else {},
        tables_by_name={"": {"a": SEEN}, "b": {}},
        **lists,
        **maps,
    )


def test_a_fleet_at_work(stage: Stage) -> None:
    one = device(stage)
    reports = [telemetry(stage, f"t{size}", size) for size in range(3)]
    for record in (one, *reports):
        stage.create(record)
        stage.visit(record)
        stage.write_again(record)
    assert stage.devices.where().having(stage.telemetries.where(id="t2")).page().rows == [
        stage.devices.get("AB-1")
    ]
    assert stage.devices.touch_last_seen("AB-1") is True
    assert stage.devices.touch_serviced_at("AB-1") is True
    touched = stage.devices.get("AB-1")
    assert touched.last_seen == touched.serviced_at or touched.last_seen < touched.serviced_at
    assert touched.last_seen > SEEN
    stage.remove(reports[0], one)
    assert stage.telemetries.by_device("AB-1").count() == 0
    stage.finish()


def test_the_moment_of_another_zone_is_the_same_moment(stage: Stage) -> None:
    stage.create(device(stage))
    landing = datetime(1969, 7, 20, 14, 32, 40, tzinfo=UTC)
    assert stage.devices.get("AB-1").serviced_at == landing
    assert stage.devices.by_serviced(landing).count() == 1
    assert stage.devices.get_by_service(landing, timedelta(microseconds=-1)).serial == "AB-1"


def test_the_least_of_a_device_has_its_defaults(stage: Stage) -> None:
    fleet = stage.package
    given = {"serial": "XY-0", "last_seen": SEEN, "uptime": timedelta(0), "fingerprint": b"1234"}
    least = fleet.Device(**given, settings=None, place=fleet.Place(latitude=0, longitude=0))
    assert stage.devices.create(least) == stage.devices.get("XY-0")
    stage.visit(least)
    assert (least.label, least.firmware, least.battery, least.offset) == ("unnamed", 1, 100.0, -0.5)
    assert (least.online, least.mode, least.place.altitude) == (False, fleet.Mode.IDLE, None)
    assert {type(least.battery), type(least.offset)} == {float}
    unset = [
        "owner", "track", "note", "channel", "humidity", "rented", "serviced_at", "alarm_after", "badge", "extra",
        "previous", "alarms", "limits",
    ]  # fmt: skip
    assert {getattr(least, name) for name in unset} == {None}


def test_every_kind_of_order_is_kept(stage: Stage) -> None:
    for n, serial in enumerate(["AA-1", "AA-2", "AA-3"]):
        stage.devices.create(
            device(
                stage,
                serial,
                label=serial,
                fingerprint=serial.encode(),
                channel=n,
                serviced_at=None,
                uptime=timedelta(microseconds=n),
                last_seen=SEEN + n * timedelta(microseconds=1),
                battery=n / 1000,
                offset=-float(n),
                firmware=n + 1,
            )
        )
    mode = stage.package.Mode.LOW_POWER
    rising = ["AA-1", "AA-2", "AA-3"]
    for order, rows in {
        "uptime": stage.devices.by_uptime().reverse(),
        "last_seen": stage.devices.by_mode(mode).reverse(),
        "battery": stage.devices.by_battery(True).reverse(),
        "offset": stage.devices.by_offset("o:1"),
        "firmware": stage.devices.by_mode_online(mode, True).reverse(),
    }.items():
        assert [row.serial for row in rows] == rising, order
    assert stage.devices.by_mode_online(mode).group_counts() == {True: 3}
    assert stage.devices.by_previous(False).group_counts() == {stage.package.Mode.IDLE: 3}


@pytest.mark.parametrize(
    ("unique", "fields"),
    [
        ("fingerprint", ["fingerprint"]),
        ("channel", ["channel", "mode", "rented"]),
        ("service", ["serviced_at", "alarm_after"]),
        ("label", ["label", "owner"]),
    ],
)
def test_values_of_every_type_are_unique_together(stage: Stage, unique: str, fields: list[str]) -> None:
    stage.create(device(stage))
    other = {"fingerprint": b"1234", "channel": 8, "serviced_at": SEEN, "label": "other"}
    taken = {name: value for name, value in other.items() if name not in fields}
    with pytest.raises(UniqueViolationError) as caught:
        stage.devices.create(device(stage, "AB-2", **taken))
    assert (caught.value.constraint, list(caught.value.fields)) == (unique, fields)
    for serial in ("AB-2", "AB-3"):
        free = {**other, "fingerprint": serial.encode(), "channel": None, "serviced_at": None, "owner": None}
        stage.devices.create(device(stage, serial, **free))


def test_names_inside_lists_and_maps_are_trimmed(stage: Stage) -> None:
    stage.create(device(stage))
    report = telemetry(stage, "t", 2)
    stage.create(report)
    assert stage.devices.get("AB-1").track.name == "North"
    assert [track.name for track in stage.telemetries.get("t").routes[1][0]["a"]] == ["South"]
    assert report == stage.telemetries.get("t")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"serial": "ab-1"}, "serial"),
        ({"firmware": 0}, "firmware"),
        ({"firmware": 1.5}, "firmware"),
        ({"battery": 100.5}, "battery"),
        ({"battery": math.nan}, "battery"),
        ({"fingerprint": b"123"}, "fingerprint"),
        ({"fingerprint": b"1" * 33}, "fingerprint"),
        ({"last_seen": SEEN.replace(tzinfo=None)}, "last_seen"),
        ({"mode": "asleep"}, "mode"),
        ({"owner": ""}, "owner"),
        ({"settings": {1: 2}}, "settings"),
        ({"limits": {"a": "b"}}, "limits[...]"),
    ],
)
def test_a_value_of_another_type_names_its_field(stage: Stage, change: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        stage.devices.create(device(stage, **change))
    assert caught.value.field == field
    assert stage.devices.by_uptime().count() == 0


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rows": [[]] * 4}, "rows"),
        ({"tables": []}, "tables"),
        ({"rows_by_name": {key: [] for key in "abcd"}}, "rows_by_name"),
        ({"tables_by_name": {}}, "tables_by_name"),
        ({"ids": [""]}, "ids[0]"),
        ({"moments": [datetime(2024, 1, 1)]}, "moments[0]"),  # noqa: DTZ001
        ({"extras": [(1, 2)]}, "extras"),
        ({"extras_by_name": {"a": (1, 2)}}, "extras_by_name"),
    ],
)
def test_a_limit_of_a_collection_names_its_field(stage: Stage, change: dict[str, Any], field: str) -> None:
    stage.create(device(stage))
    report = telemetry(stage, "t", 1)
    for name, value in change.items():
        setattr(report, name, value)
    with pytest.raises(ValidationError) as caught:
        stage.telemetries.create(report)
    assert caught.value.field == field
