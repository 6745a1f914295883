"""`keyweave repartition`: what it says, and its exit status."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.admin import repartition as command
from keyweave.cli import commands
from keyweave.model.ids import ksuid
from keyweave.repartition.estimate import count_rows
from keyweave.repartition.grow import repartition
from tests.partitioned.estate import Estate, estate, opened
from tests.servers.running import server_url

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


def invoke(namespace: str, *words: str) -> Any:
    estate()
    where = ("-p", "estate_store", "-u", server_url(), "-n", namespace)
    return RUNNER.invoke(app, ["repartition", *where, *words])


def doubling(world: Estate) -> Any:
    return world.ask("HGET", world.context.keyspace.at("deals", 0).schema, "doubling")


def test_it_doubles_and_says_when_there_is_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "repartition", partial(repartition, lease=-1.0, plan_life=-6.0))
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 2}) as world:
        world.account("a")
        done = invoke(namespace, "--to", "4", "--group", "deals")
        assert (done.exit_code, done.stdout) == (0, "group deals has 4 partitions, 2 before\n")
        again = invoke(namespace, "--to", "4", "--format", "json")
        assert again.exit_code == 0
        assert json.loads(again.stdout) == {
            "group": "deals",
            "from": 4,
            "to": 4,
            "dry_run": False,
            "done": False,
        }
        with opened(namespace) as after:
            assert after.context.keyspace.numbers == {"deals": 4}
            assert after.store.accounts.get("a").email == "a@x"


def test_a_dry_run_changes_nothing_and_estimates() -> None:
    """An entity without a view of all rows cannot be counted, so all keys of the database are the limit."""
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 2}) as world:
        shown = invoke(namespace, "--to", "8", "--dry-run")
        assert shown.exit_code == 0
        assert "2 doublings, from 2 to 8 partitions" in shown.stdout
        keys = int(world.ask("DBSIZE"))
        assert f"at most {keys:,} rows would move, because the database has {keys:,} keys" in shown.stdout
        assert "nothing was changed" in shown.stdout
        assert doubling(world) is None


def test_a_dry_run_counts_the_rows_of_the_group_in_one_exchange(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    entities = {name: each for name, each in estate().PACKAGE.entities.items() if name != "Slot"}
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 2}) as world:
        world.account("a")
        for number in range(6):
            world.store.deals.create(world.deal(f"d{number}", "a"))
        monkeypatch.setattr(estate().PACKAGE, "entities", entities)
        run = world.store._session.shell.run
        assert run(count_rows(world.context, "deals")) == 7
        world.context.state.unbuilt.add("Deal.all")
        assert run(count_rows(world.context, "deals")) is None
        world.context.state.unbuilt.clear()
        shown = invoke(namespace, "--to", "8", "--dry-run")
        assert "about 7 rows would move, because the group has 7 rows; about 46 s" in shown.stdout
        shape = json.loads(invoke(namespace, "--to", "4", "--dry-run", "--format", "json").stdout)
        assert (shape["rows"], shape["exact"], shape["doublings"]) == (3, True, 1)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--to", "1"), "group deals has 2 partitions; the number can grow, and not shrink to 1"),
        (("--to", "6"), "the number of partitions must be a power of two from 1 to 1,024, not 6"),
        (("--to", "4", "--group", "other"), "there is no group 'other'; the groups are deals"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(words: tuple[str, ...], text: str) -> None:
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 2}) as world:
        refused = invoke(namespace, *words)
        assert refused.exit_code == 2
        assert text in refused.stderr
        assert doubling(world) is None


def test_a_check_says_that_a_repartition_is_unfinished(monkeypatch: pytest.MonkeyPatch) -> None:
    namespace = ksuid()
    with opened(namespace, partitions={"deals": 2}) as world:
        world.account("a")
        world.ask("HSET", world.context.keyspace.at("deals", 0).schema, "doubling", 4)
        where = ("-p", "estate_store", "-u", server_url(), "-n", namespace)
        text = RUNNER.invoke(app, ["check", *where])
        assert text.exit_code == 0
        line = "repartition of the group deals from 2 to 4 is unfinished: run keyweave repartition --group deals --to 4"
        assert line in text.stdout
        shape = json.loads(RUNNER.invoke(app, ["check", *where, "--format", "json"]).stdout)
        assert (shape["clean"], shape["unfinished"]) == (True, [line])
        monkeypatch.setattr(command, "repartition", partial(repartition, lease=-1.0, plan_life=-6.0))
        assert invoke(namespace, "--to", "4").exit_code == 0
        assert "unfinished" not in RUNNER.invoke(app, ["check", *where]).stdout
