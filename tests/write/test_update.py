"""Updating fields by key: what is refused before anything is sent, what other writers do meanwhile, and what it costs."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Generator, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from keyweave.errors import CheckViolationError, NotFoundError, UniqueViolationError, ValidationError
from tests.bank import bank
from tests.harness import FLAVOURS, Harness, exchanges, harness

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(params=FLAVOURS)
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Two stores, as two processes would have them, with an account."""
    with harness(request.param, request.node.name, count=2, module=bank()) as opened:
        opened.do(opened.db.accounts.create(bank().Account(number="a", name="Ada", balance=5)))
        yield opened


def test_fields_are_set_and_the_record_is_returned(stores: Harness) -> None:
    line = bank().Line(text="x")
    row = stores.do(stores.db.accounts.update(" a ", name="Bob", lines=[line], opened_at=None, key="k"))
    assert (row.name, row.lines, row.balance, row.key) == ("Bob", [line], 5, "k")
    assert stores.do(stores.db.accounts.get("a")) == row
    assert stores.do(stores.db.accounts.save(row)).changed_at == row.changed_at


def test_a_string_that_equals_a_member_becomes_the_member(stores: Harness) -> None:
    row = stores.do(stores.db.accounts.update("a", state="open"))
    assert row.state is bank().State.OPEN


REFUSED: list[tuple[dict[str, Any], str | None, str]] = [
    ({"nmae": "x"}, "nmae", "no such field"),
    ({"number": "b"}, "number", "key"),
    ({"changed_at": datetime.now(UTC)}, "changed_at", "managed"),
    ({"name": 1}, "name", "Expected `str`, got `int`"),
    ({"name": None}, "name", "Expected `str`, got `null`"),
    ({"name": "x" * 21}, "name", "Expected `str` of length <= 20"),
    ({"name": "\ud800"}, "name", "unicode"),
    ({"balance": -1}, "balance", "Expected `int` >= 0"),
    ({"balance": True}, "balance", "Expected `int`, got `bool`"),
    ({"state": "shut"}, "state", "not one of the enum's values"),
    ({"rate": math.nan}, "rate", "Expected `float`, got `null`"),
    ({"price": 1.5}, "price", "expected Decimal, got float"),
    ({"price": Decimal("1.555")}, "price", "expected a decimal with at most 2 places"),
    ({"total": Decimal("NaN")}, "total", "expected a finite decimal"),
    ({"day": datetime(2026, 1, 1, tzinfo=UTC)}, "day", "Invalid RFC3339 encoded date"),
    ({"tags": ["a"]}, "tags", "a list would be read back as another value"),
    (
        {"opened_at": datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)},
        "opened_at",
        "Expected `datetime` with a timezone component",
    ),
    ({"opened_at": "2026-01-01T00:00:00Z"}, "opened_at", "a str would be read back as another value"),
    ({"lines": [{"text": 1}]}, "lines[0].text", "Expected `str`, got `int`"),
    ({"lines": [{"text": "x"}]}, "lines", "a list would be read back as another value"),
    ({"labels": {"a": 1}}, "labels[...]", "Expected `str`, got `int`"),
    ({"notes": (1, 2)}, "notes", "a tuple would be read back as another value"),
    ({"notes": {1}}, "notes", "a set would be read back as another value"),
    ({"notes": object()}, "notes", "Encoding objects of type object is unsupported"),
]


@pytest.mark.parametrize(("fields", "field", "rule"), REFUSED, ids=[str(i) for i in range(len(REFUSED))])
def test_what_does_not_fit_is_refused_before_anything_is_sent(
    stores: Harness, fields: dict[str, Any], field: str | None, rule: str
) -> None:
    with exchanges(stores) as sent, pytest.raises(ValidationError) as caught:
        stores.do(stores.db.accounts.update("nobody", **fields))
    assert (caught.value.entity, caught.value.field, caught.value.rule) == ("Account", field, rule)
    assert sent == []


def test_no_error_contains_a_secret(stores: Harness) -> None:
    with pytest.raises(ValidationError) as caught:
        stores.do(stores.db.accounts.update("a", pin=["hunter2"]))
    assert "hunter2" not in str(caught.value)


def test_checks_uniqueness_and_absence_are_typed_errors(stores: Harness) -> None:
    stores.do(stores.db.accounts.create(bank().Account(number="b", name="Bob", key="k")))
    with pytest.raises(CheckViolationError):
        stores.do(stores.db.accounts.update("a", state=bank().State.CLOSED))
    with pytest.raises(bank().NameTakenError) as caught:
        stores.do(stores.db.accounts.update("a", name="BOB", key="K"))
    assert isinstance(caught.value, UniqueViolationError)
    with pytest.raises(NotFoundError) as missing:
        stores.do(stores.db.accounts.update("nobody", name="x"))
    assert missing.value.key == "nobody"
    assert stores.do(stores.db.check()).clean


def test_it_costs_one_exchange_where_this_process_wrote_last_and_two_elsewhere(stores: Harness) -> None:
    with exchanges(stores) as sent:
        stores.do(stores.db.accounts.update("a", name="Bob"))
        assert len(sent) == 1
        stores.do(stores.db.accounts.increment("a", "balance"))
        assert len(sent) == 2
    stores.do(stores.stores[1].accounts.update("a", rate=0.5))
    with exchanges(stores) as sent:
        row = stores.do(stores.db.accounts.update("a", name="Eve"))
    assert len(sent) == 2
    assert (row.name, row.rate, row.balance) == ("Eve", 0.5, 6)


def test_concurrent_updates_of_other_fields_are_kept_and_additions_are_not_lost(stores: Harness) -> None:
    def update(number: int) -> Any:
        fields = {"name": f"n{number}"} if number % 2 else {"rate": float(number)}
        return lambda store: store.accounts.update("a", **fields)

    calls = [update(number) for number in range(6)]
    calls += [lambda store: store.accounts.increment("a", "balance", 2)] * 10
    outcomes = stores.together(calls)
    assert not [each for each in outcomes if isinstance(each, BaseException)]
    row = stores.do(stores.db.accounts.get("a"))
    assert (row.balance, row.name[0], row.rate in (0.0, 2.0, 4.0)) == (25, "n", True)
    assert sorted(each.balance for each in outcomes[6:]) == sorted({each.balance for each in outcomes[6:]})


def test_in_a_transaction(stores: Harness) -> None:
    def steps(tx: Any) -> Generator[Any, Any, Any]:
        yield tx.accounts.update("a", name="Bob")
        yield tx.accounts.increment("a", "balance", 2)
        yield tx.accounts.increment("a", "balance", -1)
        return (yield tx.accounts.get("a"))

    row = stores.transact(steps)
    assert (row.name, row.balance) == ("Bob", 6)
    row = stores.do(stores.db.accounts.get("a"))
    assert (row.name, row.balance) == ("Bob", 6)


@pytest.mark.parametrize(
    ("field", "by", "left"),
    [("balance", 2, 7), ("balance", -5, 0), ("rate", 1, 1.0), ("rate", 0.25, 0.25)],
)
def test_a_number_is_added(stores: Harness, field: str, by: float, left: float) -> None:
    row = stores.do(stores.db.accounts.increment("a", field, by))
    assert getattr(row, field) == left
    assert stores.do(stores.db.accounts.get("a")) == row


@pytest.mark.parametrize(
    ("field", "by", "rule"),
    [
        ("name", 1, "number"),
        ("labels", 1, "number"),
        ("pin", 1, "number"),
        ("nothing", 1, "no such field"),
        ("number", 1, "key"),
        ("balance", 1.5, "number"),
        ("balance", True, "number"),
        ("balance", "1", "number"),
        ("balance", None, "number"),
        ("balance", Decimal(1), "number"),
        ("rate", Decimal("0.1"), "number"),
        ("rate", math.inf, "number"),
        ("rate", math.nan, "number"),
    ],
)
def test_what_cannot_be_added_is_refused_before_anything_is_sent(
    stores: Harness, field: str, by: Any, rule: str
) -> None:
    with exchanges(stores) as sent, pytest.raises(ValidationError) as caught:
        stores.do(stores.db.accounts.increment("a", field, by))
    assert (caught.value.field, caught.value.rule) == (field, rule)
    assert sent == []


def test_a_sum_that_breaks_a_limit_or_a_check_changes_nothing(stores: Harness) -> None:
    for by in (-6, 10**7):
        with pytest.raises(ValidationError) as caught:
            stores.do(stores.db.accounts.increment("a", "balance", by))
        assert caught.value.field == "balance"
    with pytest.raises(ValidationError) as null:
        stores.do(stores.db.accounts.increment("a", "limit"))
    assert null.value.rule == "null"
    stores.do(stores.db.accounts.update("a", balance=0, state=bank().State.CLOSED))
    with pytest.raises(CheckViolationError):
        stores.do(stores.db.accounts.increment("a", "balance"))
    with pytest.raises(NotFoundError):
        stores.do(stores.db.accounts.increment("nobody", "balance"))
    assert stores.do(stores.db.accounts.get("a")).balance == 0


def test_a_stale_row_of_this_process_does_not_decide(stores: Harness) -> None:
    """The remembered balance would break the limit; the stored one does not."""
    stores.do(stores.stores[1].accounts.update("a", balance=100))
    assert stores.do(stores.db.accounts.increment("a", "balance", -50)).balance == 50


CALLS = """\
from bank_store import State, aio
from bank_store.sync import Store


async def use(store: Store, waiting: aio.Store) -> None:
    store.accounts.update("a", name="x", key=None, state=State.OPEN, lines=[])
    store.accounts.increment("a", "balance", 2)
    await waiting.accounts.update("a", rate=1.5)
    await waiting.accounts.increment("a", "rate", 0.5)
    store.accounts.update("a", nmae="x")  # error
    store.accounts.update("a", name=1)  # error
    store.accounts.update("a", name=None)  # error
    store.accounts.update("a", number="b")  # error
    store.accounts.update("a", changed_at=None)  # error
    store.accounts.increment("a", "name")  # error
    await waiting.accounts.increment("a", "state")  # error
    store.branches.increment("a", "code")  # error
"""


def test_a_type_checker_refuses_what_does_not_fit(tmp_path: Path) -> None:
    from keyweave_generator.load import load_sources
    from keyweave_generator.output import write
    from keyweave_generator.render import render
    from tests.bank import SOURCES

    write(tmp_path, render(load_sources(SOURCES)))
    (tmp_path / "calls.py").write_text(CALLS)
    found = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", "--strict", f"--cache-dir={tmp_path}", "calls.py"],
        env={"MYPYPATH": f"{ROOT / 'runtime'}:{tmp_path}"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [int(line.split(":")[1]) for line in found.stdout.splitlines() if ": error:" in line]
    assert lines == [n for n, text in enumerate(CALLS.splitlines(), 1) if "# error" in text], found.stdout


def test_decimals_are_added_exactly(stores: Harness) -> None:
    many = Decimal("1" * 40)
    stores.do(stores.db.accounts.update("a", total=many, price=Decimal("9999.98")))
    row = stores.do(stores.db.accounts.increment("a", "total", by=Decimal("0.01")))
    assert str(row.total) == "1" * 40 + ".01"
    row = stores.do(stores.db.accounts.increment("a", "price", by=Decimal("0.01")))
    assert row.price == Decimal("9999.99")
    for by in (Decimal("0.01"), Decimal("0.001"), 1):
        with pytest.raises(ValidationError, match="a decimal with at most"):
            stores.do(stores.db.accounts.increment("a", "price", by=by))
    with pytest.raises(ValidationError, match="a float cannot be added to a Decimal"):
        stores.do(stores.db.accounts.increment("a", "price", by=0.5))
