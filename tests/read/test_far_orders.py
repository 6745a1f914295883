"""Paging through extreme values: orders beyond 2^53, empty keys, cursors that were modified."""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from keyweave.errors import InvalidCursorError, ValidationError
from keyweave.model.cursor import Position, read_cursor, write_cursor
from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render
from tests.harness import directed, in_batches
from tests.servers.running import new_namespace, server_url

SOURCES = {
    "package.yaml": """\
package: calendar_store
namespace: {app: calendar, version: v1, environment: test, tenant: default}
groups:
  days: {}
""",
    "day.yaml": """\
entity: Day
group: days
key: name
fields:
  name: {type: string}
  until: {type: datetime}
  number: {type: int}
  share: {type: float}
views:
  all: {fields: [], order: created, why: everything}
  by_until: {fields: [], order: until, why: what ends last}
  by_number: {fields: [], order: number, why: the largest}
  by_share: {fields: [], order: share, why: the largest}
""",
}


@functools.cache
def calendar() -> Any:
    """The package, generated and imported."""
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), render(load_sources(SOURCES)))
        sys.path.insert(0, folder)
        try:
            package = importlib.import_module("calendar_store")
            importlib.import_module("calendar_store.sync")
        finally:
            sys.path.remove(folder)
    return package


@pytest.fixture
def store() -> Iterator[Any]:
    with calendar().sync.Store.open(server_url(), namespace=new_namespace("far")) as opened:
        yield opened


def day(name: str, year: int = 2026, number: int = 0, share: float = 0.0) -> Any:
    return calendar().Day(name=name, until=datetime(year, 1, 1, tzinfo=UTC), number=number, share=share)


def names(rows: Iterator[Any]) -> list[str]:
    """Names of the rows, limited in case the pages do not end."""
    return [row.name for row in islice(rows, 50)]


@pytest.mark.parametrize("newest", [True, False])
def test_pages_continue_beyond_the_numbers_that_a_double_represents_exactly(store: Any, newest: bool) -> None:
    years = [1, 1600, 1970, 2255, 2256, 9998, 9999]
    for index, year in enumerate(years):
        power = index * 20 - 60
        store.days.create(day(str(index), year, (1 if power >= 0 else -1) << abs(power), 10.0**power))
    expected = [str(index) for index in range(len(years))]
    for view in ("until", "share"):
        rows = in_batches(directed(getattr(store.days, f"by_{view}")(), newest=newest), 1)
        assert names(rows) == (expected[::-1] if newest else expected)
    ascending = sorted((row.number, row.name) for row in store.days.all())
    by_number = [name for _, name in ascending]
    rows = in_batches(directed(store.days.by_number(), newest=newest), 1)
    assert names(rows) == (by_number[::-1] if newest else by_number)


@pytest.mark.parametrize("number", [10**309, -(10**400)])
def test_a_number_that_no_view_can_hold_is_refused_before_anything_is_written(
    store: Any, number: int
) -> None:
    store.days.create(day("small", number=1 << 1000))
    with pytest.raises(ValidationError) as caught:
        store.days.create(day("large", number=number))
    assert caught.value.field == "number"
    with pytest.raises(ValidationError):
        store.days.change("small", lambda row: setattr(row, "number", number))
    assert names(store.days.by_number()) == names(store.days.all()) == ["small"]
    assert store.days.find("large") is None
    assert store.check().clean


def test_an_empty_key_is_a_valid_cursor_position(store: Any) -> None:
    for name in ("b", "", "a"):
        store.days.create(day(name))
    assert names(in_batches(store.days.all(), 1)) == ["a", "", "b"]
    assert names(in_batches(store.days.by_number(), 1)) == ["b", "a", ""]
    assert store.days.get("").name == ""


@pytest.mark.parametrize("score", ["nan", "1_0", " 5 ", "\u0661", "", "0x10", "five", "-", "1\n"])
def test_a_cursor_whose_score_the_server_cannot_read_is_damaged(score: str) -> None:
    def cursor(number: str) -> str:
        return write_cursor(bytes(32), Position("Day", "created", True, number, "b"))

    assert read_cursor(bytes(32), cursor("1.5e+300"), "Day", "created", True) is not None
    with pytest.raises(InvalidCursorError, match="damaged"):
        read_cursor(bytes(32), cursor(score), "Day", "created", True)
