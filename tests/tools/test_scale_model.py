"""The scale model: a short measurement, what counts as not flat, and the arithmetic of the projection."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from tools.scale_model import __main__ as command
from tools.scale_model.measure import Cost, Measured, faults, measure
from tools.scale_model.page import page
from tools.scale_model.project import MIX, Assumptions, project, server_micros

FLAT = {number: Cost(1, 300, 10, 30) for number in (1, 4, 16, 64)}


@pytest.fixture(scope="module")
def measured() -> Measured:
    return measure((1, 4, 16), calls=5, rounds=1)


def test_a_known_partition_is_one_trip_and_a_home_one_more(measured: Measured) -> None:
    trips = {name: [by[number].trips for number in (1, 4, 16)] for name, by in measured.costs.items()}
    assert trips["get by key and value"] == trips["get by key, met before"] == trips["save"] == [1, 1, 1]
    assert trips["get by key, not met before"] == trips["create a task"] == [1, 2, 2]
    assert trips["page of an execution"] == trips["count over all"] == [1, 1, 1]
    assert trips["page of 50 over all"] == [1, 2, 2]
    for name, by in measured.costs.items():
        # The server counts whole microseconds of each command, and a GET may take less than one.
        least = -1 if name.startswith("get ") else 0
        assert all(cost.bytes > 0 and cost.server > least for cost in by.values()), (name, by)
    assert measured.row_bytes > 400


def test_costs_that_stay_are_flat() -> None:
    assert faults({"save": FLAT, "count over all": FLAT | {64: Cost(1, 9000, 900, 900)}}) == []
    assert faults({"save": FLAT | {1: Cost(9, 9, 9, 9)}}) == []


@pytest.mark.parametrize(
    ("last", "text"),
    [
        (Cost(2, 300, 10, 30), "save: 1 round trips become 2"),
        (Cost(1, 340, 10, 30), "save: 300 bytes become 340"),
        (Cost(1, 300, 16, 30), "save: 10 microseconds of the server become 16"),
        (Cost(1, 300, 10, 46), "save: 30 microseconds of the client become 46"),
    ],
)
def test_a_cost_that_grows_with_the_number_of_partitions_is_a_fault(last: Cost, text: str) -> None:
    assert faults({"save": FLAT | {64: last}}) == [text]
    grown = {"count over all": FLAT | {64: last}}
    assert bool(faults(grown)) == (last.trips > 1)


def test_the_command_ends_with_1_if_a_cost_is_not_flat(monkeypatch: pytest.MonkeyPatch) -> None:
    costs = {name: dict(FLAT) for name in MIX}
    app = typer.Typer()
    app.command()(command.main)
    monkeypatch.setattr(command, "measure", lambda *_: Measured(costs, 1000.0))
    assert CliRunner().invoke(app).exit_code == 0
    costs["save"][64] = Cost(1, 900, 10, 30)
    result = CliRunner().invoke(app)
    assert result.exit_code == 1
    assert "save: 300 bytes become 900" in result.output


def test_memory_or_the_processor_decides_the_number_of_nodes() -> None:
    measured = Measured(dict.fromkeys(MIX, FLAT), 1000.0)
    assert server_micros(measured.costs) == pytest.approx(10.0)
    assumed = Assumptions(price=0.5, node_gb=10, fill=0.5, busy=0.5, io=2.0, copies=3)
    found = {(each.rows, each.rate): each for each in project(measured, assumed)}
    small = found[1_000_000, 1_000]
    assert (small.masters, small.nodes, small.partitions) == (1, 3, 1)
    assert small.money == pytest.approx(3 * 10 * 0.5 * 730)
    rows = found[100_000_000, 1_000]
    assert (rows.masters, rows.limit, rows.gigabytes, rows.partitions) == (20, "memory", 100.0, 128)
    rate = found[1_000_000, 1_000_000]
    assert (rate.masters, rate.limit) == (40, "processor")


def test_the_page_says_what_is_measured_and_what_is_projected() -> None:
    text = "\n".join(page(Measured(dict.fromkeys(MIX, FLAT), 1000.0), Assumptions(price=0.25), 1.5))
    assert text.index("## Measured") < text.index("## Projected")
    assert "costs 0.25 for an hour" in text
    assert "| 1,000,000,000 | 1,000,000 |" in text
