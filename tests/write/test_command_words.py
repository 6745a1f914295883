"""The option `command_words`: no command is longer, whatever a store does, and what needs a longer one is refused.

A proxy before a real server refuses longer commands, and measures the longest one.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial, reduce
from operator import or_
from types import SimpleNamespace
from typing import Any

import pytest

from compozy_store import Status, TaskState
from compozy_store.entities import TASK_STATE, USER, WORKFLOW_STATE
from compozy_store.sync import Store
from keyweave.changes.answer import Ticket
from keyweave.changes.plan import Plan
from keyweave.errors import ConfigurationError, ReferenceViolationError, TransactionTooLargeError
from keyweave.exchange.heal import heal_entries
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from keyweave.model.entry import CREATED, Entry, ViewEntry
from keyweave.query import one_of
from keyweave.transfer.clear import clear
from keyweave.transfer.export import export
from keyweave.transfer.file import Writer, read_line
from keyweave.transfer.load import Imported, load
from keyweave.write import delete as delete_flows
from keyweave_generator.load import load_sources
from keyweave_generator.output import write
from keyweave_generator.render import render
from tests.harness import (
    FLAVOURS,
    Harness,
    add_tasks,
    exchanges,
    harness,
    plans_in,
    run,
    task,
    until_freed,
    user,
    watched,
)
from tests.servers.filtering import FilteringProxy
from tests.servers.profiles import Profile
from tests.servers.running import Running, configured_server, server_url

SERVICE = 3_999
"""What services permit."""

SMALL = 200


class Killed(Exception):
    """The client dies here."""


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@contextmanager
def bounded(
    flavour: str, server: Running, words: int, *, near: bool = True, **options: Any
) -> Iterator[Harness]:
    """A store on a server that refuses longer commands; at the end none was longer.

    Args:
        near: whether some came near the bound.
    """
    proxy = FilteringProxy(server.socket, Profile("words", words=words))
    try:
        with harness(flavour, "words", url=proxy.url, command_words=words, timeout=30, **options) as stores:
            yield stores
        assert proxy.longest.words <= words
        assert not near or proxy.longest.words > words // 2
    finally:
        proxy.close()


def tasks(size: int) -> list[TaskState]:
    """Tasks, every tenth of which has the nine that follow it as children."""
    return [task(f"t{n:05}", f"t{n - n % 10:05}" if n % 10 else None) for n in range(size)]


def created(stores: Harness, rows: list[TaskState]) -> None:
    stores.do(stores.db.workflow_states.create(run()))
    results = stores.do(stores.db.task_states.create_many(rows))
    assert [row for row in results if isinstance(row, Exception)] == []


def count(stores: Harness) -> int:
    return int(stores.do(stores.db.task_states.by_workflow("w").count()))


@pytest.mark.parametrize(("words", "rows"), [(SERVICE, 5_000), (SMALL, 300)])
def test_a_cascade(flavour: str, server: Running, words: int, rows: int) -> None:
    with bounded(flavour, server, words) as stores:
        created(stores, tasks(rows))
        stores.do(stores.db.workflow_states.create(run("other")))
        stores.do(stores.db.workflow_states.delete("w"))
        assert count(stores) == 0
        assert [row.workflow_exec_id for row in stores.do(stores.db.workflow_states.all())] == ["other"]
        assert stores.clean()


@pytest.mark.parametrize("words", [SERVICE, SMALL])
def test_an_interrupted_cascade_leaves_a_valid_state_and_is_resumed(
    flavour: str, server: Running, words: int
) -> None:
    with bounded(flavour, server, words) as stores:
        created(stores, tasks(300))

        def stop(number: int, commands: Any) -> None:
            applied[0] += bool(plans_in(stores, commands))
            if applied[0] == 3:
                raise Killed

        applied = [0]
        flow = delete_flows.discard(stores.db.session.context, WORKFLOW_STATE, "w")
        with pytest.raises(Killed):
            stores.do(stores.db.session.run(watched(stores, flow, stop)))
        assert 0 < count(stores) < 300
        assert stores.clean()
        stores.do(stores.db.workflow_states.delete("w"))
        assert count(stores) == 0
        assert stores.clean()


@pytest.mark.parametrize(("words", "rows"), [(SERVICE, 10_000), (SMALL, 400)])
def test_bulk_writes(flavour: str, server: Running, words: int, rows: int) -> None:
    with bounded(flavour, server, words) as stores:
        made = tasks(rows)
        created(stores, made)
        for row in made:
            row.status = Status.SUCCESS
        results = stores.do(stores.db.task_states.upsert_many(made))
        assert [row for row in results if isinstance(row, Exception)] == []
        keys = [row.task_exec_id for row in made]
        assert [row.status for row in stores.do(stores.db.task_states.get_many(keys))] == [
            Status.SUCCESS
        ] * rows
        # The rows without children come first, so that most deletes share plans.
        ordered = sorted(keys, key=lambda key: key.endswith("0"))
        assert stores.do(stores.db.task_states.delete_many(ordered)) == [True] * rows
        assert stores.clean()


@pytest.mark.parametrize(("words", "rows"), [(SERVICE, 5_000), (SMALL, 300)])
def test_wide_reads(flavour: str, server: Running, words: int, rows: int) -> None:
    with bounded(flavour, server, words, near=words == SMALL) as stores:
        db, do = stores.db.task_states, stores.do
        created(stores, tasks(rows))
        keys = [f"t{n:05}" for n in range(rows)]
        assert [row.task_exec_id for row in do(db.get_many([*keys, "none"])) if row] == keys
        assert sorted(do(db.by_workflow("w").keys())) == keys
        assert len(do(db.by_workflow("w").list())) == rows
        assert len(do(db.where(task_exec_id=one_of(*keys[:1000])).list())) == min(rows, 1000)
        names = [f"n{number}" for number in range(60)]
        wide = db.where(task_id=one_of("t", *names), workflow_exec_id="w")
        assert len(do(wide.page(limit=1000)).rows) == min(rows, 1000)
        assert do(wide.count()) == rows
        several = [db.by_parent(key) for key in keys[:1000:10]]
        union = reduce(or_, several)
        assert len(do(union.list())) == 9 * len(several)
        assert len(do(union.keys())) == do(union.count()) == 9 * len(several)
        assert len(do(db.tree("t00000"))) == 10
        assert len(do(stores.db.workflow_states.get_with_task_states("w"))[1]) == rows
        having = stores.db.workflow_states.where().having(db.where(task_id=one_of("t", *names)))
        assert [row.workflow_exec_id for row in do(having.scan().list())] == ["w"]


@pytest.mark.parametrize(("words", "rows"), [(SERVICE, 2_000), (SMALL, 300)])
def test_check_repair_export_and_import(flavour: str, server: Running, words: int, rows: int) -> None:
    with bounded(flavour, server, words, near=words == SMALL) as stores:
        created(stores, tasks(rows))
        context, go = stores.db.session.context, partial(_go, stores)
        partition = context.partition(TASK_STATE)
        stores.send(*[("DEL", key) for key in views(stores) if key != partition.expiry])
        assert not stores.do(stores.db.check()).clean
        repairs = Repairs()
        go(reindex(context, repairs))
        assert repairs.mended.total() and not repairs.left and not repairs.postponed
        assert stores.clean()

        before = views(stores)
        written: list[bytes] = []
        go(export(context, Writer(), written.append))
        assert go(clear(context)) > rows
        lines = b"".join(written).splitlines(keepends=True)[1:-1]
        rows_of_file = [(each.entity, bytes(each.document)) for each in map(read_line, lines)]
        imported = Imported()
        for start in range(0, len(rows_of_file), 1_000):
            go(load(context, rows_of_file[start : start + 1_000], "op", imported))
        assert (imported.written, imported.complete) == (rows + 1, True)
        assert stores.clean()
        assert sorted(views(stores)) == sorted(before)


def views(stores: Harness) -> list[str]:
    """The keys of sorted sets."""
    pattern = stores.db.session.context.keyspace.pattern()
    ((_, keys),) = stores.send(("SCAN", 0, "MATCH", pattern, "COUNT", 10_000_000, "TYPE", "zset"))
    return [key.decode() for key in keys]


def _go(stores: Harness, flow: Any) -> Any:
    return stores.do(stores.db.session.run(flow))


@pytest.mark.parametrize(("words", "rows"), [(SERVICE, 1_000), (SMALL, 100)])
def test_a_sweep(flavour: str, server: Running, words: int, rows: int) -> None:
    retention = {"TaskState": timedelta(milliseconds=1), "WorkflowState": timedelta(milliseconds=1)}
    with bounded(flavour, server, words, retention=retention, sweep_every=0) as stores:
        made = tasks(rows)
        created(stores, made)
        for row in made:
            row.status = Status.SUCCESS
        stores.do(stores.db.task_states.upsert_many(made))
        while stores.do(stores.db.sweep()):
            pass
        assert count(stores) == 0
        assert stores.clean()


def test_rows_that_the_server_freed_are_forgotten(flavour: str, server: Running) -> None:
    options: dict[str, Any] = {"retention": {"TaskState": timedelta(milliseconds=1)}, "grace_ms": 1}
    with bounded(flavour, server, SMALL, sweep_every=0, **options) as stores:
        made = [task(f"t{n}", status=Status.SUCCESS) for n in range(100)]
        created(stores, made)
        until_freed(stores, TASK_STATE, [row.task_exec_id for row in made])
        while stores.do(stores.db.sweep()):
            pass
        assert stores.do(stores.db.check()).unswept == 0
        assert stores.clean()


def test_dangling_entries_of_a_parent_are_healed_in_parts(flavour: str, server: Running) -> None:
    with bounded(flavour, server, SMALL) as stores:
        created(stores, [task("t")])
        partition = stores.db.session.context.partition(TASK_STATE)
        view = partition.view("TaskState", "by_workflow", ("w",))
        stores.send(*[("ZADD", view, n, f"gone{n}") for n in range(150)])
        stores.do(stores.db.workflow_states.delete("w"))
        assert stores.send(("EXISTS", view)) == [0]
        assert stores.clean()


def test_a_transaction_that_does_not_fit_is_refused_before_it_is_sent(flavour: str, server: Running) -> None:
    with bounded(flavour, server, SMALL) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        before = stores.contents()
        with exchanges(stores) as sent, pytest.raises(TransactionTooLargeError) as caught:
            add_tasks(stores, [task(f"t{n}") for n in range(100)])
        assert not any(plans_in(stores, commands) for commands in sent)
        assert (caught.value.most, caught.value.words > SMALL) == (SMALL, True)
        assert stores.contents() == before
        add_tasks(stores, [task("t0"), task("t1")])
        stores.do(stores.db.task_states.create_many([task(f"u{n}") for n in range(60)]))

        def steps(tx: Any) -> Generator[Any, Any, None]:
            yield tx.workflow_states.delete("w")

        before = stores.contents()
        with pytest.raises(TransactionTooLargeError):
            stores.transact(steps)
        assert stores.contents() == before


def test_more_locks_than_a_command_has_words_are_released(flavour: str, server: Running) -> None:
    with bounded(flavour, server, SMALL) as stores:
        stores.do(stores.db.users.create_many([user(f"u{n}") for n in range(250)]))

        def locking(fails: bool, tx: Any) -> Generator[Any, Any, None]:
            for number in range(250):
                yield tx.users.get_for_update(f"u{number}")
            if fails:
                raise Killed
            yield tx.users.delete("u0")

        with pytest.raises(Killed):
            stores.transact(partial(locking, True))
        assert not locks(stores)
        # Each of the rows that were read is guarded, and so many guards do not fit.
        with pytest.raises(TransactionTooLargeError):
            stores.transact(partial(locking, False))
        assert not locks(stores)


def locks(stores: Harness) -> list[str]:
    partition = stores.db.session.context.partition(USER)
    prefix = partition.lock("User", "")
    return [key for key in stores.contents() if key.startswith(prefix)]


LABELS = {
    "package.yaml": """\
package: labels_store
namespace: {app: labels, version: v1, environment: test, tenant: default}
groups:
  goods: {}
""",
    "parcel.yaml": """\
entity: Parcel
group: goods
key: id
fields:
  id: {type: id}
  tags: {type: list, of: string, default: []}
views:
  by_tag: {fields: [], each: tags, order: created, why: search}
  all: {fields: [], order: created, why: lists}
""",
}


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("labels")
    write(folder, render(load_sources(LABELS)))
    sys.path.insert(0, str(folder))
    yield importlib.import_module("labels_store")
    sys.path.remove(str(folder))


def parcel(labels: Any, key: str, tags: int) -> Any:
    return labels.Parcel(id=key, tags=[f"tag{number}" for number in range(tags)])


def test_a_row_that_does_not_fit_is_refused(flavour: str, server: Running, labels: Any) -> None:
    module = importlib.import_module(f"labels_store.{flavour}")
    options: dict[str, Any] = {"module": SimpleNamespace(**{flavour: module}), "url": server.url}
    with (
        harness(flavour, "large", **options) as plain,
        harness(flavour, plain, command_words=SMALL, **options) as stores,
    ):
        parcels, do = stores.db.parcels, stores.do
        for write_row in (parcels.create, parcels.upsert):
            with pytest.raises(TransactionTooLargeError, match="command_words"):
                do(write_row(parcel(labels, "a", 100)))
        rows = [parcel(labels, key, size) for key, size in (("a", 1), ("b", 100), ("c", 2))]
        first, second, third = do(parcels.create_many(rows))
        assert (first.id, type(second), third.id) == ("a", TransactionTooLargeError, "c")
        assert sorted(do(parcels.all().keys())) == ["a", "c"]

        # A store without the option wrote a row that one with it can read, but not delete; rows beside it are deleted.
        plain.do(plain.db.parcels.create(parcel(labels, "b", 100)))
        assert len(do(parcels.get("b")).tags) == 100
        outcomes = do(parcels.delete_many(["a", "b", "c"]))
        assert (outcomes[0], type(outcomes[1]), outcomes[2]) == (True, TransactionTooLargeError, True)
        with pytest.raises(TransactionTooLargeError):
            do(parcels.delete("b"))
        assert do(parcels.all().keys()) == ["b"]

        # Entries of one row are repaired in parts. A row that is imported has to fit.
        context = stores.db.session.context
        stores.send(*[("DEL", key) for key in views(stores)])
        repairs = Repairs()
        _go(stores, reindex(context, repairs))
        assert (repairs.mended.total(), repairs.left, repairs.postponed) == (101, {}, {})
        assert do(stores.db.check()).clean
        written: list[bytes] = []
        _go(stores, export(context, Writer(), written.append))
        _go(stores, clear(context))
        lines = [read_line(line) for line in b"".join(written).splitlines(keepends=True)[1:-1]]
        imported = Imported()
        _go(stores, load(context, [(each.entity, bytes(each.document)) for each in lines], "op", imported))
        assert (imported.written, imported.too_large, imported.complete) == (0, 1, False)


def test_entries_of_one_row_are_healed_in_parts(flavour: str, server: Running, labels: Any) -> None:
    module = importlib.import_module(f"labels_store.{flavour}")
    options: dict[str, Any] = {"module": SimpleNamespace(**{flavour: module}), "url": server.url}
    with harness(flavour, "heal", **options, command_words=SMALL) as stores:
        context = stores.db.session.context
        entity = context.package.entities["Parcel"]
        entries: list[Entry] = [ViewEntry("by_tag", (f"tag{n}",), "gone", CREATED) for n in range(100)]
        partition = context.partition(entity)
        stores.send(
            *[("ZADD", partition.view("Parcel", "by_tag", (f"tag{n}",)), 1, "gone") for n in range(100)]
        )
        assert _go(stores, heal_entries(context, [(entity, "gone", None, entries)])) > 0
        assert views(stores) == []


@pytest.mark.parametrize("flavour_of_plan", ["put", "restore", "entries"])
def test_a_plan_knows_how_many_words_its_command_has(flavour_of_plan: str) -> None:
    with harness("sync", "plan") as stores:
        context = stores.db.session.context
        plan = Plan(context.partition(TASK_STATE), context.state.ledger.new_op())
        codec = context.codec(TASK_STATE)
        row = task("t", "p")
        prepared = codec.prepare(row, None)
        writing: dict[str, Callable[[], None]] = {
            "put": lambda: plan.put(TASK_STATE, "t", prepared.body, 5, [], prepared.entries),
            "restore": lambda: plan.restore(TASK_STATE, "t", (1, 2, 3), prepared.body, [], prepared.entries),
            "entries": lambda: plan.change_entries(TASK_STATE, prepared.entries, []),
        }
        plan.guard_absent(TASK_STATE, "t")
        writing[flavour_of_plan]()
        plan.advance_clock(7)
        options: dict[str, Any] = {"until": 1, "grace_ms": 2, "renew": True, "again": False, "writer": "w"}
        for clustered in (False, True):
            command = plan.command("sha", "EVALSHA", ticket=Ticket("s", 1, 2), clustered=clustered, **options)
            assert plan.words + clustered == len(command)


def test_without_the_option_a_cascade_is_one_step(flavour: str) -> None:
    with harness(flavour, "whole") as stores:
        created(stores, [task(f"t{n:05}", f"t{n // 2:05}" if n else None) for n in range(498)])
        with exchanges(stores) as sent:
            stores.do(stores.db.workflow_states.delete("w"))
        (plan,) = [each for commands in sent for each in plans_in(stores, commands)]
        assert len(plan) > 12_000


@pytest.mark.parametrize("value", [0, 99, -1, 3999.0, True, "many"])
def test_a_wrong_number_is_refused(value: object) -> None:
    with pytest.raises(ConfigurationError, match="command_words"):
        Store.open(server_url(), command_words=value)


def test_a_url_may_have_the_option() -> None:
    url = server_url()
    where = f"{url}{'&' if '?' in url else '?'}command_words=3999"
    with harness("sync", "url", url=where) as stores:
        assert stores.db.session.context.policy.command_words == 3_999
    with harness("sync", "url", url=where, command_words=500) as stores:
        assert stores.db.session.context.policy.command_words == 500


def test_upserts_whose_guesses_make_too_long_a_plan_are_checked_at_once(
    flavour: str, server: Running
) -> None:
    """The plan that inserts rows is longer than the one that replaces them, and rows that are refused are in no plan."""
    with bounded(flavour, server, 300) as stores:
        created(stores, tasks(10))
        recent = stores.db.session.context.state.recent
        for key in [f"t{n:05}" for n in range(10)]:
            recent.drop("TaskState", key)

        def replacing(tx: Any) -> Any:
            for each in tasks(10):
                each.status = Status.PAUSED
                yield tx.task_states.upsert(each)

        stores.transact(replacing)
        assert stores.do(stores.db.task_states.by_status(Status.PAUSED).count()) == 10

        def refused(tx: Any) -> Any:
            for number in range(20):
                with suppress(ReferenceViolationError):
                    yield tx.task_states.upsert(task(f"x{number}", "nobody"))
            yield tx.task_states.upsert(task("last"))

        stores.transact(refused)
        assert count(stores) == 11
