"""A meter: elements are merged into a list field by field, by the rule of each."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import ValidationError
from tests.generator.accepted.stage import Stage

CASE = "meter"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def usage(stage: Stage, **more: Any) -> Any:
    """A usage with a value in every field."""
    meter = stage.package
    given = {
        "region": "eu",
        "label": "x",
        "project": "p",
        "resource": meter.Resource.CPU,
        "slot": 1,
        "shared": True,
        "units": 5,
        "hours": 0.5,
        "credit": -5,
        "rebate": 0.25,
        "least": 5,
        "most": -5,
        "coldest": 0.5,
        "hottest": -0.5,
        "began_at": NOON,
        "ended_at": NOON,
        "shortest": HOUR,
        "longest": -HOUR,
        "first_host": "m",
        "last_host": "m",
        "hosts": ["b", "a", "b"],
        "ports": [10, 9],
        "kinds": [meter.Resource.NET],
        "owners": ["z"],
        "price": meter.Price(amount=0),
        "tier": meter.Resource.DISK,
        "final": False,
        "labels": {},
        "proof": b"",
        "raw": False,
        "steps": [],
    }
    return meter.Usage(**{**given, **more})


def bare(stage: Stage, **more: Any) -> Any:
    """A usage with the required fields only."""
    given = {"region": "eu", "project": "p", "resource": stage.package.Resource.CPU, "began_at": NOON}
    if "resource" in more:
        more["resource"] = stage.package.Resource(more["resource"])
    return stage.package.Usage(**{**given, "shortest": HOUR, "longest": HOUR, **more})


def account(stage: Stage, **more: Any) -> Any:
    given = {"usage": [usage(stage)], "alerts": [stage.package.Alert(code=" hot ")]}
    return stage.package.Account(id="a", **{**given, **more})


def merged(stage: Stage, *elements: Any) -> list[Any]:
    """What an account holds after merging `elements`, one at a time."""
    stage.accounts.upsert(account(stage, usage=[]))
    for element in elements:
        row = stage.accounts.merge_usage("a", [element])
    assert stage.accounts.get("a") == row
    return row.usage


def test_an_account_at_work(stage: Stage) -> None:
    one = account(stage)
    stage.create(one)
    stage.visit(one)
    stage.write_again(one)
    assert one.alerts[0].code == "hot"
    changed = stage.accounts.merge_alerts("a", [stage.package.Alert(code="cold", hits=0), one.alerts[0]])
    assert [(alert.code, alert.hits) for alert in changed.alerts] == [("cold", 0), ("hot", 2)]
    assert stage.accounts.merge_usage("a", [usage(stage), usage(stage, slot=2)]).usage[0].units == 10
    with pytest.raises(stage.package.AccountNotFoundError):
        stage.accounts.merge_usage("b", [usage(stage)])
    stage.remove(stage.accounts.get("a"))
    stage.finish()


def test_each_field_follows_its_rule(stage: Stage) -> None:
    meter = stage.package
    other = usage(
        stage,
        units=-5,
        hours=-0.5,
        credit=5,
        rebate=0.5,
        least=0,
        most=0,
        coldest=0.0,
        hottest=0.0,
        began_at=NOON - HOUR,
        ended_at=NOON + HOUR,
        shortest=timedelta(0),
        longest=timedelta(0),
        first_host="",
        last_host="n",
        hosts=["c", "a"],
        ports=[9, 8],
        kinds=[meter.Resource.CPU, meter.Resource.NET],
        owners=["é", "a"],
        price=meter.Price(amount=1),
        tier=meter.Resource.CPU,
        final=True,
        labels={"a": "b"},
        proof=b"1",
        raw=[1],
        steps=[1],
    )
    expected = usage(
        stage,
        units=0,
        hours=0.0,
        credit=0,
        rebate=0.75,
        least=0,
        most=0,
        coldest=0.0,
        hottest=0.0,
        began_at=NOON - HOUR,
        ended_at=NOON + HOUR,
        shortest=timedelta(0),
        longest=timedelta(0),
        first_host="",
        last_host="n",
        hosts=["a", "b", "c"],
        ports=[8, 9, 10],
        kinds=[meter.Resource.CPU, meter.Resource.NET],
        owners=["a", "z", "é"],
    )
    assert merged(stage, usage(stage), other) == [expected]
    firsts = {
        name: getattr(other, name) for name in ("price", "tier", "final", "labels", "proof", "raw", "steps")
    }
    (turned,) = merged(stage, other, usage(stage))
    assert turned == usage(
        stage, **{name: getattr(expected, name) for name in expected.__struct_fields__} | firsts
    )


def test_what_is_absent_does_not_count(stage: Stage) -> None:
    full = usage(stage, label="", slot=0, shared=False)
    (after,) = merged(stage, bare(stage), full)
    (before,) = merged(stage, full, bare(stage))
    optional = ["credit", "rebate", "coldest", "ended_at", "last_host", "price", "proof", "raw"]
    for name in optional:
        assert getattr(after, name) == getattr(before, name) == getattr(full, name) is not None
    (nothing,) = merged(stage, bare(stage), bare(stage))
    assert {getattr(nothing, name) for name in optional} == {None}


@pytest.mark.parametrize(
    ("left", "right", "units"),
    [
        ({"region": " E u\t"}, {"region": "EU"}, [3]),
        ({"label": "Ä"}, {"label": "ä"}, [3]),
        ({"label": "a"}, {"label": " a"}, [1, 2]),
        ({"project": " p"}, {"project": "p\n"}, [3]),
        ({"project": "p"}, {"project": "P"}, [1, 2]),
        ({"resource": "cpu"}, {"resource": "disk"}, [1, 2]),
        ({"slot": 1}, {"slot": -1}, [1, 2]),
        ({"shared": False}, {"shared": True}, [1, 2]),
        ({"label": "a", "project": "bc"}, {"label": "ab", "project": "c"}, [1, 2]),
    ],
)
def test_elements_of_equal_keys_become_one_with_the_values_of_the_first(
    stage: Stage, left: dict[str, Any], right: dict[str, Any], units: list[int]
) -> None:
    elements = merged(stage, bare(stage, **left, units=1), bare(stage, **right, units=2))
    assert sorted(element.units for element in elements) == units
    if len(units) == 1:
        assert elements == [bare(stage, **left, units=3)]


def test_an_element_that_breaks_its_type_is_not_merged(stage: Stage) -> None:
    stage.accounts.create(account(stage))
    with pytest.raises(ValidationError) as caught:
        stage.accounts.merge_alerts("a", [stage.package.Alert(code="hot", hits=-1)])
    assert caught.value.field == "alerts[].hits"
    assert stage.accounts.get("a").alerts[0].hits == 1
