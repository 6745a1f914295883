"""The commands for one tenant and for all tenants of an application, on a server of their own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer

from compozy_store import Role, Status
from compozy_store.package import PACKAGE
from compozy_store.sync import Store
from keyweave.cli import commands
from keyweave.effects import Send
from keyweave.integrity import tenants as finding
from keyweave.keyspace.keys import Namespace
from keyweave.keyspace.tenants import TenantParser
from keyweave.transfer.file import file_of, tenant_of
from tests.harness import AT_ONCE, run, task, user
from tests.servers.running import Running, configured_server

COMMAND = typer.main.get_command(commands.assemble(commands.installed()))
NAMES = ["acme", "Acme", "g:lobex", "{x}*", "umläut", "with space", "../up"]


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with configured_server() as running:
        yield running


@pytest.fixture
def store(server: Running) -> Iterator[Store]:
    """A store whose own namespace has no keys: opening it registers the schema, which is removed again."""
    with Store.open(url(server), sweep_every=0) as opened:
        opened.session.run(_flush())
        yield opened
        opened.session.run(_flush())


def _flush() -> Any:
    yield Send((("FLUSHALL",),))


def url(server: Running) -> str:
    return f"unix://{server.socket}"


class Result(NamedTuple):
    """What a command printed, and its exit status."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        """Everything that it printed."""
        return self.stdout + self.stderr


def keyweave(server: Running, *words: str | Path, format_: str = "json") -> Result:
    """Run a command. typer's own runner would assemble the command line anew for each."""
    shared = ["--url", url(server), "--package", "compozy_store", "--format", format_]
    out, err, status = StringIO(), StringIO(), 0
    with redirect_stdout(out), redirect_stderr(err):
        try:
            COMMAND.main([*map(str, words), *shared], prog_name="keyweave")
        except SystemExit as end:
            status = int(end.code or 0)
    return Result(status, out.getvalue(), err.getvalue())


def reported(result: Result) -> Any:
    return json.loads(result.stdout)


def filled(store: Store) -> None:
    for number, name in enumerate(NAMES, 1):
        tenant = store.tenant(name)
        for key in range(number):
            tenant.users.create(user(str(key)))


def damage(store: Store, name: str) -> None:
    """Remove the list of a view."""
    partition = store.tenant(name).session.context.keyspace.at("auth", 0)
    store.session.run(_delete(partition.view("User", "all", ())))


def _delete(key: str) -> Any:
    yield Send((("DEL", key),))


def by_name(shape: Any) -> dict[str, Any]:
    return {row["tenant"]: row for row in shape["tenants"]}


def test_a_check_of_all_tenants_finds_each_and_sums_up(server: Running, store: Store) -> None:
    filled(store)
    clean = keyweave(server, "check", "--all-tenants")
    assert clean.exit_code == 0, clean.output
    shape = reported(clean)
    assert {name: row["documents"] for name, row in by_name(shape).items()} == {
        name: number for number, name in enumerate(NAMES, 1)
    }
    assert shape["total"]["tenants"] == len(NAMES)
    assert shape["total"]["documents"] == 28
    assert shape["total"]["with_findings"] == 0
    damage(store, "{x}*")
    found = keyweave(server, "check", "--all-tenants")
    assert found.exit_code == 1
    rows = by_name(reported(found))
    assert {name for name, row in rows.items() if row["found"]} == {"{x}*"}
    assert rows["{x}*"]["drift"] == [{"where": "User.all", "kind": "missing_entry", "count": 4}]
    text = keyweave(server, "check", "--all-tenants", format_="text")
    clean_line = "acme: 1 documents and 3 entries compared; clean: every index agrees with its documents"
    assert clean_line in text.stdout.splitlines(), "a tenant without findings takes one line"
    assert "7 tenants, 1 with findings, 28 documents" in text.stdout
    assert keyweave(server, "check", "--tenant", "acme").exit_code == 0
    assert keyweave(server, "check", "--tenant", "{x}*").exit_code == 1
    mended = keyweave(server, "reindex", "--all-tenants", "--dry-run")
    assert mended.exit_code == 1
    assert keyweave(server, "reindex", "--all-tenants").exit_code == 0
    assert keyweave(server, "check", "--all-tenants").exit_code == 0


def test_all_tenants_and_one_tenant_contradict_each_other(
    server: Running, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.tenant("acme").ready()
    refused = keyweave(server, "check", "--all-tenants", "--tenant", "acme")
    assert refused.exit_code == 2
    assert "contradict" in refused.stderr
    monkeypatch.setenv("KEYWEAVE_NAMESPACE", "default")
    assert keyweave(server, "check", "--all-tenants").exit_code == 0


def test_the_default_tenant_is_not_made_and_other_applications_are_not_touched(
    server: Running, store: Store
) -> None:
    filled(store)
    with Store.open(url(server), environment="other") as other:
        other.users.create(user("u"))
    for command in ("check", "reindex", "health", "sweep", "backfill"):
        result = keyweave(server, command, "--all-tenants")
        assert result.exit_code == 0, result.output
        assert sorted(by_name(reported(result))) == sorted(NAMES)
    there = keyweave(server, "check", "--all-tenants", "--environment", "other")
    assert list(by_name(reported(there))) == ["default"]
    nowhere = keyweave(server, "check", "--all-tenants", "--environment", "nowhere", format_="text")
    assert nowhere.exit_code == 0
    assert "there are no tenants" in nowhere.stdout


def test_one_tenant_that_cannot_be_opened_stops_no_other(server: Running, store: Store) -> None:
    filled(store)
    registry = store.tenant("acme").session.context.keyspace.at("auth", 0).schema
    store.session.run(_register(registry))
    result = keyweave(server, "check", "--all-tenants")
    assert result.exit_code == 2
    rows = by_name(reported(result))
    assert {name for name, row in rows.items() if row["failed"]} == {"acme"}
    assert "generation" in rows["acme"]["error"]
    assert reported(result)["total"]["failed"] == 1
    unknown = keyweave(server, "check", "--all-tenants", "--entity", "Nothing")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "no entity" in unknown.stderr


def _register(registry: str) -> Any:
    yield Send((("HSET", registry, "index:User.by_role", '{"definition":"another","built":true}'),))


def test_an_export_of_all_tenants_is_imported_into_the_same_tenants(
    server: Running, store: Store, tmp_path: Path
) -> None:
    filled(store)
    folder = tmp_path / "all"
    exported = keyweave(server, "export", "--all-tenants", folder)
    assert exported.exit_code == 0, exported.output
    assert reported(exported)["total"]["documents"] == 28
    files = sorted(each.name for each in folder.iterdir())
    assert files == sorted(map(file_of, NAMES))
    assert len({name.lower() for name in files}) == len(NAMES)
    assert {each.stat().st_mode & 0o777 for each in folder.iterdir()} == {0o600}
    again = keyweave(server, "export", "--all-tenants", folder)
    assert again.exit_code == 2
    assert reported(again)["total"]["failed"] == len(NAMES)
    store.session.run(_flush())
    (folder / "notes.txt").write_text("no export")
    imported = keyweave(server, "import", "--all-tenants", folder)
    assert imported.exit_code == 0, imported.output
    assert reported(imported)["total"]["written"] == 28
    checked = keyweave(server, "check", "--all-tenants")
    assert {name: row["documents"] for name, row in by_name(reported(checked)).items()} == {
        name: number for number, name in enumerate(NAMES, 1)
    }
    (folder / "Acme.ndjson").write_text("renamed by hand")
    assert "not named" in keyweave(server, "import", "--all-tenants", folder).stderr
    (folder / "Acme.ndjson").unlink()
    assert "no exports" in keyweave(server, "import", "--all-tenants", folder / "none").stderr
    (folder / file_of("acme")).write_text("cut")
    store.session.run(_flush())
    refused = keyweave(server, "import", "--all-tenants", folder)
    assert refused.exit_code == 2
    assert (
        store.tenant("umläut").users.all().count() == 0
    ), "all files are verified before the first is written"


@pytest.mark.parametrize("name", [*NAMES, "%41", "a.ndjson", ".", "🦊", "A%"])
def test_file_names_of_tenants_are_read_back(name: str) -> None:
    assert tenant_of(file_of(name)) == name
    assert "/" not in file_of(name)
    assert file_of(name) == file_of(name).lower()


def test_other_file_names_are_no_tenants() -> None:
    assert [tenant_of(name) for name in ("A.ndjson", "a.json", ".ndjson", "%ff.ndjson", "%61.ndjson")] == [
        None
    ] * 5


def test_a_sweep_of_all_tenants_sweeps_each(server: Running) -> None:
    with Store.open(url(server), retention={"TaskState": AT_ONCE}, sweep_every=0) as store:
        store.session.run(_flush())
        for name in "abc":
            tenant = store.tenant(name)
            tenant.workflow_states.create(run())
            for key in "xyz":
                tenant.task_states.create(task(key, status=Status.SUCCESS))
        first = keyweave(server, "sweep", "--all-tenants", "--limit", "4")
        assert reported(first)["total"]["swept"] == 4
        assert [row["swept"] for row in reported(first)["tenants"]] == [3, 1, 0]
        assert reported(keyweave(server, "sweep", "--tenant", "b"))["swept"] == 2
        rest = keyweave(server, "sweep", "--all-tenants")
        assert (rest.exit_code, reported(rest)["total"]["swept"]) == (0, 3)
        store.session.run(_flush())


def test_health_of_all_tenants(server: Running, store: Store) -> None:
    filled(store)
    shape = reported(keyweave(server, "health", "--all-tenants"))
    assert shape["server"]["serving"] is True
    assert sorted(by_name(shape)) == sorted(NAMES)
    assert all(row["serving"] and row["data_schema"] == PACKAGE.fingerprint for row in shape["tenants"])
    text = keyweave(server, "health", "--all-tenants", format_="text").stdout
    assert "umläut: serving, sweep lag 0 s, schema" in text


def test_a_backfill_of_all_tenants_builds_what_is_not_built_in_each(server: Running, store: Store) -> None:
    """A registry without an index, in a namespace with rows, is that of code which did not have it."""
    filled(store)
    for name in ("acme", "umläut"):
        store.session.run(_unregister(store.tenant(name).session.context.keyspace.at("auth", 0).schema))
        damage(store, name)
    dry = keyweave(server, "backfill", "--all-tenants", "--dry-run")
    assert dry.exit_code == 1
    assert {name for name, row in by_name(reported(dry)).items() if row["wanted"]} == {"acme", "umläut"}
    built = keyweave(server, "backfill", "--all-tenants")
    assert built.exit_code == 0, built.output
    assert {name: row["built"] for name, row in by_name(reported(built)).items() if row["built"]} == {
        "acme": ["User.all"],
        "umläut": ["User.all"],
    }
    for name in ("acme", "umläut"):
        with Store.open(url(server), namespace=name) as opened:
            assert opened.users.all().count() == opened.users.by_role(Role.USER).count()
    assert keyweave(server, "check", "--all-tenants").exit_code == 0


def _unregister(registry: str) -> Any:
    yield Send((("HDEL", registry, "index:User.all"),))


def test_documents_are_migrated_and_views_dropped_in_every_tenant(server: Running, store: Store) -> None:
    filled(store)
    migrated = keyweave(server, "migrate-documents", "--all-tenants")
    assert (migrated.exit_code, reported(migrated)["total"]["read"]) == (0, 28)
    for name in ("acme", "{x}*"):
        partition = store.tenant(name).session.context.keyspace.at("auth", 0)
        store.session.run(_old_view(partition.schema, partition.view("User", "old", ("v",))))
    dropped = keyweave(server, "drop-view", "User.old", "--all-tenants")
    assert dropped.exit_code == 0, dropped.output
    assert {name: row["keys"] for name, row in by_name(reported(dropped)).items() if row["keys"]} == {
        "acme": 1,
        "{x}*": 1,
    }
    again = keyweave(server, "drop-view", "User.old", "--all-tenants")
    assert again.exit_code == 2
    assert "no tenant has" in again.stderr
    kept = keyweave(server, "drop-view", "User.all", "--all-tenants")
    assert (kept.exit_code, kept.stdout) == (2, "")


def _old_view(registry: str, view: str) -> Any:
    yield Send(
        (
            ("HSET", registry, "index:User.old", '{"definition":"old","built":true}'),
            ("ZADD", view, 1, "0"),
        )
    )


def test_many_tenants_are_listed_in_few_scans(
    server: Running, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One scan counts, one lists the keys of all tenants that fit into memory, and each larger tenant has its own."""
    filled(store)

    def scans(most: int) -> int:
        monkeypatch.setattr(finding, "TOGETHER", most)
        monkeypatch.setattr("keyweave.admin.tenants.TOGETHER", most)
        before = calls(store)
        result = keyweave(server, "check", "--all-tenants")
        assert (result.exit_code, reported(result)["total"]["documents"]) == (0, 28)
        return calls(store) - before

    assert scans(500_000) == 2
    assert scans(1) == 1 + len(NAMES)


def calls(store: Store) -> int:
    """How often the server has been sent SCAN."""

    def asking() -> Any:
        return (yield Send((("INFO", "commandstats"),)))

    text = store.session.run(asking())[0].decode()
    line = next((each for each in text.splitlines() if each.startswith("cmdstat_scan:")), "calls=0,")
    return int(line.partition("calls=")[2].partition(",")[0])


def test_the_tenant_of_a_key_is_read_back() -> None:
    parser = TenantParser(Namespace("a:b", "v1", "d", "x"))
    for name in [*NAMES, "a%3Ab", "%", "x" * 500]:
        key = f"{{{Namespace('a:b', 'v1', 'd', name).prefix()}:auth:0}}:User:u}}:"
        assert parser.tenant(key.encode()) == name
    assert parser.tenant(b"{a%3Ab:v1:d:x:stray") == "x", "a check of x reports it"
    for other in (
        b"{a%3Ab:v1:d:x}",
        b"{a%3Ab:v1:e:x:auth:0}:User:u",
        b"{a%3Ab:v1:d::auth:0}:User:u",
        b"{a%3Ab:v1:d:%7b:auth:0}:User:u",
        b"{a%3Ab:v1:d:%:auth:0}:User:u",
        b"{a%3Ab:v1:d:\xff:auth:0}:User:u",
        b"x",
    ):
        assert parser.tenant(other) is None, other


def test_whatever_a_check_of_one_tenant_reports_one_of_all_reports_too(server: Running, store: Store) -> None:
    filled(store)
    space = store.tenant("acme").session.context.keyspace.namespace.prefix()
    strays = (f"{{{space}:stray", f"{{{space}:auth:7}}:User:u", f"{{{space}:auth:0}}:Nothing:u")
    store.session.run(_set(strays))
    alone = reported(keyweave(server, "check", "--tenant", "acme"))
    assert sum(row["count"] for row in alone["drift"]) == 3
    everything = by_name(reported(keyweave(server, "check", "--all-tenants")))["acme"]
    assert {name: everything[name] for name in alone} == alone


def _set(keys: tuple[str, ...]) -> Any:
    yield Send(tuple(("SET", key, "x") for key in keys))
