"""Deleting families: in one step or in chunks, of any depth and with cycles, interrupted and during inserts.

No remaining row refers to a deleted one, and a refused delete leaves every key as it was.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Iterator, Sequence
from functools import partial
from typing import Any

import pytest

from compozy_store import APIKey, APIKeyExistsError, TaskState
from compozy_store.entities import TASK_STATE, USER, WORKFLOW_STATE
from compozy_store.sync import Store
from keyweave.effects import Command, ConnectionFailure
from keyweave.errors import (
    CorruptDocumentError,
    OutcomeUnknownError,
    ReferenceViolationError,
    StoreUnavailableError,
    TransactionConflictError,
)
from keyweave.write import delete as delete_flows
from tests.contents import contents
from tests.harness import FLAVOURS, Harness, add_tasks, harness, plans_in, run, task, user, watched
from tests.scripted import declare_keys
from tests.servers.running import server_url

CHUNK = 500


class Killed(Exception):
    """The client dies here."""


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(params=[(flavour, remembered) for flavour in FLAVOURS for remembered in (0, 1024)])
def stores(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A store that reads the families that it deletes, or one that guesses small ones as it remembers them."""
    flavour, remembered = request.param
    with harness(flavour, request.node.name, remembered=remembered) as opened:
        opened.do(opened.db.workflow_states.create(run()))
        opened.do(opened.db.workflow_states.create(run("bystander")))
        add_tasks(opened, [task("by", workflow="bystander"), task("stander", "by", workflow="bystander")])
        yield opened


def family(size: int) -> list[TaskState]:
    """Tasks, every tenth of which has the nine that follow it as children."""
    return [task(f"t{n}", f"t{n - n % 10}" if n % 10 else None) for n in range(size)]


def deleting(stores: Harness, before: Any, key: str = "w") -> Any:
    """Delete an execution, watching every exchange."""
    flow = delete_flows.discard(stores.db.session.context, WORKFLOW_STATE, key)
    return stores.do(stores.db.session.run(watched(stores, flow, before)))


def delete_task(key: str, tx: Any) -> Generator[Any, Any, None]:
    """The steps of a transaction that deletes one task."""
    yield tx.task_states.delete(key)


def present(stores: Harness, keys: Sequence[str]) -> list[str]:
    rows = stores.do(stores.db.task_states.get_many(keys))
    return [row.task_exec_id for row in rows if row is not None]


def test_a_large_family_is_deleted_in_bounded_chunks_with_the_parent_last(stores: Harness) -> None:
    stores.do(stores.db.workflow_states.delete("w"))
    before = stores.contents()
    stores.do(stores.db.workflow_states.create(run()))
    add_tasks(stores, family(1299))
    sizes: list[int] = []
    parents: list[bool] = []
    root = stores.db.session.context.partition(WORKFLOW_STATE).document("WorkflowState", "w")

    def count(_: int, commands: tuple[Command, ...]) -> None:
        for plan in plans_in(stores, commands):
            sizes.append([*plan].count("delete"))
            parents.append(root in plan)

    assert deleting(stores, count) is True
    assert sum(sizes) == 1300
    assert max(sizes) <= CHUNK
    assert parents == [False] * (len(sizes) - 1) + [True]
    assert stores.db.stats.conflicts == 0
    assert stores.contents() == before


def test_a_delete_ends_although_another_writer_recreates_every_child(flavour: str) -> None:
    keys = [row.task_exec_id for row in family(12)]
    with (
        harness(flavour, flavour, chunk=4, attempts=5) as stores,
        Store.open(server_url(), namespace=stores.namespace) as other,
    ):
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, family(12))
        exchanges = 0

        def recreate(number: int, _: tuple[Command, ...]) -> None:
            nonlocal exchanges
            exchanges = number
            assert number < 500, "the delete never ends"
            for row, found in zip(family(12), other.task_states.get_many(keys), strict=True):
                if found is None:
                    other.task_states.create(row)

        with pytest.raises(TransactionConflictError):
            deleting(stores, recreate)
        assert exchanges < 200
        assert stores.clean()
        stores.do(stores.db.workflow_states.delete("w"))
        assert stores.contents() == {}


def test_a_child_that_comes_while_another_client_heals_a_dangling_entry_is_deleted_too(
    stores: Harness,
) -> None:
    """The view of the children has as many members as before, so its size does not show that they are others."""
    add_tasks(stores, [task("lost"), task("kept")])
    stores.send(("DEL", stores.db.session.context.partition(TASK_STATE).document("TaskState", "lost")))
    with Store.open(server_url(), namespace=stores.namespace) as other:
        changed = False

        def change(_: int, commands: tuple[Command, ...]) -> None:
            nonlocal changed
            if plans_in(stores, commands) and not changed:
                changed = True
                other.task_states.by_workflow("w").list()
                other.task_states.create(task("new"))

        assert deleting(stores, change) is True
        assert changed
        assert other.task_states.get_many(["lost", "kept", "new"]) == [None, None, None]


@pytest.mark.parametrize("plans", [1, 2, 3])
@pytest.mark.parametrize("how", ["killed", "cut before", "cut after"])
def test_an_interrupted_delete_is_completed_by_deleting_again(flavour: str, plans: int, how: str) -> None:
    with harness(flavour, f"{flavour}-{plans}-{how}") as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, family(250))
        seen = 0

        def interrupt(_: int, commands: tuple[Command, ...]) -> None:
            nonlocal seen
            found = plans_in(stores, commands)
            seen += bool(found)
            if seen <= plans:
                return
            if how == "killed":
                raise Killed
            raise ConnectionFailure(
                "closed", "the connection was cut", sent=how == "cut after" and bool(found)
            )

        expected = {
            "killed": Killed,
            "cut before": StoreUnavailableError,
            "cut after": OutcomeUnknownError,
        }[how]
        with harness(flavour, stores, deadline=0.02, chunk=50) as impatient, pytest.raises(expected):
            deleting(impatient, interrupt)
        assert stores.do(stores.db.workflow_states.find("w")) is not None
        left = stores.do(stores.db.task_states.by_workflow("w").count())
        assert 0 < left < 250
        assert stores.clean()
        stores.do(stores.db.workflow_states.delete("w"))
        assert stores.contents() == {}


@pytest.mark.parametrize("declared_only", [False, True])
@pytest.mark.parametrize("chunk", [1, 3, 500])
def test_an_insert_at_any_moment_of_a_delete_leaves_no_orphan(chunk: int, declared_only: bool) -> None:
    """In each run, a child of a middle row is inserted before another exchange of the delete."""
    moment, over, inserted = 0, False, set()
    while not over:
        moment += 1
        with harness("sync", f"moment-{chunk}-{moment}", chunk=chunk, remembered=0) as stores:
            declare_keys(stores.db.session.context, declared_only)
            stores.do(stores.db.workflow_states.create(run()))
            add_tasks(stores, [task("p"), task("q", "p"), task("r", "p"), task("s", "q"), task("t", "q")])
            over = True

            def insert(
                number: int, _: tuple[Command, ...], stores: Harness = stores, moment: int = moment
            ) -> None:
                nonlocal over
                if number == moment:
                    over = False
                    try:
                        stores.db.task_states.create(task("late", "q"))
                        inserted.add(True)
                    except ReferenceViolationError:
                        inserted.add(False)

            assert deleting(stores, insert) is True
            assert stores.contents() == {}
    assert moment > (2 if chunk == 500 and not declared_only else 3)
    assert inserted == ({True, False} if chunk < 500 else {True})


@pytest.mark.parametrize("chunk", [2, 500])
def test_a_chain_of_any_depth_is_deleted(flavour: str, chunk: int) -> None:
    depth = 1300 if chunk == 500 else 60
    with harness(flavour, f"chain-{flavour}-{chunk}", chunk=chunk) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        before = stores.contents()
        add_tasks(stores, [task(f"t{n}", f"t{n - 1}" if n else None) for n in range(depth)])
        stores.do(stores.db.task_states.delete("t0"))
        assert stores.db.stats.conflicts == 0
        assert stores.contents() == before


@pytest.mark.parametrize("length", [1, 2, 7])
@pytest.mark.parametrize("chunk", [1, 3, 500])
@pytest.mark.parametrize("inside", [True, False])
@pytest.mark.parametrize("remembered", [0, 1024])
def test_a_cycle_of_parents_is_deleted_from_any_of_its_rows(
    length: int, chunk: int, inside: bool, remembered: int
) -> None:
    name = f"circle-{length}-{chunk}-{inside}"
    with harness("sync", name, chunk=chunk, remembered=remembered) as stores:
        stores.db.workflow_states.create(run())
        before = stores.contents()
        for start in range(length):
            add_tasks(stores, [task(f"c{n}", f"c{n - 1}" if n else None) for n in range(length)])
            add_tasks(stores, [task(f"leaf{n}", f"c{n % length}") for n in range(4)])
            stores.db.task_states.change("c0", lambda row: setattr(row, "parent_state_id", f"c{length - 1}"))

            def remove(tx: Any, key: str = f"c{start}") -> Generator[Any, Any, None]:
                yield tx.task_states.delete(key)

            if inside:
                stores.transact(remove)
            else:
                list(remove(stores.db))
            assert stores.contents() == before


@pytest.mark.parametrize("seed", range(10))
def test_in_any_graph_exactly_the_rows_below_are_deleted(seed: int) -> None:
    """Random parents, including cycles: deleted rows and rows below them are removed, all others stay unchanged."""
    chance = random.Random(seed)
    keys = [f"t{n}" for n in range(24)]
    remembered = chance.choice([0, 1024])
    with harness(
        "sync", f"graph-{seed}", chunk=chance.choice([1, 2, 5, 500]), remembered=remembered
    ) as stores:
        declare_keys(stores.db.session.context, chance.random() < 0.3)
        stores.db.workflow_states.create(run())
        add_tasks(stores, [task(key) for key in keys])
        parents = {key: chance.choice([None, *keys]) for key in keys}
        for key, parent in parents.items():
            stores.db.task_states.change(
                key, lambda row, parent=parent: setattr(row, "parent_state_id", parent)
            )
        left = set(keys)
        while left:
            deleted = {chance.choice(sorted(left))}
            root = min(deleted)
            while more := {key for key in left if parents[key] in deleted} - deleted:
                deleted |= more
            if chance.random() < 0.5:
                stores.db.task_states.delete(root)
            else:
                stores.transact(partial(delete_task, root))
            left -= deleted
            assert set(present(stores, keys)) == left
            assert stores.clean()


def test_a_transaction_deletes_a_large_family_in_one_step(stores: Harness) -> None:
    add_tasks(stores, family(1299))

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.delete("w")
        assert (yield tx.task_states.by_workflow("w").count()) == 0
        assert (yield tx.task_states.find("t1298")) is None

    stores.transact(steps)
    assert stores.do(stores.db.task_states.all().count()) == 2
    assert stores.clean()


def test_a_rolled_back_delete_leaves_every_key_unchanged(stores: Harness) -> None:
    add_tasks(stores, family(30))
    before = stores.contents()

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.workflow_states.delete("w")
        yield tx.task_states.create(task("new", "by", workflow="bystander"))
        raise Killed

    with pytest.raises(Killed):
        stores.transact(steps)
    assert stores.contents() == before


def test_a_row_that_a_transaction_moved_to_another_parent_stays_with_its_family(stores: Harness) -> None:
    add_tasks(stores, [task("p"), task("c", "p"), task("g", "c"), task("h", "g")])

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.task_states.change("c", lambda row: setattr(row, "parent_state_id", None))
        yield tx.task_states.delete("p")
        assert [row.task_exec_id for row in (yield tx.task_states.tree("c"))] == ["c", "g", "h"]

    stores.transact(steps)
    assert present(stores, ["p", "c", "g", "h"]) == ["c", "g", "h"]
    assert stores.clean()


def test_a_row_that_a_transaction_moved_to_the_parent_is_deleted_with_its_family(stores: Harness) -> None:
    add_tasks(stores, [task("p"), task("x"), task("y", "x"), task("z", "y")])

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.task_states.create(task("new", "y"))
        yield tx.task_states.change("x", lambda row: setattr(row, "parent_state_id", "p"))
        yield tx.task_states.delete("p")
        assert (yield tx.task_states.find("new")) is None

    stores.transact(steps)
    assert present(stores, ["p", "x", "y", "z", "new"]) == []
    assert stores.clean()


def test_a_child_that_is_added_before_the_commit_is_deleted_too(stores: Harness) -> None:
    """The delete is guarded by the children that it read, so the transaction runs again and reads the new child."""
    add_tasks(stores, [task("p"), task("c", "p")])
    late = iter(["late"])

    def steps(tx: Any) -> Generator[Any, Any, None]:
        yield tx.task_states.delete("p")
        for key in late:
            yield stores.db.task_states.create(task(key, "c"))

    stores.transact(steps)
    assert stores.db.stats.conflicts == 1
    assert present(stores, ["p", "c", "late"]) == []
    assert stores.clean()


def key(name: str, owner: str, secret: str | None = None) -> APIKey:
    value = secret or name
    return APIKey(id=name, user_id=owner, hash=b"h", fingerprint=value.encode(), prefix=value)


@pytest.mark.parametrize(("declared_only", "expected"), [(False, 2), (True, 3)])
def test_a_family_of_two_levels_is_deleted_in_two_exchanges(
    flavour: str, declared_only: bool, expected: int
) -> None:
    with harness(flavour, f"levels-{flavour}", remembered=0) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        require_exchanges_of_two_levels(stores, declared_only, expected)


def require_exchanges_of_two_levels(stores: Harness, declared_only: bool, expected: int) -> None:
    context = stores.db.session.context
    declare_keys(context, declared_only)
    before = stores.contents()
    stores.do(stores.db.users.create(user("u")))
    for number in range(3):
        stores.do(stores.db.api_keys.create(key(f"k{number}", "u")))
    add_tasks(stores, [task("p"), task("c", "p"), task("odd:%", "c"), task("d", "odd:%")])
    exchanges: list[int] = []
    for entity, name in ((USER, "u"), (WORKFLOW_STATE, "w")):
        exchanges.clear()
        flow = delete_flows.discard(context, entity, name)
        stores.do(stores.db.session.run(watched(stores, flow, lambda number, _: exchanges.append(number))))
        assert len(exchanges) == expected
    stores.do(stores.db.workflow_states.create(run()))
    after = stores.contents()
    assert after.keys() == before.keys()
    assert stores.clean()


@pytest.mark.parametrize("more", [-1, 0, 1])
def test_a_family_of_the_maximum_size_of_one_reply_is_deleted(flavour: str, more: int) -> None:
    """A family that is read at once and one that is read by levels are removed alike."""
    with harness(flavour, f"bounds-{flavour}-{more}", chunk=10, remembered=0) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        before = stores.contents()
        for size in (9, 10, 11, 22):
            add_tasks(stores, [task(f"t{number}") for number in range(size + more)])
            add_tasks(stores, [task(f"c{number}", "t0") for number in range(size + more)])
            stores.do(stores.db.task_states.delete("t0"))
            assert stores.clean()
            assert stores.do(stores.db.task_states.all().count()) == size + more - 1
            stores.do(stores.db.workflow_states.delete("w"))
            assert stores.contents() == {}
            stores.do(stores.db.workflow_states.create(run()))
        assert stores.contents().keys() == before.keys()


def test_a_user_is_deleted_with_its_keys_and_every_unique_value(stores: Harness) -> None:
    stores.do(stores.db.users.create(user("other")))
    stores.do(stores.db.api_keys.create(key("kept", "other")))
    before = stores.contents()
    stores.do(stores.db.users.create(user("u")))
    for number in range(3):
        stores.do(stores.db.api_keys.create(key(f"k{number}", "u")))
    with pytest.raises(APIKeyExistsError):
        stores.do(stores.db.api_keys.create(key("mine", "other", "k1")))
    stores.do(stores.db.users.delete("u"))
    assert stores.contents() == before
    stores.do(stores.db.api_keys.create(key("mine", "other", "k1")))
    assert stores.do(stores.db.api_keys.get_by_fingerprint(b"k1")).id == "mine"
    assert stores.clean()


@pytest.mark.parametrize("chunk", [3, 500])
@pytest.mark.parametrize("ghosts", [1, "chunk"])
def test_dangling_entries_do_not_prevent_a_delete(flavour: str, chunk: int, ghosts: Any) -> None:
    """Views have a few dangling entries, or more than one plan may delete; some are in two of the family's views."""
    with harness(flavour, f"ghosts-{flavour}-{chunk}-{ghosts}", chunk=chunk) as stores:
        stores.do(stores.db.workflow_states.create(run()))
        add_tasks(stores, [task("p"), task("c", "p")])
        partition = stores.db.session.context.partition(TASK_STATE)
        views = [
            partition.view("TaskState", "by_workflow", ("w",)),
            partition.view("TaskState", "by_parent", ("p",)),
        ]
        for view in views:
            stores.send(
                *[("ZADD", view, 1, f"ghost{n}") for n in range(chunk + 10 if ghosts == "chunk" else ghosts)]
            )
        stores.do(stores.db.workflow_states.delete("w"))
        assert stores.contents() == {}


def test_a_view_of_the_wrong_type_leaves_a_family_as_it_was(stores: Harness) -> None:
    """Its rows share views, so one command takes them out of each, which the script calls only after it has read all types."""
    add_tasks(stores, [task("p"), *(task(f"t{number}", "p") for number in range(20))])
    entries = stores.db.session.context.package.entities["TaskState"].entries
    partition = stores.db.session.context.keyspace.partition("execution")
    row = stores.do(stores.db.task_states.get("t7"))
    keys = [partition.view("TaskState", entry.view, entry.values) for entry in entries(row)]
    for key in keys:
        stores.send(("RENAME", key, f"{key}kept"), ("LPUSH", key, "damage"))
        before = _everything(stores)
        with pytest.raises(CorruptDocumentError):
            stores.do(stores.db.task_states.delete("p"))
        assert _everything(stores) == before
        stores.send(("RENAME", f"{key}kept", key))
    stores.do(stores.db.task_states.delete("p"))
    assert stores.do(stores.db.task_states.by_workflow("w").count()) == 0
    assert stores.clean()


def _everything(stores: Harness) -> dict[bytes, Any]:
    """Every key of the namespace, but not what the ledger holds."""
    found = contents(lambda *command: stores.send(command)[0], stores.db.session.context.keyspace.pattern())
    return {name: value for name, value in found.items() if b"}:@ledger:" not in name}
