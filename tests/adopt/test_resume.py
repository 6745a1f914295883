"""A run that was killed, a source that changes, and an application that writes: nothing is lost, and each is reported."""

from __future__ import annotations

import importlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis

from keyweave.adopt.read_rows import read_rows
from tests.adopt.database import Adoption, adoption, database, run, store_url

ROWS = 1800
TABLE = f"""
create table notes (
    id int primary key, title text not null unique, body jsonb, created_at timestamptz not null, updated_at timestamptz not null
);
create table marks (note int not null references notes on delete cascade, name text not null, primary key (note, name));
insert into notes select n, 'Note ' || n, jsonb_build_object('n', n), timestamptz '2019-01-01' + n * interval '1 minute',
       timestamptz '2020-01-01' + n * interval '1 minute' from generate_series(1, {ROWS}) n;
insert into marks select n, 'm' || n % 3 from generate_series(1, 20) n;
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with the schema and the package, and the package's name: the same for all tests of this file."""
    folder = tmp_path_factory.mktemp("resume")
    with pytest.MonkeyPatch.context() as patch:
        made = adoption(database(TABLE), folder, patch)
        made.schema()
    return folder, made.package


@pytest.fixture
def adopted(project: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Adoption:
    return replace(adoption(database(TABLE), project[0], monkeypatch), package=project[1])


def written(namespace: str) -> int:
    """The documents of the namespace in the store."""
    with redis.Redis.from_url(store_url()) as client:
        return sum(1 for _ in client.scan_iter(match=f"*:{namespace}:*:Note:*", count=1000))


def killed_in_the_middle(adopted: Adoption) -> int:
    """Run the second step in a process of its own, kill it when some rows are there, and return how many."""
    words = [sys.executable, "-m", "keyweave.cli", "adopt", adopted.url, *adopted.row_options()]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    try:
        while written(adopted.namespace) < ROWS // 6:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    return written(adopted.namespace)


def test_a_killed_run_is_resumed_and_changes_of_the_source_in_between_are_reported(adopted: Adoption) -> None:
    found = killed_in_the_middle(adopted)
    assert ROWS // 6 <= found < ROWS
    changes = """
    update notes set body = '{"changed": true}', updated_at = now() - interval '1 second' where id in (3, 4);
    update notes set body = '{"moment": "kept"}' where id = 5;
    update notes set title = case id when 7 then 'Note 8x' else 'Note 7' end where id in (7, 8);
    insert into notes values (100000, 'late', null, now() - interval '1 hour', now() - interval '1 hour');
    delete from notes where id = 6;
    """
    run(adopted.url, changes)
    tables = adopted.tables()
    notes = tables["public.notes"]
    assert notes["renewed"] == 5 and notes["shifted"] == 3
    assert notes["gone"] == 1 and notes["examples"]["gone"] == ["6"]
    assert notes["written"] + notes["present"] + notes["renewed"] == ROWS == notes["read"]
    assert notes["present"] >= found - 6 and notes["missing"] == notes["differing"] == 0
    assert tables["public.marks"]["equal"] and not notes["equal"] and notes["status"] == 1
    package: Any = importlib.import_module(f"{adopted.package}.sync")
    with package.Store.open(store_url(), namespace=adopted.namespace) as store:
        assert store.notes.get(3).body == {"changed": True}
        assert store.notes.get(5).body == {"moment": "kept"}
        assert store.notes.get_by_title("Note 7").id == 8
        assert store.notes.get(100000).title == "late"
        assert store.check().clean
        store.notes.delete(6)
    assert adopted.rows().exit_code == 0


def test_what_an_application_wrote_in_between_stays_and_is_reported(adopted: Adoption) -> None:
    run(adopted.url, "delete from notes where id > 20 and id not in (select note from marks)")
    assert adopted.rows().exit_code == 0
    package: Any = importlib.import_module(f"{adopted.package}.sync")
    records: Any = importlib.import_module(adopted.package)
    with package.Store.open(store_url(), namespace=adopted.namespace) as store:
        store.notes.update(1, title="Mine")
        store.notes.create(records.Note(id=-1, title="New"))
        store.notes.create(records.Note(id=-2, title="Late"))
        run(
            adopted.url,
            "insert into notes values (300, 'Late', null, now(), now()); update notes set body = null where id = 2",
        )
        notes = adopted.tables()["public.notes"]
        assert (notes["changed"], notes["own"], notes["conflicts"], notes["renewed"]) == (1, 2, 1, 1)
        assert (notes["missing"], notes["differing"], notes["status"]) == (1, 1, 1)
        assert notes["examples"]["changed"] == ["1"] and notes["examples"]["missing"] == ["300"]
        assert store.notes.get(1).title == "Mine" and store.notes.get(2).body is None
    shown = adopted.rows().output
    assert "1  changed by an application in the store, left as they are (1)" in shown
    assert "1  in conflict: another row has the key or a unique value" in shown


def test_a_dry_run_reads_every_row_and_writes_none(adopted: Adoption) -> None:
    run(adopted.url, "update notes set created_at = '1999-01-01' where id = 9")
    done = adopted.rows("--dry-run")
    assert done.exit_code == 1
    assert (
        f"{ROWS + 20:,} rows read, 1 would be refused; nothing was written, because of --dry-run"
        in done.output
    )
    assert "1: moments before 2001-09-09T01:46:40Z cannot be kept" in done.output
    assert written(adopted.namespace) == 0


def test_a_lost_connection_is_reported_and_the_next_run_goes_on(
    adopted: Adoption, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*arguments: Any) -> Iterator[list[tuple[Any, ...]]]:
        for batch in read_rows(*arguments):
            yield batch
            run(
                adopted.url,
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'keyweave adopt'",
            )

    with monkeypatch.context() as patch:
        patch.setattr("keyweave.adopt.bring.read_rows", cut)
        done = adopted.rows()
    assert done.exit_code == 2
    assert re.search(r"^keyweave: adopt_\d+ on /\S+: .*(terminating connection|closed)", done.output)
    assert written(adopted.namespace) == 500
    tables = adopted.tables()
    assert (tables["public.notes"]["present"], tables["public.notes"]["written"]) == (500, ROWS - 500)
    assert tables["public.notes"]["status"] == 0
