"""An atlas: rows in the order of strings and times, views that begin with the lowest value, and values at the limits of orders."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import inf
from typing import Any

import pytest

from keyweave.errors import InvalidCursorError, UnboundedQueryError, ValidationError
from keyweave.query import at_least, at_most, between, contains, one_of, starts_with
from tests.generator.accepted.stage import Stage
from tests.scripted import declare_keys

CASE = "atlas"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
NAMES = [
    *(
        "",
        "a",
        "ab",
        "b",
        "A",
        "aa",
        "Éva",
        "e\u0301",
        "ö",
        "z",
        "a b",
        "a:b",
        "a%b",
        "(a",
        "[a",
        "-",
        "+",
        "10",
        "9",
    ),
    *(
        "\0",
        "\0\0",
        "a\0",
        "a\0b",
        "a\x01",
        "a\x01\x01",
        "a\x02",
        "\x01",
        "\x01\x02",
        "a\0\x01",
        "\x7f",
        "\x80",
    ),
    *("\ud7ff", "\ue000", "\uffff", "\U00010000", "\U0010ffff", "\U0010ffffa", "a\U0010ffff"),
]
"""Names whose order shows mistakes: empty, prefixes of others, with the characters that are escaped, at the ends of UTF-8."""


def place(stage: Stage, key: str, name: str = "x", **more: Any) -> Any:
    given: dict[str, Any] = {
        "kind": stage.package.Kind.CITY,
        "area": Decimal("1.5"),
        "opens": time(9),
        "founded": date(1900, 1, 1),
        "walk": timedelta(minutes=5),
        "warmth": 0.5,
        "surveyed": NOON,
        "tags": {"old"},
        "nickname": "Nick",
        "climbed": NOON,
    }
    return stage.package.Place(**{"id": key, "name": name, **given, **more})


def street(stage: Stage, number: int, of: str, name: str = "x", **more: Any) -> Any:
    return stage.package.Street(number=number, place=of, name=name, **more)


def keys(rows: Any) -> list[str]:
    return [row.id for row in rows]


def test_an_atlas_at_work(stage: Stage) -> None:
    city, lake = place(stage, "c", "Bern"), place(stage, "l", "Aare", kind=stage.package.Kind.LAKE)
    stage.create(city, lake)
    road = street(stage, 1, "c", "Road", until=datetime(2200, 1, 1, tzinfo=UTC))
    stage.create(road)
    for record in (city, lake, road):
        stage.visit(record)
        stage.write_again(record)
    assert stage.places.touch_surveyed("c") is stage.places.touch_climbed("c") is True
    assert stage.streets.touch_until(1, datetime(2201, 1, 1, tzinfo=UTC)) is True
    stage.remove(road, city, lake)
    assert stage.check().clean
    stage.finish()


@pytest.mark.parametrize("first", range(8))
def test_a_range_may_end_at_infinity_whatever_was_asked_before(stage: Stage, first: int) -> None:
    """The views for a filter are found once for each kind of filter, so each range is the first one in turn."""
    warmths = [-1e308, -2.5, 0.0, 0.5, 1e308]
    stage.places.create_many([place(stage, str(at), warmth=warmth) for at, warmth in enumerate(warmths)])
    ranges: list[tuple[Any, Callable[[float], bool]]] = [
        (between(-inf, inf), lambda _: True),
        (between(0.0, inf), lambda warmth: warmth >= 0),
        (at_most(inf), lambda _: True),
        (at_most(-inf), lambda _: False),
        (at_least(-inf), lambda _: True),
        (at_least(inf), lambda _: False),
        (between(-inf, -2.5), lambda warmth: warmth <= -2.5),
        (between(-2.5, 0.5), lambda warmth: -2.5 <= warmth <= 0.5),
    ]
    for given, holds in ranges[first:] + ranges[:first]:
        expected = [str(at) for at, warmth in enumerate(warmths) if holds(warmth)]
        asked = stage.places.where(warmth=given).order_by("warmth")
        if len(expected) == len(warmths):
            with pytest.raises(UnboundedQueryError):
                asked.page()
        else:
            assert keys(asked.page()) == expected[::-1]
        for rows in (
            asked.scan(),
            stage.places.where(warmth=given, kind=stage.package.Kind.CITY).order_by("warmth"),
        ):
            assert keys(rows.reverse()) == expected
            assert keys(rows) == expected[::-1]
            assert rows.count() == len(expected)
    assert keys(stage.places.by_warmth().between(-inf, 0.0)) == ["2", "1", "0"]
    assert keys(stage.places.by_warmth().between(0.0, inf)) == ["4", "3", "2"]
    assert keys(stage.places.by_warmth().between(inf, inf)) == []
    assert keys(stage.places.where(kind=stage.package.Kind.CITY, warmth=at_least(-inf)).reverse()) == list(
        "01234"
    )


def test_one_of_several_strings_in_their_order_is_compared_on_documents(stage: Stage) -> None:
    """A list in an order of strings has no entries for single strings, so every row of the list is read."""
    lake = stage.package.Kind.LAKE
    rows = [place(stage, f"{at:02}", name) for at, name in enumerate(NAMES)]
    rows += [place(stage, f"x{at}", name, kind=lake) for at, name in enumerate(("a", "b", "a"))]
    stage.places.create_many(rows)
    names = {row.id: row.name for row in rows}
    for chosen in (("a",), ("b", "a", "a\0"), ("", "\U0010ffff", "not there"), ("not there",)):
        asked = stage.places.where(kind=stage.package.Kind.CITY, name=one_of(*chosen)).order_by("name")
        every = stage.places.where(name=one_of(*chosen)).order_by("name").scan()
        assert asked.explain().compared == (("name",) if len(chosen) > 1 else ())  # one value is a range
        cities = sorted((name, key) for key, name in names.items() if name in chosen and key[0] != "x")
        both = sorted((name, key) for key, name in names.items() if name in chosen)
        for handle, expected in ((asked, cities), (every, both)):
            wanted = [key for _, key in expected]
            assert keys(handle) == wanted
            assert keys(handle.reverse()) == wanted[::-1]
            assert handle.count() == len(wanted)
            assert [row.id for page in pages(handle, 1) for row in page] == wanted


def pages(handle: Any, limit: int) -> list[Any]:
    """Every page of a handle."""
    found = [handle.page(limit)]
    while found[-1].cursor is not None:
        found.append(handle.page(limit, cursor=found[-1].cursor))
    return found


def test_names_are_in_the_order_of_code_points_and_rows_of_one_name_in_that_of_ids(stage: Stage) -> None:
    pairs = [(name, f"{number}{end}") for number, name in enumerate(NAMES) for end in ("", "\0", "\0a", "b")]
    random.Random(1).shuffle(pairs)
    stage.places.create_many([place(stage, key, name) for name, key in pairs[:60]])
    for name, key in pairs[60:]:
        stage.places.create(place(stage, key, name))
    ordered = [key for _, key in sorted((name.strip(), key) for name, key in pairs)]
    assert keys(stage.places.by_name()) == ordered
    backwards = stage.places.by_name_backwards(False)
    assert keys(backwards) == keys(stage.places.by_name().reverse()) == ordered[::-1]
    assert keys(backwards.reverse()) == stage.places.by_kind(stage.package.Kind.CITY).keys() == ordered
    for size in (1, 7):
        assert [row.id for batch in stage.places.by_name().batches(size) for row in batch] == ordered


@pytest.mark.parametrize("declared", [False, True])
def test_ranges_of_names_are_those_of_code_points(stage: Stage, declared: bool) -> None:
    stage.places.create_many([place(stage, str(at), name) for at, name in enumerate(NAMES)])
    declare_keys(stage.store.session.context, declared)
    names = {str(at): name.strip() for at, name in enumerate(NAMES)}
    drawn = random.Random(2)
    for end in [*NAMES, "aaa", "a\x01\x01\x01", "\U0010ffff\U0010ffff"]:
        other = drawn.choice(NAMES)
        low, high = sorted([end, other])
        asked: list[tuple[Any, list[str]]] = [
            (starts_with(end), [name for name in names.values() if name.startswith(end)]),
            (at_least(end), [name for name in names.values() if name >= end]),
            (at_most(end), [name for name in names.values() if name <= end]),
            (between(low, high), [name for name in names.values() if low <= name <= high]),
            (end.strip(), [end.strip()]),
        ]
        for predicate, matched in asked:
            expected = sorted(
                [key for key, name in names.items() if name in matched], key=lambda key: (names[key], key)
            )
            found = stage.places.where(name=predicate).order_by("name").scan()
            assert keys(found.list()) == expected, (predicate, [names[key] for key in keys(found.list())])
            assert keys(found.reverse().page(limit=3)) == expected[::-1][:3]
            assert found.count() == len(expected)
            assert found.keys() == expected
        expected = sorted(
            [key for key, name in names.items() if low <= name <= high], key=lambda key: (names[key], key)
        )
        assert keys(stage.places.by_name().between(low, high)) == expected
        assert stage.places.by_name().between(low, high).count() == len(expected)
    lowest, highest = min(names.values()), max(names.values())
    assert (stage.places.by_name().min(), stage.places.by_name().max()) == (lowest, highest)


def test_every_order_has_its_direction_and_its_ranges(stage: Stage) -> None:
    drawn = random.Random(3)
    values: dict[str, list[Any]] = {
        "height": [-(2**53), -1, 0, 7, 2**53, 2**60],
        "area": [Decimal(text) for text in ("-1", "0", "0.001", "0.002", "123456789.123", "123456789.124")],
        "opens": [time(0), time(0, 0, 0, 1), time(12), time(23, 59, 59, 999999)],
        "founded": [date.min, date(1969, 12, 31), date(1970, 1, 1), date.max],
        "walk": [timedelta(0), timedelta(microseconds=1), timedelta(days=1), -timedelta(seconds=1)],
        "warmth": [-1e300, -0.5, 0.0, 5e-324, 0.1, 1e300],
        "surveyed": [NOON, NOON + timedelta(microseconds=1), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)],
    }
    rows = [
        place(stage, str(number), **{name: drawn.choice(several) for name, several in values.items()})
        for number in range(40)
    ]
    stage.places.create_many(rows)
    listed = {
        "height": (stage.places.lowest(), False),
        "area": (stage.places.smallest(), False),
        "opens": (stage.places.by_opens(), False),
        "founded": (stage.places.by_founded(), True),
        "walk": (stage.places.by_walk(), False),
        "warmth": (stage.places.by_warmth(), True),
        "surveyed": (stage.places.by_surveyed(), True),
    }
    for name, (view, descending) in listed.items():
        ordered = sorted(rows, key=lambda row: (getattr(row, name), row.id), reverse=descending)
        assert keys(view) == keys(ordered), name
        assert keys(view.reverse()) == keys(ordered)[::-1]
        assert keys(view.order_by(name)) == keys(ordered)
        assert keys(stage.places.where().order_by(name).scan()) == keys(
            ordered if descending else ordered[::-1]
        )
        for low in values[name]:
            above = [row for row in ordered if getattr(row, name) >= low]
            plan = view.between(low, None).explain()
            assert (plan.trips, plan.access) == (1, "view")
            # Beyond what scores hold exactly, rows of the stretch are compared as well.
            exact = not (name == "height" and abs(low) >= 2**53) and low != values["surveyed"][-1]
            assert plan.compared == (() if exact else (name,))
            assert keys(view.between(low, None)) == keys(above), (name, low)
            assert keys(view.reverse().between(None, low)) == keys(
                [row for row in ordered[::-1] if getattr(row, name) <= low]
            )
            by_value = stage.places.where(**{name: at_least(low)}).order_by(name).scan()
            assert sorted(keys(by_value)) == sorted(keys(above))
            for high in values[name]:
                if low <= high:
                    between_them = [row for row in above if getattr(row, name) <= high]
                    assert keys(view.between(low, high)) == keys(between_them)
                    assert view.between(low, high).count() == len(between_them)
    assert keys(stage.places.first_added(stage.package.Kind.CITY)) == [row.id for row in rows]


def test_a_row_without_a_value_has_no_place_in_its_order(stage: Stage) -> None:
    for number in range(12):
        nickname, climbed = (None if number % 3 == 0 else f"n{number % 2}"), (NOON if number % 4 else None)
        stage.places.create(
            place(stage, f"{number:02}", nickname=nickname, climbed=climbed, height=number % 2)
        )
    named = sorted([at for at in range(12) if at % 3], key=lambda at: (at % 2, at))
    by_nickname = stage.places.where(tags=contains("old")).order_by("nickname")
    for rows in (
        stage.places.by_nickname(),
        stage.places.where().order_by("nickname").scan(),
        by_nickname.scan(),
    ):
        assert [int(key) for key in keys(rows)] == named
        assert [int(key) for key in keys(rows.reverse())] == named[::-1]
        assert rows.count() == len(named)
    assert stage.places.where().order_by("nickname").scan().explain().views == ("by_nickname",)
    some = stage.places.where(nickname=at_least("n1")).order_by("nickname")
    assert keys(some) == [f"{at:02}" for at in named if at % 2]
    assert some.explain().trips == 1
    assert stage.places.where(nickname=None).scan().count() == 4
    climbed = stage.places.by_climbed(stage.package.Kind.CITY)
    assert keys(climbed) == [f"{at:02}" for at in range(11, 0, -1) if at % 2]
    stage.places.update("01", climbed=None)
    stage.places.update("02", nickname=None)
    stage.places.update("00", nickname="a", closed=True, climbed=NOON - timedelta(days=9000))
    assert keys(climbed) == [*(f"{at:02}" for at in range(11, 1, -1) if at % 2), "00"]
    assert keys(stage.places.by_nickname()) == ["00", *(f"{at:02}" for at in named if at != 2)]
    assert stage.check().clean


def test_views_of_one_order_and_direction_combine(stage: Stage) -> None:
    kind = stage.package.Kind
    for number in range(12):
        name = "abc"[number % 3]
        more = {
            "kind": list(kind)[number % 2],
            "tags": {"new"} if number % 4 else set(),
            "closed": number > 8,
        }
        stage.places.create(place(stage, f"{number:02}", name, **more))
    rows = {row.id: row for row in stage.places.by_name()}

    def expected(holds: Callable[[Any], bool]) -> list[str]:
        return [key for key, row in rows.items() if holds(row)]

    either = stage.places.by_kind(kind.CITY) | stage.places.by_tag("new")
    assert keys(either) == expected(lambda row: row.kind is kind.CITY or "new" in row.tags)
    assert keys(either.reverse().page(limit=4)) == keys(either)[::-1][:4]
    assert keys(stage.places.open(kind.CITY)) == expected(
        lambda row: row.kind is kind.CITY and not row.closed
    )
    both = stage.places.where(kind=one_of(*kind), tags=contains("new"), name=between("b", "c")).order_by(
        "name"
    )
    assert keys(both) == expected(lambda row: "new" in row.tags and row.name != "a")
    assert keys(stage.places.where(kind=kind.CITY, closed=False).order_by("name")) == expected(
        lambda row: row.kind is kind.CITY and not row.closed
    )
    with pytest.raises(ValidationError):
        stage.places.by_name() | stage.places.by_name_backwards(False)
    turned = stage.places.by_name().reverse() | stage.places.by_name_backwards(False)
    assert keys(turned) == list(rows)[::-1]
    assert keys(turned.reverse()) == list(rows)
    assert keys(stage.places.lowest() | stage.places.by_height(kind.CITY).reverse()) == keys(
        stage.places.lowest()
    )


def test_a_renamed_place_has_one_entry(stage: Stage) -> None:
    for number in range(6):
        stage.places.create(place(stage, str(number), "same"))
    first = stage.places.by_name().page(limit=3)
    assert keys(first) == ["0", "1", "2"]
    stage.places.update("2", name="zoo")
    stage.places.update("4", name="able")
    stage.places.delete("3")
    following = stage.places.by_name().page(limit=5, cursor=first.cursor)
    assert keys(following) == ["5", "2"]
    assert keys(stage.places.by_name()) == ["4", "0", "1", "5", "2"]
    with pytest.raises(InvalidCursorError):
        stage.places.by_name().reverse().page(cursor=first.cursor)
    assert stage.check().clean


def test_streets_that_have_ended_are_in_no_list_and_no_count(stage: Stage) -> None:
    stage.places.create(place(stage, "p"))
    past, later = datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
    ends = [None, past, later]
    for number in range(30):
        stage.streets.create(street(stage, number, "p", f"s{number % 7}", until=ends[number % 3]))
    living = sorted([number for number in range(30) if number % 3 != 1], key=lambda at: (f"s{at % 7}", at))
    rows = stage.streets.by_place_name("p")
    assert [row.number for row in rows] == rows.keys() == living
    assert [row.number for row in rows.page(limit=5)] == living[:5]
    assert rows.count() == len(living)
    some = [number for number in living if f"s{number % 7}" in ("s2", "s3")]
    assert [row.number for row in rows.between("s2", "s3")] == some
    assert rows.between("s2", "s3").count() == len(some)
    assert stage.wait_for(stage.store.sweep()) == 10
    assert rows.keys() == living
    assert stage.places.get_with_streets("p")[1] == [*stage.streets.by_place("p")]


def test_a_value_that_an_order_cannot_hold_exactly_is_refused(stage: Stage) -> None:
    kept = place(stage, "k", "n", height=7)
    stage.places.create(kept)
    refused: list[tuple[str, Any]] = [
        ("height", 2**53 + 1),
        ("height", -(2**53) - 1),
        ("height", 10**400),
        ("walk", timedelta.max),
        ("surveyed", datetime.max.replace(tzinfo=UTC)),
        ("name", "n" * 201),
    ]
    for name, value in refused:
        with pytest.raises(ValidationError) as caught:
            stage.places.create(place(stage, "r", **{name: value}))
        assert caught.value.field == name
        with pytest.raises(ValidationError):
            stage.places.update("k", **{name: value})
        if name != "name":
            rows = stage.places.where(**{name: at_most(value)}).order_by(name)
            assert keys(rows) == keys(rows.scan()) == (["k"] if name != "height" or value > 0 else [])
    stage.create(street(stage, 5, "k", "n" * 4096, until=datetime(2250, 1, 1, tzinfo=UTC)))
    with pytest.raises(ValidationError, match="4,096 characters"):
        stage.streets.create(street(stage, 6, "k", "n" * 4097))
    assert keys(stage.places.by_name()) == ["k"]
    assert stage.check().clean
