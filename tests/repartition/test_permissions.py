"""Partitions under access rules: the application's and the administrator's, as `keyweave acl` prints them, on a server that enforces them."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.admin import repartition as command
from keyweave.cli import commands
from keyweave.errors import AuthenticationError
from keyweave.exchange import lease
from keyweave.model.ids import ksuid
from keyweave.repartition.grow import repartition
from keyweave.store import doubling
from tests.harness import FLAVOURS, Harness, harness
from tests.partitioned.estate import Estate, estate
from tests.repartition.load import ACCOUNTS, WORKERS, compare, fill, workers
from tests.servers.running import Running, configured_server
from tests.waiting import wait_until

RUNNER = CliRunner()
app = commands.assemble(commands.installed())


class Guarded:
    """A server whose users may do what the printed rules of one namespace permit, and nothing else."""

    def __init__(self, server: Running, namespace: str) -> None:
        self.server, self.namespace = server, namespace
        estate()
        printed = RUNNER.invoke(app, ["acl", "-p", "estate_store", "-n", namespace, "--format", "json"])
        assert printed.exit_code == 0, printed.output
        with server.client() as client:
            for words in json.loads(printed.stdout).values():
                client.execute_command("ACL", "SETUSER", *words, ">word")

    def url(self, role: str) -> str:
        return f"unix://keyweave-{role}:word@{self.server.socket}"

    def run(self, name: str, *words: str) -> Any:
        """Run a command as the administrator."""
        where = ("-p", "estate_store", "-u", self.url("admin"), "-n", self.namespace)
        return RUNNER.invoke(app, [name, *where, *words])

    @contextmanager
    def opened(self, role: str, **options: Any) -> Iterator[Estate]:
        store = estate().sync.Store.open(self.url(role), namespace=self.namespace, **options)
        try:
            yield Estate(store)
        finally:
            store.close()

    def refused(self) -> set[str]:
        """The commands and keys that the server has refused, but for those that only ask what it refuses."""
        with self.server.client() as client:
            entries: Any = client.execute_command("ACL", "LOG")
        return {each["object"] for each in map(_words, entries)} - PROBES


PROBES = frozenset({"config|get", "script|exists", "select", "waitaof"})
"""What a store sends when it opens, and health and doctor to find out what is refused."""


def _words(entry: Any) -> dict[str, str]:
    pairs = entry.items() if isinstance(entry, dict) else zip(entry[0::2], entry[1::2], strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    with configured_server(appendonly="yes") as server:
        yield Guarded(server, ksuid())


def test_a_group_is_doubled_by_the_administrator_while_applications_write(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them has exactly its own rule, and the server refuses nothing to any of them."""
    monkeypatch.setattr(doubling, "LEASE", 0.2)
    monkeypatch.setattr(lease, "may_outlast", lambda *_: False)
    monkeypatch.setattr(command, "repartition", partial(repartition, lease=0.5, plan_life=-4.0))
    with ExitStack() as stack:
        worlds = [
            stack.enter_context(guarded.opened("application", partitions={"deals": 2}, deadline=5.0))
            for _ in range(WORKERS)
        ]
        fill(worlds[0])
        with workers(worlds, 1) as found:
            estimate = guarded.run("repartition", "--to", "8", "--dry-run")
            done = guarded.run("repartition", "--to", "8")
        assert estimate.exit_code == 0, estimate.output
        assert (done.exit_code, done.stdout) == (0, "group deals has 8 partitions, 2 before\n"), done.output
        assert all(each.operations > 5 for each in found)
        with guarded.opened("admin") as after:
            assert after.context.keyspace.numbers == {"deals": 8}
            assert compare(after, found) > 0
            assert len(after.store.accounts.all().list()) == ACCOUNTS
    assert guarded.refused() == set()


def test_an_application_may_not_double_a_group(guarded: Guarded) -> None:
    with guarded.opened("application", partitions={"deals": 2}) as world:
        fill(world)
        with pytest.raises(AuthenticationError, match="does not permit this user"):
            world.store._session.shell.run(
                repartition(world.context, "deals", 4, lambda stage: None, lease=-1.0, plan_life=-6.0)
            )
    assert guarded.run("check").exit_code == 0


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_sixteen_partitions_work_under_both_rules(guarded: Guarded, flavour: str) -> None:
    options: dict[str, Any] = {"retention": {"Deal": timedelta(microseconds=1)}}
    estate_options = {"module": estate(), "url": guarded.url("application")}
    with harness(
        flavour,
        _Named(guarded.namespace),  # type: ignore[arg-type]
        partitions={"deals": 16},
        **estate_options,
        **options,
    ) as stores:
        use(stores)
        with guarded.opened("admin", **options) as world:
            report = world.store.check()
            assert report.clean
            assert report.vacant == 0
    for name, words in {
        "check": (),
        "reindex": (),
        "sweep": (),
        "backfill": (),
        "health": (),
        "doctor": (),
        "migrate-documents": (),
    }.items():
        done = guarded.run(name, *words)
        assert done.exit_code in ((0, 1) if name == "doctor" else (0,)), done.output
    shape = json.loads(guarded.run("health", "--format", "json").stdout)
    assert [each["number"] for each in shape["partitions"]] == list(range(16))
    assert None not in [each[name] for each in shape["partitions"] for name in ("rows", "due", "homes")]
    assert guarded.refused() == set()


class _Named:
    """The namespace of stores that are opened beside others."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace


def use(stores: Harness) -> None:
    """Create, read, change, search, delete, let rows end, and sweep them with the homes that they leave."""
    do, db = stores.do, stores.db
    deal, state = estate().Deal, estate().State
    for name in map("a{}".format, range(20)):
        do(db.accounts.create(estate().Account(id=name, email=f"{name}@x")))
        do(db.deals.create(deal(id=f"d{name}", account_id=name, code=f"c{name}", state=state.OPEN)))
    assert do(db.deals.get("da3")).account_id == do(db.deals.get_by_code("ca3")).account_id == "a3"
    assert len(do(db.deals.all().list())) == do(db.deals.all().count()) == 20
    assert do(db.deals.update("da3", code="other")).code == "other"
    assert len(do(db.deals.by_state(state.OPEN).page(limit=7)).rows) == 7
    do(db.deals.delete("da4"))
    moved = deal(id="da4", account_id="a5", state=state.OPEN)
    assert do(db.deals.upsert(moved)).account_id == "a5"
    do(db.deals.update("da6", state=state.CLOSED))
    wait_until(lambda: do(db.deals.find("da6")) is None)
    do(db.deals.create(deal(id="da6", account_id="a7", state=state.OPEN)))
    do(db.deals.update("da8", state=state.CLOSED))
    wait_until(lambda: do(db.sweep()) == 1 or do(db.deals.find("da8")) is None)
    do(db.sweep())
    stores.transact(two_steps)
    do(db.accounts.delete("a9"))
    assert do(db.deals.find("da9")) is None


def two_steps(tx: Any) -> Generator[Any, Any, None]:
    row = yield tx.deals.get_for_update("da10")
    row.worth = 5
    yield tx.deals.save(row)
    yield tx.deals.create(estate().Deal(id="t", account_id="a10", code="t", state=estate().State.OPEN))
