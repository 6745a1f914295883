"""Commands that work in several partitions at the same time, as they do on a cluster: one server that passes for three masters.

Each partition that a test wants to fail does so when its keys are asked for; the others have to come to their end.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from keyweave.document.rewrite import Rewrite
from keyweave.effects import Command, ConnectionFailure
from keyweave.errors import CorruptDocumentError, StoreUnavailableError
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.evolution.retire import drop_index, rewrite_documents
from keyweave.expiry.tend import Pace, SweepProgress, tend_once
from keyweave.integrity.check import check
from keyweave.integrity.drift import Drift, Kind, Report
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from keyweave.integrity.survey import Progress
from keyweave.keyspace.keys import Partition
from keyweave.model.ids import ksuid
from keyweave.store.registry import index_field
from keyweave.transfer.export import export
from keyweave.transfer.file import Writer, read_line, verify
from keyweave.transfer.load import Imported, load
from tests.partitioned.estate import Estate, estate, opened

NAMES = [f"a{number}" for number in range(24)]


class Channel:
    """A channel that notes the exchanges, and fails for what goes to one partition once a certain command went there."""

    def __init__(self, channel: Any) -> None:
        self.inner = channel
        self.settings = channel.settings
        self.bad: str | None = None
        self.at = ""
        self.verbs: list[Counter[str]] = []

    def exchange(self, commands: Sequence[Command], *rest: Any) -> list[Any]:
        if tuple(commands) == (("CLUSTER", "SLOTS"),):
            return [[[5500 * n, 5500 * n + 5499, [b"host", 7000 + n]] for n in range(3)]]
        self.verbs.append(Counter(str(command[0]) for command in commands))
        bad = {
            place for place, command in enumerate(commands) if self.bad and self.bad in str(tuple(command))
        }
        if any(commands[place][0] == self.at for place in bad):
            self.at = ""
        if not bad or self.at:
            return list(self.inner.exchange(commands, *rest))
        good = [place for place in range(len(commands)) if place not in bad]
        replies = self.inner.exchange([commands[place] for place in good]) if good else []
        answers = dict(zip(good, replies, strict=True))
        raise ConnectionFailure("closed", "it is gone", sent=True, answers=answers)

    def close(self) -> None:
        self.inner.close()


class Side(Estate):
    """An estate whose partitions are worked on side by side."""

    def __init__(self, store: Any) -> None:
        super().__init__(store)
        object.__setattr__(self.context, "clustered", True)
        self.context.state.parts.clear()
        self.channel = Channel(self.store._session.shell.channel)
        self.store._session.shell.channel = self.channel

    def fail(self, partition: Partition, at: str = "SCAN") -> None:
        """Let a partition be gone from the first command of a kind on."""
        self.channel.bad, self.channel.at = partition.tag, at

    def restore(self) -> None:
        self.channel.bad = None

    def run(self, flow: Any) -> Any:
        return self.store._session.run(flow)

    def exported(self) -> tuple[Writer, list[bytes]]:
        writer, written = Writer(), list[bytes]()
        self.run(export(self.context, writer, written.append))
        return writer, b"".join(written).splitlines(keepends=True)


@pytest.fixture
def side() -> Iterator[Side]:
    with opened(ksuid(), deadline=0.2, backoff=0.01, sweep_every=0) as world:
        for name in NAMES:
            world.account(name)
            for number in range(2):
                world.store.deals.create(world.deal(f"{name}.{number}", name, code=f"c{name}{number}"))
        yield Side(world.store)


def together(side: Side, verb: str) -> int:
    """The most commands with a verb in one exchange since the last call."""
    most = max((each[verb] for each in side.channel.verbs), default=0)
    side.channel.verbs.clear()
    return most


def rows(lines: list[bytes]) -> list[str]:
    """The rows of an export, without what says which write each came with."""
    found = [json.loads(line) for line in lines[1:-1]]
    return sorted(str({**each["document"], "op": ""}) for each in found)


def test_every_walk_scans_some_partitions_at_the_same_time(side: Side) -> None:
    seen: list[tuple[str, int, int]] = []

    def observe(progress: Progress) -> None:
        seen.append((progress.stage, progress.keys, progress.documents))

    together(side, "TIME")
    report = side.run(check(side.context, observe=observe))
    assert (report.clean, report.documents, together(side, "SCAN")) == (True, 72, 8)
    # One display counts them all: it only grows, up to everything.
    assert seen == sorted(seen) and seen[-1][2] == 72
    rewrite = Rewrite()
    side.run(rewrite_documents(side.context, rewrite))
    assert (rewrite.read, rewrite.written, together(side, "SCAN")) == (72, 0, 8)
    side.exported()
    assert together(side, "SCAN") == 8
    side.run(rewrite_documents(side.context, rewrite, at_once=1))
    assert together(side, "SCAN") == 3


def test_homes_without_a_row_are_counted_and_removed_in_all_partitions(side: Side) -> None:
    before = side.homes()
    for number in range(40):
        at = side.context.keyspace.partition("deals", f"no{number}")
        side.ask("HSET", at.homes("Deal"), f"no{number}", f"{number % 8} 5")
    together(side, "TIME")
    report = side.run(check(side.context))
    assert (report.clean, report.vacant, together(side, "HSCAN") >= 8) == (True, 40, True)
    side.store.sweep()
    assert together(side, "HSCAN") == 8
    assert side.homes() == before


def test_an_export_is_whole_and_has_its_digest_whatever_order_the_partitions_come_in(side: Side) -> None:
    writer, lines = side.exported()
    assert verify(lines).end.documents == 72
    keys = Counter(json.loads(line)["document"].get("id") for line in lines[1:-1])
    assert keys == Counter([*NAMES, *[f"{name}.{number}" for name in NAMES for number in range(2)]])
    assert (writer.left_out, writer.counts) == (0, {"Account": 24, "Deal": 48})
    parsed = [read_line(line) for line in lines[1:-1]]
    with opened(ksuid()) as other:
        copy, imported = Side(other.store), Imported()
        copy.run(load(copy.context, [(each.entity, bytes(each.document)) for each in parsed], "op", imported))
        assert imported == Imported(written=72)
        assert together(copy, "EVALSHA") + together(copy, "EVAL") > 0
        assert copy.store.check().clean
        assert rows(copy.exported()[1]) == rows(lines)


def test_a_check_of_a_partition_that_is_gone_still_finds_what_the_others_have(side: Side) -> None:
    gone, damaged = side.partition("a1"), side.others("a1")
    name = next(name for name in NAMES if side.partition(name) is side.partition(damaged))
    here = side.partition(name)
    side.ask("ZREM", here.view("Deal", "all", ()), f"{name}.0")
    found: list[Drift] = []
    report = Report()
    side.fail(gone)
    with pytest.raises(
        StoreUnavailableError, match=f"^partition {gone.index} of the group deals on host:700.: .*it is gone"
    ):
        side.run(check(side.context, on_drift=found.extend, report=report))
    assert [(drift.kind, drift.suspect.row) for drift in found] == [(Kind.MISSING_ENTRY, f"{name}.0")]
    lost = 3 * sum(side.partition(each) is gone for each in NAMES)
    assert (report.drift.total(), report.documents) == (1, 72 - lost)
    side.restore()
    assert side.run(check(side.context)).drift.total() == 1


def test_a_repair_repairs_what_the_others_have_and_is_run_again_for_the_rest(side: Side) -> None:
    for name in NAMES:
        partition = side.partition(name)
        side.ask("ZREM", partition.view("Deal", "all", ()), f"{name}.0", f"{name}.1")
    gone = side.partition("a1")
    lost = 2 * sum(side.partition(name) is gone for name in NAMES)
    side.fail(gone)
    repairs = Repairs()
    with pytest.raises(StoreUnavailableError, match=f"partition {gone.index} of the group deals"):
        side.run(reindex(side.context, repairs))
    assert repairs.mended.total() == 48 - lost
    side.restore()
    again = Repairs()
    side.run(reindex(side.context, again))
    assert (again.mended.total(), again.complete) == (lost, True)
    assert side.run(check(side.context)).clean


def test_a_build_with_a_partition_that_is_gone_declares_nothing_built(side: Side) -> None:
    for partition in side.context.keyspace.partitions():
        field, view = index_field("Deal.by_state"), partition.view("Deal", "by_state", ("open",))
        side.ask("HDEL", partition.schema, field)
        side.ask("UNLINK", view)
    build, gone = Build(), side.partition("a1")
    side.fail(gone)
    with pytest.raises(StoreUnavailableError, match=f"partition {gone.index} of the group deals"):
        side.run(backfill(side.context, build))
    assert build.built == () and build.repairs.mended.total() > 0
    side.restore()
    build = Build()
    side.run(backfill(side.context, build))
    assert build.built == ("Deal.by_state",)
    assert side.store.deals.by_state(estate().State.OPEN).count() == 48


def test_a_removed_index_of_a_partition_that_is_gone_stays_registered(side: Side) -> None:
    for partition in side.context.keyspace.partitions():
        side.ask("HSET", partition.schema, index_field("Deal.by_old"), '{"definition":"x","built":true}')
        side.ask("ZADD", f"{partition.tag}Deal.by_old:x", 1, "k")
    gone = side.partition("a1")
    side.fail(gone)
    with pytest.raises(StoreUnavailableError, match=f"partition {gone.index} of the group deals"):
        side.run(drop_index(side.context, "Deal.by_old"))
    side.restore()
    left = [side.ask("EXISTS", f"{each.tag}Deal.by_old:x") for each in side.context.keyspace.partitions()]
    assert sum(left) == 1
    assert side.run(drop_index(side.context, "Deal.by_old")) == 1
    assert side.run(check(side.context)).clean


def test_an_export_ends_with_the_error_of_a_partition_and_writes_no_last_line(side: Side) -> None:
    written: list[bytes] = []
    gone = side.partition("a1")
    side.fail(gone)
    with pytest.raises(StoreUnavailableError, match=f"partition {gone.index} of the group deals"):
        side.run(export(side.context, Writer(), written.append))
    assert b'"end":true' not in b"".join(written)


def test_an_import_writes_the_rows_of_the_others_and_is_run_again_for_the_rest(side: Side) -> None:
    _, lines = side.exported()
    rows = [(each.entity, bytes(each.document)) for each in map(read_line, lines[1:-1])]
    with opened(ksuid(), deadline=0.2, backoff=0.01) as other:
        copy, imported = Side(other.store), Imported()
        gone = copy.partition("a1")
        copy.fail(gone, at="EVALSHA")
        with pytest.raises(StoreUnavailableError, match=r"of the group deals.*it is gone"):
            copy.run(load(copy.context, rows, "op", imported))
        assert 0 < imported.written < 72
        copy.restore()
        again = Imported()
        copy.run(load(copy.context, rows, "op", again))
        assert (again.written + imported.written, again.present) == (72, imported.written)
        assert copy.store.check().clean


def closed(side: Side) -> None:
    """Make a deal of every account that is past its deadline."""
    past = {"Deal": timedelta(microseconds=1)}
    with opened(side.context.keyspace.namespace.tenant, retention=past, sweep_every=0) as world:
        for name in NAMES:
            world.store.deals.create(world.deal(f"{name}.due", name, state=estate().State.CLOSED))


def test_a_sweep_removes_what_is_due_in_several_partitions_at_the_same_time(side: Side) -> None:
    closed(side)
    together(side, "TIME")
    assert side.store.sweep(limit=5) == 5
    assert side.store.sweep() == 19
    assert together(side, "ZRANGEBYSCORE") == 8
    assert side.run(check(side.context)).clean


def test_a_sweep_of_a_damaged_partition_removes_what_is_due_in_the_others(side: Side) -> None:
    closed(side)
    bad = side.partition("a1")
    lost = sum(side.partition(name) is bad for name in NAMES)
    side.ask("RENAME", bad.expiry, bad.expiry + ".kept")
    side.ask("SET", bad.expiry, "no set")
    named = f"^partition {bad.index} of the group deals.*: a key holds another type"
    with pytest.raises(CorruptDocumentError, match=named):
        side.store.sweep()
    progress = SweepProgress()
    with pytest.raises(CorruptDocumentError, match=named):
        side.run(tend_once(side.context, Pace(share=1.0), progress, limit=100))
    assert (progress.swept, progress.failures) == (0, 0)  # the others were swept by the first
    side.ask("RENAME", bad.expiry + ".kept", bad.expiry)
    assert side.store.sweep() == lost
    assert side.run(check(side.context)).clean


def test_a_paced_sweep_sweeps_one_partition_of_a_master_at_a_time_and_counts_what_it_did(side: Side) -> None:
    closed(side)
    together(side, "TIME")
    progress = SweepProgress()
    side.run(tend_once(side.context, Pace(share=1.0, rows=2), progress))
    assert (progress.swept, progress.kept, progress.rounds) == (24, 0, 1)
    assert together(side, "ZRANGEBYSCORE") == 3
