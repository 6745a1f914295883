"""What a store learns about its namespace when it opens: writes keep new indexes, reads do not use them, older code continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from keyweave.effects import Flow, ServerError
from keyweave.errors import (
    CorruptDocumentError,
    SchemaMismatchError,
    UniqueViolationError,
    ViewNotBuiltError,
)
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.exchange.handshake import handshake
from keyweave.store.registry import index_field, read_registry, state_text
from tests.evolution.packages import ALL, BY_STATE, NOTE, OLD, REMARK, SLUG, generated
from tests.harness import FLAVOURS, Harness, harness
from tests.scripted import Scripted
from tests.servers.running import new_namespace, server_url

NEW = NOTE + ALL + BY_STATE + SLUG


@pytest.fixture(params=FLAVOURS)
def flavour(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@contextmanager
def opened(flavour: str, name: str | Harness, *schema: str) -> Iterator[Harness]:
    with harness(flavour, name, module=generated(*schema)) as stores:
        yield stores


@pytest.fixture
def both(flavour: str) -> Iterator[tuple[Harness, Harness]]:
    """A store of older code with one row, and one of newer code on the same namespace."""
    with ExitStack() as stack:
        old = stack.enter_context(opened(flavour, "handshake", OLD))
        old.do(old.db.notes.create(note(old, "a")))
        yield old, stack.enter_context(opened(flavour, old, NEW))


def note(stores: Harness, key: str, **more: Any) -> Any:
    """A note of the package that `stores` belong to."""
    package = generated(OLD) if not hasattr(stores.db.notes, "find_by_slug") else generated(NEW)
    return package.Note(**{"id": key, "owner": "o", "slug": key, **more})


def registry(stores: Harness) -> Any:
    partition = stores.db.session.context.keyspace.partition("notes")
    return read_registry(stores.send(("HGETALL", partition.schema))[0])


def test_everything_of_a_fresh_namespace_is_readable(flavour: str) -> None:
    with opened(flavour, "fresh", NEW) as new:
        new.do(new.db.notes.create(note(new, "a")))
        assert new.do(new.db.notes.by_state("draft").count()) == 1
        assert new.do(new.db.notes.get_by_slug("A")).id == "a"
        assert not new.db.session.context.state.unbuilt


def test_a_namespace_carries_the_schema_of_the_code_that_opened_it_last(flavour: str) -> None:
    """The indexes stay the same, so that the writer does too."""
    more = NEW.replace("  state:", "  stars: {type: int, default: 0}\n  state:", 1)
    with opened(flavour, "fingerprint", NEW) as old:
        assert registry(old).fingerprint == generated(NEW).package.PACKAGE.fingerprint
        with opened(flavour, old, more) as new:
            found = registry(new)
            package = generated(more).package.PACKAGE
            assert (found.current, found.fingerprint) == (package.writer, package.fingerprint)
            assert generated(NEW).package.PACKAGE.writer == package.writer


def test_an_older_writer_leaves_the_schema_of_the_current_one(
    both: tuple[Harness, Harness], flavour: str
) -> None:
    old, new = both
    before = registry(new)
    with opened(flavour, old, OLD):
        assert registry(new).fingerprint == before.fingerprint == generated(NEW).package.PACKAGE.fingerprint


def test_a_new_index_is_kept_by_writes_and_not_read(both: tuple[Harness, Harness]) -> None:
    _, new = both
    new.do(new.db.notes.create(note(new, "b")))
    notes = new.db.notes
    reads: list[Callable[[], Any]] = [
        lambda: notes.by_state("draft").page(),
        lambda: notes.by_state("draft"),
        lambda: notes.by_state("draft").count(),
        lambda: notes.by_state().group_counts(),
        lambda: notes.find_by_slug("b"),
        lambda: notes.create(note(new, "c"), if_none="by_state"),
    ]
    for read in reads:
        with pytest.raises(ViewNotBuiltError, match="keyweave backfill Note") as caught:
            new.do(read())
        assert caught.value.entity == "Note"
    partition = new.db.session.context.keyspace.partition("notes")
    assert new.send(("ZRANGE", partition.view("Note", "by_state", ("draft",)), 0, -1)) == [[b"b"]]
    assert new.send(("HGETALL", partition.claims("Note", "slug"))) == [[b"b", b"b"]]
    assert new.do(notes.find("c")) is None


def test_the_planner_reads_what_is_built(both: tuple[Harness, Harness]) -> None:
    _, new = both
    plan = new.do(new.db.notes.where(state="draft").scan().explain())
    assert (plan.view, plan.compared) == ("all", ("state",))
    found = new.do(new.db.notes.where(state="draft").scan().page())
    assert [row.id for row in found.rows] == ["a"]


def test_older_code_continues_and_its_writes_are_counted(both: tuple[Harness, Harness]) -> None:
    old, new = both
    old.do(old.db.notes.create(note(old, "b")))
    old.do(old.db.notes.delete("a"))
    new.do(new.db.notes.create(note(new, "c")))
    assert [row.id for row in old.do(old.db.notes.all().page()).rows] == ["c", "b"]
    assert registry(new).missed("Note.by_state") == 2
    assert registry(new).missed("Note.all") == 0


def test_older_code_that_opens_again_does_not_take_over(both: tuple[Harness, Harness]) -> None:
    old, new = both
    current = registry(new).current
    with opened(old.flavour, old, OLD) as again:
        assert again.do(again.db.notes.all().count()) == 1
        assert registry(new).current == current == generated(NEW).PACKAGE.writer


def test_open_stores_notice_a_build_that_ended(both: tuple[Harness, Harness]) -> None:
    _, new = both
    context = new.db.session.context
    partition = context.keyspace.partition("notes")
    index = context.package.indexes["Note.by_state"]
    with pytest.raises(ViewNotBuiltError):
        new.do(new.db.notes.by_state("draft").count())
    new.send(("HSET", partition.schema, index_field("Note.by_state"), state_text(index, built=True)))
    assert new.do(new.db.notes.by_state("draft").count()) == 0
    with pytest.raises(ViewNotBuiltError):
        new.do(new.db.notes.find_by_slug("a"))


def test_an_index_that_older_code_wrote_past_is_not_read_by_stores_that_open_later(
    both: tuple[Harness, Harness],
) -> None:
    old, new = both
    context = new.db.session.context
    partition = context.keyspace.partition("notes")
    index = context.package.indexes["Note.by_state"]
    new.send(("HSET", partition.schema, index_field("Note.by_state"), state_text(index, built=True)))
    old.do(old.db.notes.create(note(old, "b")))
    with opened(new.flavour, new, NEW) as later, pytest.raises(ViewNotBuiltError):
        later.do(later.db.notes.by_state("draft").count())


def test_rows_are_not_deleted_without_the_view_that_finds_their_referrers(flavour: str) -> None:
    found = REMARK.replace("by_note", "of_note")
    with opened(flavour, "via", OLD, REMARK) as old:
        old.do(old.db.notes.create(generated(OLD, REMARK).Note(id="a", owner="o", slug="a")))
        old.do(old.db.remarks.create(generated(OLD, REMARK).Remark(id="r", note_id="a")))
        with opened(flavour, old, OLD, found) as new:
            with pytest.raises(ViewNotBuiltError, match=r"Remark\.of_note"):
                new.do(new.db.notes.delete("a"))
            assert new.do(new.db.notes.get("a")).id == "a"


def test_another_definition_needs_another_generation(flavour: str) -> None:
    changed = OLD.replace("fields: []\n    order: created", "fields: []\n    order: revision")
    with opened(flavour, "generations", OLD) as old:
        old.do(old.db.notes.create(note(old, "a")))
        with pytest.raises(SchemaMismatchError, match="generation"), opened(flavour, old, changed):
            pass
        second = changed.replace("    order: revision", "    order: revision\n    generation: 2")
        with opened(flavour, old, second) as new:
            new.do(new.db.notes.create(generated(second).Note(id="b", owner="o", slug="b")))
            with pytest.raises(ViewNotBuiltError):
                new.do(new.db.notes.all().page())
            assert [row.id for row in old.do(old.db.notes.all().page()).rows] == ["a"]
            partition = new.db.session.context.keyspace.partition("notes")
            assert partition.view("Note", "all", ()).endswith("}:Note.all.2")
            assert new.send(("ZCARD", partition.view("Note", "all", ()))) == [1]


def test_a_damaged_registry_is_reported(flavour: str) -> None:
    with opened(flavour, "damaged", OLD) as old:
        partition = old.db.session.context.keyspace.partition("notes")
        old.send(("HSET", partition.schema, index_field("Note.all"), "{"))
        with pytest.raises(CorruptDocumentError, match="@schema"), opened(flavour, old, NEW):
            pass


def test_a_count_that_is_no_number_refuses_a_write_whole(both: tuple[Harness, Harness]) -> None:
    old, _ = both
    partition = old.db.session.context.keyspace.partition("notes")
    old.send(("HSET", partition.schema, f"behind:{generated(OLD).PACKAGE.writer}", "many"))
    before = old.contents()
    with pytest.raises(Exception, match="refused a command"):
        old.do(old.db.notes.create(note(old, "b")))
    assert old.contents() == before


@pytest.mark.parametrize("code", ["READONLY", "NOPERM"])
def test_where_nothing_may_be_written_nothing_is_made_known(code: str) -> None:
    scripted = Scripted()
    refusal = [ServerError(code, f"{code} no")] * 20
    flow: Flow[None] = handshake(scripted.context)
    scripted.run(flow, [[[], 0, [], 0], refusal])
    assert scripted.context.state.unbuilt == set()


def test_opening_again_writes_nothing(flavour: str) -> None:
    name = new_namespace("again")
    assert server_url()
    with opened(flavour, name, OLD) as first:
        before = first.send(("HGETALL", first.db.session.context.keyspace.partition("notes").schema))
        with opened(flavour, first, OLD):
            after = first.send(("HGETALL", first.db.session.context.keyspace.partition("notes").schema))
        assert sorted(before[0]) == sorted(after[0])


def flushed(stores: Harness) -> None:
    """Delete every key of the namespace while the store is open, as FLUSHALL does."""
    pattern = stores.db.session.context.keyspace.pattern()
    cursor: Any = 0
    while True:
        ((cursor, names),) = stores.send(("SCAN", cursor, "MATCH", pattern, "COUNT", 1000))
        if names:
            stores.send(("DEL", *names))
        if int(cursor) == 0:
            return


def test_after_a_flush_beside_an_open_store_newer_code_does_not_read_what_is_not_built(flavour: str) -> None:
    with opened(flavour, "flush", OLD) as old:
        flushed(old)
        old.do(old.db.notes.create(note(old, "a", slug="same")))
        with opened(flavour, old, NEW) as new:
            reads: list[Callable[[], Any]] = [
                lambda: new.db.notes.find_by_slug("same"),
                lambda: new.db.notes.all().page(),
                lambda: new.db.notes.by_state("draft").count(),
            ]
            for read in reads:
                with pytest.raises(ViewNotBuiltError):
                    new.do(read())
            build = Build()
            new.do(new.db.session.run(backfill(new.db.session.context, build)))
            assert build.complete
            with pytest.raises(UniqueViolationError):
                new.do(new.db.notes.create(note(new, "b", slug="SAME")))
            assert new.do(new.db.notes.get_by_slug("same")).id == "a"
            assert new.do(new.db.check()).clean


def test_after_a_flush_the_same_code_opens_again_as_before(flavour: str) -> None:
    with opened(flavour, "flush", NEW) as first:
        first.do(first.db.notes.create(note(first, "z")))
        flushed(first)
        first.do(first.db.notes.create(note(first, "a")))
        with opened(flavour, first, NEW) as again:
            assert again.do(again.db.notes.get_by_slug("a")).id == "a"
            assert again.do(again.db.notes.all().count()) == 1
            assert again.do(again.db.check()).clean


def test_a_registry_that_is_lost_while_data_stays_says_nothing_about_its_indexes(flavour: str) -> None:
    with opened(flavour, "lost", OLD) as old:
        old.do(old.db.notes.create(note(old, "a")))
        old.send(("DEL", old.db.session.context.keyspace.partition("notes").schema))
        old.do(old.db.notes.create(note(old, "b")))
        with opened(flavour, old, NEW) as new:
            with pytest.raises(ViewNotBuiltError):
                new.do(new.db.notes.find_by_slug("a"))
            new.do(new.db.session.run(backfill(new.db.session.context, Build())))
            assert new.do(new.db.notes.get_by_slug("a")).id == "a"
            assert new.do(new.db.notes.all().count()) == 2


def test_without_a_registry_and_without_the_right_to_write_one_nothing_with_data_counts_as_built() -> None:
    scripted = Scripted()
    refusal = [ServerError("NOPERM", "NOPERM no")] * 20
    flow: Flow[None] = handshake(scripted.context)
    scripted.run(flow, [[[], 1, [], 0], refusal])
    unbuilt = scripted.context.state.unbuilt
    first, second = scripted.context.keyspace.partitions()
    groups = {name: entity.group for name, entity in scripted.context.package.entities.items()}
    assert {groups[name.partition(".")[0]] for name in unbuilt} == {first.group}
    assert first.group != second.group


def test_a_namespace_with_more_partitions_is_not_opened(flavour: str) -> None:
    """A store that was opened with another number would look for rows in the wrong partitions."""
    with opened(flavour, "partitions", OLD) as old:
        key = old.db.session.context.keyspace.partition("notes").schema
        old.send(("HSET", key, "partitions", 4))
        before = old.send(("HGETALL", key))
        text = "group notes: the namespace has 4 partitions, and the store was opened with 1"
        other = harness(flavour, old, module=generated(NEW), partitions={"notes": 1})
        with pytest.raises(SchemaMismatchError, match=text), other:
            pass
        assert old.send(("HGETALL", key)) == before
        old.send(("HSET", key, "partitions", 1))
        with opened(flavour, old, NEW):
            pass


def test_a_number_that_another_store_registers_at_the_same_time_is_found() -> None:
    """Between the first look at an empty namespace and the registration."""
    scripted = Scripted()
    others = [[b"partitions", b"16"], []]
    with pytest.raises(SchemaMismatchError, match="the namespace has 16 partitions"):
        scripted.run(handshake(scripted.context), [[[], 0, [], 0], [1] * 40, others])


def test_a_number_of_partitions_that_cannot_be_read_is_a_damaged_registry(flavour: str) -> None:
    with opened(flavour, "damaged", OLD) as old:
        old.send(("HSET", old.db.session.context.keyspace.partition("notes").schema, "partitions", "many"))
        with pytest.raises(CorruptDocumentError, match="registry"), opened(flavour, old, NEW):
            pass
