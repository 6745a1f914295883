"""Indexes that are new to a namespace are built beside old and new writers, and what was left behind is removed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from keyweave.cli import commands
from keyweave.document.rewrite import Rewrite
from keyweave.effects import Flow
from keyweave.errors import ConfigurationError, UniqueViolationError, ValidationError, ViewNotBuiltError
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.evolution.retire import drop_index, rewrite_documents
from keyweave.integrity.survey import Progress
from keyweave.query import starts_with
from keyweave.store.registry import read_registry
from tests.evolution.hammer import SEEDS
from tests.evolution.packages import ALL, BY_STATE, NOTE, OLD, SLUG, generated
from tests.harness import Harness, harness
from tests.servers.running import server_url

NEW = NOTE + ALL + BY_STATE + SLUG
IN_ORDER = NOTE + ALL + "  by_slug: {fields: [], order: slug, why: the index}\n"
SECOND = NOTE + ALL.replace("order: created", "order: revision\n    generation: 2")
RENAMED = NEW.replace("owner: {type: id}", "author: {type: id, renamed_from: owner}")
FEWER = NEW.replace("  owner: {type: id}\n", "") + "reserved: [owner]\n"

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

RUNNER = CliRunner()
APP = commands.assemble(commands.installed())


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def opened(stack: ExitStack, name: str | Harness, schema: str, **options: Any) -> Harness:
    return stack.enter_context(harness("sync", name, module=generated(schema), **options))


def note(schema: str, key: str, **more: Any) -> Any:
    return generated(schema).Note(**{"id": key, "owner": "o", "slug": key, **more})


def built(stores: Harness, **options: Any) -> Build:
    build = Build()
    stores.db.session.run(backfill(stores.db.session.context, build, **options))
    return build


def test_a_build_makes_new_indexes_readable_and_a_check_finds_nothing(stack: ExitStack) -> None:
    old = opened(stack, "build", OLD)
    for number in range(50):
        old.db.notes.create(note(OLD, f"n{number}", state="draft" if number % 3 else "public"))
    new = opened(stack, old, NEW)
    with pytest.raises(ViewNotBuiltError):
        new.db.notes.by_state("draft").count()
    build = built(new)
    assert build.wanted == build.built == ("Note.by_state", "Note.slug")
    assert build.repairs.report.documents == 50
    assert (new.db.notes.by_state("draft").count(), new.db.notes.by_state("public").count()) == (33, 17)
    assert new.db.notes.get_by_slug("N7").id == "n7"
    assert new.db.check().clean
    assert built(new).wanted == ()


READS: dict[str, Callable[[Any], Any]] = {
    "list": lambda rows: rows.list(),
    "first": lambda rows: rows.first(),
    "one": lambda rows: rows.one(),
    "page": lambda rows: rows.page(),
    "iteration": list,
    "count": lambda rows: rows.count(),
    "exists": lambda rows: rows.exists(),
    "keys": lambda rows: rows.keys(),
    "min": lambda rows: rows.min(),
    "max": lambda rows: rows.max(),
}
PLACES: dict[str, Callable[[Any], Any]] = {
    "the handle of the view": lambda notes: notes.by_state("draft"),
    "two lists of it": lambda notes: notes.by_state("draft") | notes.by_state("public"),
    "a stretch of it": lambda notes: notes.by_state("draft").between(LONG_AGO, None),
    "its other direction": lambda notes: notes.by_state("draft").reverse(),
    "filters that only it bounds": lambda notes: notes.where(state="draft"),
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("place", PLACES)
def test_no_way_to_read_a_view_that_is_not_built_returns_some_of_its_rows(
    stack: ExitStack, read: str, place: str
) -> None:
    old = opened(stack, "unbuilt", OLD)
    for number in range(3):
        old.db.notes.create(note(OLD, f"n{number}"))
    new = opened(stack, old, NEW)
    new.db.notes.create(note(NEW, "written by new code"))
    for _ in range(2):
        with pytest.raises(ViewNotBuiltError, match="by_state"):
            READS[read](PLACES[place](new.db.notes))


def test_a_view_in_the_order_of_a_string_is_built_also_for_values_that_it_would_refuse(
    stack: ExitStack,
) -> None:
    old = opened(stack, "strings", OLD)
    slugs = {"a": "b\0", "b": "b", "c": "x" * 5000, "d": "", "e": "b"}
    for key, slug in slugs.items():
        old.db.notes.create(note(OLD, key, slug=slug))
    new = opened(stack, old, IN_ORDER)
    assert built(new).built == ("Note.by_slug",)
    assert [row.id for row in new.db.notes.by_slug()] == ["d", "b", "e", "a", "c"]
    assert new.db.notes.where(slug=starts_with("xx")).order_by("slug").keys() == ["c"]
    with pytest.raises(ValidationError, match="4,096 characters"):
        new.db.notes.update("c", state="public")
    new.db.notes.update("c", slug="c")
    assert [row.id for row in new.db.notes.by_slug().reverse()] == ["c", "a", "e", "b", "d"]
    assert new.db.check().clean


def test_a_dry_run_changes_nothing(stack: ExitStack) -> None:
    old = opened(stack, "dry", OLD)
    old.db.notes.create(note(OLD, "a"))
    new = opened(stack, old, NEW)
    before = new.contents()
    build = built(new, dry_run=True)
    assert (build.wanted, build.built, build.complete) == (("Note.by_state", "Note.slug"), (), False)
    assert new.contents() == before


def test_values_that_collide_are_reported_and_nothing_is_changed(stack: ExitStack) -> None:
    old = opened(stack, "collide", OLD)
    for key, slug in (("a", "Same"), ("b", "same"), ("c", "other")):
        old.db.notes.create(note(OLD, key, slug=slug))
    new = opened(stack, old, NEW)
    before = new.contents()
    build = built(new)
    assert build.collisions == {"Note.slug": 1}
    assert [{*pair[1:]} for pair in build.colliding] == [{"a", "b"}]
    assert (build.built, new.contents()) == ((), before)
    new.db.notes.change("b", lambda row: setattr(row, "slug", "free"))
    assert built(new).complete
    with pytest.raises(UniqueViolationError):
        new.db.notes.create(note(NEW, "d", slug="SAME"))


def test_an_index_that_older_code_writes_past_stays_unbuilt_until_it_stops(stack: ExitStack) -> None:
    old = opened(stack, "past", OLD)
    old.db.notes.create(note(OLD, "a"))
    new = opened(stack, old, NEW)
    numbers = iter(range(1000))

    def write(_: object) -> None:
        old.db.notes.create(note(OLD, f"late{next(numbers)}"))

    build = built(new, observe=write)
    assert not build.complete
    assert build.passed["Note.by_state"] == next(numbers)
    with pytest.raises(ViewNotBuiltError):
        new.db.notes.by_state("draft").count()
    assert built(new).complete
    assert new.db.notes.by_state("draft").count() == new.db.notes.all().count()
    assert new.db.check().clean


def older_code_has_written(stores: Harness) -> Callable[[object], None]:
    """Holds a build up, once it has begun, until older code has written."""
    partition = stores.db.session.context.keyspace.partition("notes")

    def counted() -> int:
        return sum(read_registry(stores.send(("HGETALL", partition.schema))[0]).behind.values())

    def wait(_: object) -> None:
        first, deadline = counted(), time.monotonic() + 30
        while counted() == first:
            assert time.monotonic() < deadline, "older code does not write"

    return wait


@contextmanager
def hammering(stores: Harness, schema: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that writes by the code of a schema until the end of this."""
    package = generated(schema)
    folder = str(Path(str(package.__file__)).parent.parent)
    words = [folder, package.__name__, url_of(stores), stores.namespace, name]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.evolution.hammer", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        started = process.stdout.readline()
        assert started == "open\n", process.communicate()[1]
        yield process
        reported, wrong = process.communicate()
        assert process.returncode == 0, wrong
        assert int(reported) > 0
    finally:
        process.kill()
        process.communicate()


WIDER = BY_STATE.replace("fields: [state]", "fields: [owner, state]\n    generation: 2")
EXACT = SLUG.replace("normalize: lower", "generation: 2")

ROLLOUTS = {
    "a view and a unique constraint": (OLD, NEW),
    "a view": (OLD, NOTE + ALL + BY_STATE),
    "a unique constraint": (OLD, NOTE + ALL + SLUG),
    "another order": (OLD, SECOND),
    "other fields": (NOTE + ALL + BY_STATE, NOTE + ALL + WIDER),
    "another normalisation": (NOTE + ALL + SLUG, NOTE + ALL + EXACT),
    "one removed, one added": (NOTE + ALL + BY_STATE, NOTE + ALL + SLUG),
}
"""Every change that `keyweave diff` calls INDEX, as older and newer code."""


@pytest.mark.parametrize(("before", "after"), ROLLOUTS.values(), ids=ROLLOUTS)
def test_processes_of_old_and_new_code_write_while_a_build_runs(
    stack: ExitStack, before: str, after: str
) -> None:
    old = opened(stack, "rolling", before)
    for number in range(SEEDS):
        old.db.notes.create(note(before, f"seed{number}"))
    new = opened(stack, old, after)
    with hammering(new, after, "new"):
        with hammering(old, before, "old"):
            assert not built(new, observe=older_code_has_written(new)).complete
        assert built(new).complete
    report = new.db.check()
    assert report.clean, report.drift
    rows = list(new.db.notes.all())
    assert len(rows) == new.db.notes.all().count() == report.documents


def test_an_index_that_was_removed_is_dropped_and_others_stay(stack: ExitStack) -> None:
    new = opened(stack, "drop", NEW)
    for number in range(30):
        new.db.notes.create(note(NEW, f"n{number}"))
    later = opened(stack, new, OLD)
    context = later.db.session.context
    with pytest.raises(ConfigurationError, match="this code keeps the index"):
        later.db.session.run(drop_index(context, "Note.all"))
    with pytest.raises(ConfigurationError, match=r"does not keep: Note\.by_state, Note\.slug"):
        later.db.session.run(drop_index(context, "Note.by_owner"))
    assert later.db.session.run(drop_index(context, "Note.by_state")) == 1
    assert later.db.session.run(drop_index(context, "Note.slug")) == 1
    partition = context.keyspace.partition("notes")
    registry = read_registry(later.send(("HGETALL", partition.schema))[0])
    assert registry.indexes.keys() == {"Note.all"}
    report = later.db.check()
    assert (report.clean, report.others) == (True, 0)


def rewritten(stores: Harness, **options: Any) -> Rewrite:
    rewrite = Rewrite()
    stores.db.session.run(rewrite_documents(stores.db.session.context, rewrite, **options))
    return rewrite


def document(stores: Harness, key: str) -> dict[str, Any]:
    partition = stores.db.session.context.keyspace.partition("notes")
    found: dict[str, Any] = json.loads(stores.send(("GET", partition.document("Note", key)))[0])
    return found


def test_documents_are_rewritten_under_new_names_and_keep_their_revision(stack: ExitStack) -> None:
    new = opened(stack, "rename", NEW)
    new.db.notes.create(note(NEW, "a"))
    new.db.notes.create(note(NEW, "b"))
    before = document(new, "a")
    later = opened(stack, new, RENAMED)
    assert later.db.notes.get("a").author == "o"
    assert rewritten(later, dry_run=True) == Rewrite(read=2, written=2)
    assert document(new, "a") == before
    assert rewritten(later) == Rewrite(read=2, written=2)
    after = document(new, "a")
    assert {**after, "op": ""} == {
        **{name: value for name, value in before.items() if name != "owner"},
        "author": "o",
        "op": "",
    }
    assert rewritten(later) == Rewrite(read=2)
    assert later.db.check().clean


def test_a_removed_field_is_kept_until_it_is_purged(stack: ExitStack) -> None:
    new = opened(stack, "purge", NEW)
    new.db.notes.create(note(NEW, "a"))
    later = opened(stack, new, FEWER)
    later.db.notes.change("a", lambda row: setattr(row, "state", "public"))
    assert document(new, "a")["owner"] == "o"
    with pytest.raises(ConfigurationError, match="is a field of this schema"):
        rewritten(later, purge=["slug"])
    assert rewritten(later, purge=["owner"]).written == 1
    assert "owner" not in document(new, "a")
    assert later.db.notes.get("a").state == "public"


def test_an_asyncio_store_awaits_an_observer() -> None:
    seen: list[str] = []

    async def observe(progress: Progress) -> None:
        seen.append(progress.stage)

    def run(stores: Harness, flow: Flow[Any]) -> None:
        seen.clear()
        stores.do(stores.db.session.run(flow))

    with harness("aio", "observed", module=generated(OLD)) as old:
        old.do(old.db.notes.create(note(OLD, "a")))
        with harness("aio", old, module=generated(NEW)) as new:
            run(new, backfill(new.db.session.context, Build(), observe=observe))
            assert seen[0] == "unique values"
            run(new, rewrite_documents(new.db.session.context, Rewrite(), observe=observe))
            assert set(seen) == {"documents"}
        with harness("aio", old, module=generated(FEWER.replace(SLUG, ""))) as fewer:
            run(fewer, drop_index(fewer.db.session.context, "Note.slug", observe=observe))
            assert set(seen) == {"drop"}


def url_of(stores: Harness) -> str:
    """Where other processes find the server."""
    url = server_url()
    return f"unix://{stores.db.session.shell.settings.path}" if url == "embedded:" else url


def run(stores: Harness, schema: str, *words: str) -> Any:
    """A command of the admin tool on the stores' namespace."""
    place = ["--url", url_of(stores), "-n", stores.namespace, "-p", generated(schema).__name__]
    return RUNNER.invoke(APP, [*words, *place])


def test_the_commands_say_what_they_did(stack: ExitStack) -> None:
    old = opened(stack, "commands", OLD)
    for key, slug in (("a", "x"), ("b", "x")):
        old.db.notes.create(note(OLD, key, slug=slug))
    first = run(old, NEW, "backfill", "--show-ids")
    assert first.exit_code == 1, first.output
    assert "Note.slug: 1 values are claimed by several rows; nothing was changed" in first.stdout
    assert "a and b" in first.stdout or "b and a" in first.stdout
    assert "a and b" not in run(old, NEW, "backfill").stdout
    old.db.notes.change("b", lambda row: setattr(row, "slug", "y"))
    done = run(old, NEW, "backfill", "--format", "json", "--rate", "1000000")
    assert done.exit_code == 0, done.output
    shape = json.loads(done.stdout)
    assert (shape["complete"], shape["built"]) == (True, ["Note.by_state", "Note.slug"])
    assert run(old, NEW, "backfill").stdout == "every index is built: there is nothing to do\n"
    assert run(old, NEW, "backfill", "Note.nothing").exit_code == 2
    assert run(old, OLD, "drop-view", "Note.slug").stdout == "Note.slug: dropped 1 keys\n"
    assert run(old, NEW, "drop-view", "Note.all").exit_code == 2
    assert run(old, RENAMED, "migrate-documents", "--dry-run").exit_code == 1
    moved = run(old, RENAMED, "migrate-documents")
    assert (moved.exit_code, moved.stdout) == (0, "2 documents read, 2 written\n")
