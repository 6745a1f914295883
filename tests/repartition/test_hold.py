"""A repartition and the other commands of an administrator exclude each other, whichever begins first."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.admin import repartition as command
from keyweave.cli import commands
from keyweave.effects import ConnectionFailure, Flow, ServerError, Sleep
from keyweave.errors import ConfigurationError, StoreUnavailableError
from keyweave.exchange.ask import ask
from keyweave.integrity.check import check
from keyweave.integrity.survey import Progress
from keyweave.model.ids import ksuid
from keyweave.repartition.grow import repartition
from keyweave.repartition.hold import LIFE, Hold, read_holds
from keyweave.transfer.export import export
from keyweave.transfer.file import Writer
from tests.partitioned.estate import Estate, estate, opened
from tests.repartition.test_grow import run
from tests.scripted import Scripted
from tests.servers.running import server_url

RUNNER = CliRunner()
app = commands.assemble(commands.installed())
TIME = [b"1700000000", b"0"]


@pytest.fixture
def world() -> Iterator[Estate]:
    with opened(ksuid(), partitions={"deals": 2}) as made:
        for number in range(8):
            made.account(f"a{number}")
            made.store.deals.create(made.deal(f"d{number}", f"a{number}"))
        yield made


def invoke(world: Estate, *words: str) -> Any:
    where = ("-p", "estate_store", "-u", server_url(), "-n", world.context.keyspace.namespace.tenant)
    return RUNNER.invoke(app, [words[0], *where, *words[1:]])


def fields(world: Estate) -> dict[str, str]:
    """The holds, and what says that partitions are being doubled."""
    flat = world.ask("HGETALL", world.context.keyspace.at("deals", 0).schema)
    names = [each.decode() for each in flat[::2]]
    values = [each.decode() for each in flat[1::2]]
    found = dict(zip(names, values, strict=True))
    return {name: value for name, value in found.items() if name.startswith("held:") or name == "doubling"}


def put_hold(world: Estate, seconds: float, what: str = "reindex") -> None:
    now, _ = world.ask("TIME")
    until = int(now) * 1_000_000 + int(seconds * 1e6)
    world.ask("HSET", world.context.keyspace.at("deals", 0).schema, "held:x", f"{until} {what}")


def drive(world: Estate, flow: Flow[Any]) -> Any:
    return world.store._session.shell.run(flow)


def test_a_repartition_does_not_begin_while_a_command_works(world: Estate) -> None:
    hold = Hold(world.context, "backfill")
    drive(world, hold.take())
    (until,) = fields(world).values()
    assert until.endswith(" backfill")
    with pytest.raises(
        ConfigurationError, match=r"deals has to wait: keyweave backfill works .* ends in (120|119|118) s"
    ):
        run(world, 4)
    assert "doubling" not in fields(world)
    drive(world, hold.release())
    assert fields(world) == {}
    run(world, 4)
    assert world.context.keyspace.numbers == {"deals": 4}
    assert world.store.check().clean


def test_the_hold_of_a_process_that_was_killed_ends_and_no_twin_gets_it(world: Estate) -> None:
    put_hold(world, -1.0)
    run(world, 4)
    assert fields(world) == {}
    assert all(
        not world.ask("HEXISTS", each.schema, "held:x") for each in world.context.keyspace.partitions()
    )


def test_a_command_that_began_at_the_same_moment_is_waited_for_before_a_row_moves(world: Estate) -> None:
    """It has read that nothing is doubled, the repartition that nothing is held: both are under way."""
    first = world.context.keyspace.at("deals", 0)
    waited: list[str] = []

    def observe(stage: Any) -> None:
        waited.append(stage.name)
        if stage.name == "waits for keyweave import" and waited.count(stage.name) == 2:
            with opened(world.context.keyspace.namespace.tenant) as other:
                clock = other.ask("GET", first.clock)
                assert clock.isdigit()  # nothing is copied yet
                other.ask("HDEL", first.schema, "held:x")

    flow = repartition(world.context, "deals", 4, observe, lease=-1.0, plan_life=-6.0)
    shell = world.store._session.shell

    def beside() -> Flow[Any]:
        answer: Any = None
        announced = False
        while True:
            try:
                effect = flow.send(answer)
            except StopIteration as stop:
                return stop.value
            if isinstance(effect, Sleep):
                answer = None
                continue
            answer = yield effect
            if not announced and world.ask("HGET", first.schema, "doubling") is not None:
                announced = True
                put_hold(world, 30.0, "import")

    assert shell.run(beside())
    assert waited.count("waits for keyweave import") == 2
    assert world.store.check().clean


def test_a_command_does_not_begin_while_partitions_are_doubled_and_leaves_no_hold(
    world: Estate, tmp_path: Path
) -> None:
    file = tmp_path / "all.ndjson"
    assert invoke(world, "export", str(file)).exit_code == 0
    world.ask("HSET", world.context.keyspace.at("deals", 0).schema, "doubling", 4)
    for words in (
        ("reindex",),
        ("backfill",),
        ("migrate-documents",),
        ("import", str(file)),
        ("drop-view", "X.y"),
    ):
        result = invoke(world, *words)
        assert result.exit_code == 2, result.output
        assert "the repartition of the group deals from 2 to 4 is unfinished" in result.output
    assert fields(world) == {"doubling": "4"}


def test_commands_give_their_hold_back_also_after_an_error(world: Estate, tmp_path: Path) -> None:
    file = tmp_path / "all.ndjson"
    assert invoke(world, "export", str(file)).exit_code == 0
    for words, status in (
        (("reindex",), 0),
        (("backfill",), 0),
        (("migrate-documents",), 0),
        (("import", str(file)), 0),
        (("drop-view", "Deal.gone"), 2),
    ):
        result = invoke(world, *words)
        assert (result.exit_code, fields(world)) == (status, {}), result.output


def test_a_command_that_is_interrupted_gives_its_hold_back(world: Estate) -> None:
    def interrupted() -> Flow[None]:
        yield from ask(world.context, (("TIME",),))
        assert len(fields(world)) == 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(world, Hold(world.context, "reindex").around(interrupted()))
    assert fields(world) == {}


def test_the_command_names_what_a_repartition_waits_for(
    world: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "repartition", partial(repartition, lease=-1.0, plan_life=-6.0))
    put_hold(world, 30.0, "migrate-documents")
    result = invoke(world, "repartition", "--to", "4")
    assert result.exit_code == 2
    assert "keyweave migrate-documents works on this namespace" in result.output
    assert "doubling" not in fields(world)


# -- keeping a hold, with literal replies


def works(scripted: Scripted, pauses: list[float], done: list[str]) -> Flow[str]:
    for number, seconds in enumerate(pauses):
        yield Sleep(seconds)
        yield from ask(scripted.context, (("GET", f"{number}"),))
        done.append(f"{number}")
    return "done"


def taken(scripted: Scripted) -> Hold:
    hold = Hold(scripted.context, "reindex")
    groups = len(scripted.context.keyspace.numbers)
    scripted.run(hold.take(), [[TIME] * groups, [1, None] * groups])
    scripted.effects.clear()
    return hold


def test_a_hold_is_renewed_every_ten_seconds_before_something_is_sent() -> None:
    scripted, done = Scripted(), list[str]()
    hold, groups = taken(scripted), len(scripted.context.keyspace.numbers)
    renewal: list[Any] = [[TIME] * groups, [0, None] * groups]
    flow = hold.keep(works(scripted, [4.0, 4.0, 4.0, 1.0], done))
    assert scripted.run(flow, [[b""], [b""], *renewal, [b""], [b""]]) == "done"
    sent = scripted.sent()
    assert [words[0] for words in sent if words[0] not in ("TIME", "HGET")] == [
        "GET",
        "GET",
        *["HSET"] * groups,
        "GET",
        "GET",
    ]
    until = 1700000000_000000 + int(LIFE * 1e6)
    assert {words[3] for words in sent if words[0] == "HSET"} == {f"{until} reindex"}


def test_a_process_that_stood_still_sends_nothing_more_when_a_repartition_has_begun() -> None:
    scripted, done = Scripted(), list[str]()
    hold, groups = taken(scripted), len(scripted.context.keyspace.numbers)
    seen: list[Any] = [[TIME] * groups, [1, *[None, 1] * (groups - 1), b"8"]]
    with pytest.raises(
        ConfigurationError, match=r"reindex has to wait: the repartition of the group .* from 4 to 8"
    ):
        scripted.run(hold.keep(works(scripted, [1.0, 3600.0], done)), [[b""], *seen])
    assert done == ["0"]


def test_a_hold_that_cannot_be_renewed_for_a_while_lasts_and_then_ends_the_command() -> None:
    scripted, done = Scripted(deadline=0.0), list[str]()
    hold = taken(scripted)
    lost = ConnectionFailure("closed", "gone", sent=True)
    answers = [lost, [b""], [b""], lost, [b""], lost]
    with pytest.raises(StoreUnavailableError, match="gone"):
        scripted.run(hold.keep(works(scripted, [12.0, 1.0, 31.0, 31.0], done)), answers)
    assert done == ["0", "1", "2"]


def test_a_full_server_takes_no_hold_and_is_asked_nevertheless_whether_partitions_are_doubled() -> None:
    scripted, done = Scripted(), list[str]()
    groups = len(scripted.context.keyspace.numbers)
    hold, full = Hold(scripted.context, "drop-view"), ServerError("OOM command not allowed")
    scripted.run(hold.take(), [[TIME] * groups, [full, None] * groups])
    assert scripted.run(hold.keep(works(scripted, [1.0], done)), [[b""]]) == "done"
    with pytest.raises(ConfigurationError, match="drop-view has to wait"):
        scripted.run(hold.take(), [[TIME] * groups, [full, b"8"] * groups, [0] * groups])


# -- what only reads


def test_an_export_or_check_during_which_rows_move_says_so(world: Estate) -> None:
    written, targets = list[bytes](), [4]

    def moves(progress: Progress) -> None:
        if targets:
            with opened(world.context.keyspace.namespace.tenant) as other:
                run(other, targets.pop())

    with pytest.raises(StoreUnavailableError, match="rows moved to other partitions during the export"):
        drive(world, export(world.context, Writer(), written.append, observe=moves))
    assert b'"end":true' not in b"".join(written)
    assert world.context.keyspace.numbers == {"deals": 4}
    targets.append(8)
    with pytest.raises(StoreUnavailableError, match="rows moved to other partitions during the check"):
        drive(world, check(world.context, observe=moves))
    assert drive(world, check(world.context, observe=moves)).clean
    drive(world, export(world.context, Writer(), written.append, observe=moves))
    assert json.loads(written[-1])["documents"] == 16


def test_holds_that_cannot_be_read_have_ended(world: Estate) -> None:
    first = world.context.keyspace.at("deals", 0)
    world.ask("HSET", first.schema, "held:y", "soon reindex")
    assert drive(world, read_holds(world.context, first)) == []
    assert fields(world) == {}
    assert estate()
