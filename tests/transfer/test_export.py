"""Export and import: the copy equals the original, a file that is not whole is refused, an import may be run again."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from compozy_store import Role, Status, User
from compozy_store.sync import Store
from keyweave.cli import commands
from tests.harness import AT_ONCE, run, task
from tests.integrity.site import Site, healthy
from tests.servers.running import new_namespace, server_url

app = commands.assemble(commands.installed())


def keyweave(*words: str | Path, namespace: str) -> Result:
    """The command on the server under test."""
    shared = ["--url", server_url(), "--package", "compozy_store", "--namespace", namespace]
    return CliRunner().invoke(app, [*map(str, words), *shared])


def namespace_of(site: Site) -> str:
    return site.context.keyspace.namespace.tenant


@pytest.fixture
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with healthy(request.node.name[:40]) as opened:
        yield opened


@pytest.fixture
def other() -> Iterator[Site]:
    """An empty namespace."""
    with Store.open(server_url(), namespace=new_namespace("other")) as store:
        yield Site(store)


@pytest.fixture
def file(site: Site, tmp_path: Path) -> Path:
    """An export of the site."""
    path = tmp_path / "store.ndjson"
    result = keyweave("export", path, namespace=namespace_of(site))
    assert result.exit_code == 0, result.output
    return path


def renamed(site: Site, contents: dict[str, Any]) -> dict[str, Any]:
    """Contents without the tenant in the keys, the ops in the documents, and the namespace's own secret."""
    tenant = namespace_of(site)
    found = {}
    for key, (kind, value, ends) in contents.items():
        if kind == b"string":
            document = json.loads(value)
            assert document.pop("op")
            found[key.replace(tenant, "T")] = (kind, document, ends)
        elif key.endswith("@schema"):
            registry = [pair for pair in value if pair[0] != b"cursors"]
            found[key.replace(tenant, "T")] = (kind, registry, ends)
        else:
            found[key.replace(tenant, "T")] = (kind, value, ends)
    return found


def test_an_import_into_another_namespace_equals_the_original(site: Site, other: Site, file: Path) -> None:
    result = keyweave("import", file, namespace=namespace_of(other))
    assert (result.exit_code, result.output.split()) == (0, ["21", "written"])
    assert renamed(other, other.contents()) == renamed(site, site.contents())
    assert other.store.check().clean


def test_later_writes_get_later_revisions(site: Site, other: Site, file: Path) -> None:
    """Also when the clock of the new server is behind that of the old one."""
    text = file.read_text("utf-8").splitlines()
    future = 9 * 10**14 + 10**15
    lines = [text[0]]
    for line in text[1:-1]:
        head, _, rest = line.partition(',"op"')
        if '"id":"u1"' in rest:
            rest = f',"op"{rest}'
            head = f'{{"entity":"User","document":{{"revision":{future},"created":{future - 5},"expires":0'
            lines.append(head + rest)
    write_whole(file, lines, {"User": len(lines) - 1})
    assert keyweave("import", file, namespace=namespace_of(other)).exit_code == 0
    before = other.store.users.get("u1")
    later = other.store.users.change("u1", lambda user: setattr(user, "role", Role.ADMIN))
    assert later.created_at == before.created_at
    (document,) = other.send(("GET", other.document("User", "u1")))
    assert json.loads(document)["revision"] == future + 1


def write_whole(file: Path, lines: list[str], counts: dict[str, int]) -> None:
    """A file with an end that fits."""
    body = "".join(f"{line}\n" for line in lines)
    digest = hashlib.sha256(body.encode()).hexdigest()
    end = {"end": True, "documents": len(lines) - 1, "counts": counts, "left_out": 0, "sha256": digest}
    file.write_text(body + json.dumps(end, separators=(",", ":")) + "\n", "utf-8")


def test_members_of_a_newer_schema_survive(site: Site, other: Site, tmp_path: Path) -> None:
    place = site.document("User", "u1")
    (document,) = site.send(("GET", place))
    site.send(("SET", place, document[:-1] + b',"mood":{"a":[1,2.50,12345678901234567890]}}'))
    file = tmp_path / "f"
    assert keyweave("export", file, namespace=namespace_of(site)).exit_code == 0
    assert keyweave("import", file, namespace=namespace_of(other)).exit_code == 0
    (copy,) = other.send(("GET", other.document("User", "u1")))
    assert copy.endswith(b',"mood":{"a":[1,2.50,12345678901234567890]}}')


def test_a_second_import_finds_everything_there(site: Site, other: Site, file: Path) -> None:
    assert keyweave("import", file, namespace=namespace_of(other)).exit_code == 0
    other.store.users.change("u1", lambda user: setattr(user, "role", Role.ADMIN))
    before = other.contents()
    result = keyweave("import", file, "--format", "json", namespace=namespace_of(other))
    shape = json.loads(result.output)
    assert (shape["written"], shape["present"], shape["conflicts"]) == (0, 20, 1)
    assert result.exit_code == 1
    assert other.contents() == before


def test_an_import_into_its_own_namespace_changes_nothing(site: Site, file: Path) -> None:
    before = site.contents()
    result = keyweave("import", file, namespace=namespace_of(site))
    assert (result.exit_code, result.output.split()) == (0, ["0", "written", "21", "present"])
    assert site.contents() == before


def test_an_import_continues_after_an_interruption(site: Site, other: Site, file: Path) -> None:
    assert keyweave("import", file, namespace=namespace_of(other)).exit_code == 0
    whole = other.contents()
    for key in ("root", "t1"):
        other.store.task_states.delete(key)
    result = keyweave("import", file, "--format", "json", namespace=namespace_of(other))
    assert json.loads(result.output)["conflicts"] == 0
    assert renamed(other, other.contents()) == renamed(other, whole)


def test_a_row_that_the_file_has_twice_is_the_later_one(site: Site, other: Site, file: Path) -> None:
    """The server may hand out a key twice, and it may have changed in between."""
    text = file.read_text("utf-8").splitlines()[:-1]
    line = next(each for each in text if '"U1@x"' in each)
    document = json.loads(line)["document"]
    later = line.replace("U1@x", "later@x").replace(
        f'"revision":{document["revision"]}', f'"revision":{document["revision"] + 9}'
    )
    for number, lines in enumerate(([*text, later], [text[0], later, *text[1:]])):
        copy = file.with_name(f"copy{number}")
        write_whole(copy, lines, {})
        with Store.open(server_url(), namespace=new_namespace("twice")) as store:
            assert keyweave("import", copy, namespace=namespace_of(Site(store))).exit_code == 0
            assert store.users.get_by_email("LATER@x").id == "u1"
            assert store.users.find_by_email("u1@x") is None
            assert store.check().clean
            assert keyweave("import", copy, namespace=namespace_of(Site(store))).exit_code == 0


def test_rows_in_conflict_are_named_and_left(site: Site, other: Site, file: Path) -> None:
    other.store.users.create(User(id="u1", email="else@x", role=Role.USER))
    other.store.users.create(User(id="else", email="U2@x", role=Role.USER))
    result = keyweave("import", file, "--format", "json", namespace=namespace_of(other))
    shape = json.loads(result.output)
    assert (result.exit_code, shape["conflicts"], shape["written"]) == (1, 2, 19)
    assert other.store.users.get("u1").email == "else@x"
    assert other.store.users.get_by_email("u2@x").id == "else"
    assert other.store.check().clean


@pytest.mark.parametrize("cut", [0, 1, 40, 300, -1, -2, -60])
def test_a_file_that_is_cut_off_is_refused_before_anything_is_written(
    other: Site, file: Path, cut: int
) -> None:
    file.write_bytes(file.read_bytes()[:cut])
    result = keyweave("import", file, namespace=namespace_of(other))
    assert result.exit_code == 2
    assert "the file is" in result.output
    assert not other.data()


def test_a_file_that_was_changed_is_refused(other: Site, file: Path) -> None:
    file.write_bytes(file.read_bytes().replace(b"U1@x", b"V1@x"))
    result = keyweave("import", file, namespace=namespace_of(other))
    assert result.exit_code == 2
    assert "digest does not match" in result.output
    assert not other.data()


def test_a_missing_line_is_found(other: Site, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:5] + lines[6:]))
    assert keyweave("import", file, namespace=namespace_of(other)).exit_code == 2
    assert not other.data()


def test_a_file_of_another_schema_needs_an_option(other: Site, file: Path) -> None:
    lines = file.read_text("utf-8").splitlines()[:-1]
    header = json.loads(lines[0])
    header["fingerprint"] = "0" * 64
    write_whole(file, [json.dumps(header, separators=(",", ":")), *lines[1:]], {"User": 4})
    result = keyweave("import", file, namespace=namespace_of(other))
    assert result.exit_code == 2
    assert "another schema" in result.output
    assert keyweave("import", file, "--other-schema", namespace=namespace_of(other)).exit_code == 0
    assert other.store.users.get("u1").email == "U1@x"


def test_an_entity_that_this_schema_lacks_is_refused(other: Site, file: Path) -> None:
    lines = file.read_text("utf-8").splitlines()[:-1]
    write_whole(file, lines, {"Ghost": 1})
    assert "which this schema lacks" in keyweave("import", file, namespace=namespace_of(other)).output


def test_rows_whose_deadline_has_passed_are_not_revived(other: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    with Store.open(server_url(), namespace=new_namespace("dead"), retention={"TaskState": AT_ONCE}) as store:
        store.workflow_states.create(run())
        store.task_states.create(task("over", status=Status.SUCCESS))
        store.task_states.create(task("live"))
        result = keyweave("export", file, namespace=namespace_of(Site(store)))
        assert result.output.startswith("2 documents")
    lines = file.read_text("utf-8").splitlines()[:-1]
    passed = [line.replace('"expires":0', '"expires":1600000000000000') for line in lines]
    write_whole(file, passed, {})
    result = keyweave("import", file, namespace=namespace_of(other))
    assert (result.exit_code, result.output.split()) == (0, ["0", "written", "2", "expired"])


def test_an_import_leaves_nothing_of_a_row_that_the_server_freed(site: Site, tmp_path: Path) -> None:
    """The entries of the freed row are still there, under a key that the file has with other values."""
    file = tmp_path / "f"
    with Store.open(
        server_url(),
        namespace=new_namespace("freed"),
        retention={"TaskState": AT_ONCE},
        grace_ms=1,
        sweep_every=0,
    ) as store:
        freed = Site(store)
        store.workflow_states.create(run())
        store.task_states.create(task("t", name="new"))
        assert keyweave("export", file, namespace=namespace_of(freed)).exit_code == 0
        store.task_states.delete("t")
        store.task_states.create(task("t", name="old", status=Status.SUCCESS))
        limit = time.monotonic() + 10
        while freed.send(("EXISTS", freed.document("TaskState", "t"))) != [0]:
            assert time.monotonic() < limit
            time.sleep(0.001)
        result = keyweave("import", file, namespace=namespace_of(freed))
        assert (result.exit_code, result.output.split()[:2]) == (0, ["1", "written"])
        assert store.task_states.get("t").status is Status.RUNNING
        assert freed.check()[1] == []


def test_documents_that_cannot_be_read_are_left_out_and_reported(site: Site, tmp_path: Path) -> None:
    site.send(("SET", site.document("User", "u1"), "hello"))
    site.send(("RENAME", site.document("User", "u2"), site.document("User", "moved")))
    file = tmp_path / "f"
    result = keyweave("export", file, "--format", "json", namespace=namespace_of(site))
    assert result.exit_code == 1
    assert json.loads(result.output)["left_out"] == 2
    assert json.loads(file.read_text("utf-8").splitlines()[-1])["documents"] == 19


def test_a_file_is_private_and_is_not_replaced_without_the_option(site: Site, file: Path) -> None:
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    assert keyweave("export", file, namespace=namespace_of(site)).exit_code == 2
    assert file.read_bytes() == before
    assert keyweave("export", file, "--overwrite", namespace=namespace_of(site)).exit_code == 0
    assert [path.name for path in file.parent.iterdir()] == ["store.ndjson"]


def test_one_entity_is_exported_alone(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "f"
    keyweave("export", file, "--entity", "User", namespace=namespace_of(site))
    lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert {line["entity"] for line in lines[1:-1]} == {"User"}
    assert lines[-1]["counts"] == {"User": 4}
