"""Check, repair, sweep, backfill, export and import of several partitions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from keyweave.errors import NotFoundError
from keyweave.evolution.backfill import backfill
from keyweave.evolution.build import Build
from keyweave.integrity.drift import Kind
from keyweave.integrity.remedy import Repairs
from keyweave.integrity.repair import reindex
from keyweave.keyspace.spread import place_of
from keyweave.model.ids import ksuid
from keyweave.store.registry import index_field
from keyweave.transfer.export import export
from keyweave.transfer.file import Writer, read_line
from keyweave.transfer.load import Imported, load
from tests.partitioned.estate import Estate, estate, opened
from tests.waiting import wait_until

NAMES = [f"a{number}" for number in range(12)]


@pytest.fixture
def full() -> Iterator[Estate]:
    with opened(ksuid()) as world:
        for name in NAMES:
            world.account(name)
            for number in range(2):
                world.store.deals.create(world.deal(f"{name}.{number}", name, code=f"c{name}{number}"))
            world.store.lines.create(estate().Line(account_id=name, number=1, text=name))
        yield world


def kinds(world: Estate) -> dict[str, int]:
    found: Counter[str] = Counter()
    for group, number in world.store.check().drift.items():
        found[group.kind.code] += number
    return dict(found)


def repaired(world: Estate) -> Repairs:
    repairs = Repairs()
    world.store._session.run(reindex(world.context, repairs))
    return repairs


def test_a_check_reads_every_partition_and_finds_nothing_wrong(full: Estate) -> None:
    report = full.store.check()
    assert report.clean
    assert (report.documents, report.vacant) == (48, 0)


def test_a_row_or_value_that_its_home_does_not_find_is_found_and_gets_its_home_back(full: Estate) -> None:
    key = full.context.keyspace.partition("deals", "a3.1")
    value = full.context.keyspace.partition("deals", "ca40")
    email = full.context.keyspace.partition("deals", "a5@x")
    before = full.homes()
    full.ask("HDEL", key.homes("Deal"), "a3.1")
    full.ask("HSET", value.homes("Deal", "code"), "ca40", f"{(full.partition('a4').index + 1) % 8} 1")
    full.ask("HDEL", email.homes("Account", "email"), "a5@x")
    assert kinds(full) == {Kind.MISSING_HOME.code: 3}
    assert repaired(full).complete
    assert full.store.check().clean
    assert full.homes() == before
    assert full.store.deals.get_by_code("ca40").id == "a4.0"


def test_two_rows_of_one_key_are_for_a_person_to_decide_about(full: Estate) -> None:
    here, other = full.partition("a3"), full.partition(full.others("a3"))
    document = full.ask("GET", here.document("Deal", "a3.1"))
    full.ask("SET", other.document("Deal", "a3.1"), document)
    found = kinds(full)
    assert found[Kind.DOUBLE_ROW.code] == 1
    assert found[Kind.MISSING_ENTRY.code] > 0
    left = repaired(full).left
    assert {group.where for group in left if group.kind is Kind.DOUBLE_ROW} == {"Deal", "Deal.code"}


def test_entries_are_repaired_in_the_partitions_of_their_rows(full: Estate) -> None:
    for name in NAMES:
        partition = full.partition(name)
        full.ask("ZREM", partition.view("Deal", "all", ()), f"{name}.0")
        full.ask("HDEL", partition.claims("Deal", "code"), f"c{name}1")
    assert kinds(full) == {Kind.MISSING_ENTRY.code: 12, Kind.MISSING_CLAIM.code: 12}
    assert repaired(full).complete
    assert full.store.check().clean
    assert full.store.deals.all().count() == 24


def test_a_home_without_a_row_is_no_drift_and_is_gone_after_the_next_sweep(full: Estate) -> None:
    left = full.context.keyspace.partition("deals", "nobody")
    full.ask("HSET", left.homes("Deal"), "nobody", "3 5")
    taken = full.context.keyspace.partition("deals", "nothing")
    full.ask("HSET", taken.homes("Deal", "code"), "nothing", "2 5")
    report = full.store.check()
    assert report.clean
    assert report.vacant == 2
    before = full.homes()
    full.store.sweep()
    assert full.homes() == {name: home for name, home in before.items() if "no" not in name}
    assert full.store.check().vacant == 0


def test_a_sweeper_removes_homes_without_a_row_and_no_others(full: Estate) -> None:
    before = full.homes()
    for number in range(40):
        at = full.context.keyspace.partition("deals", f"no{number}")
        full.ask("HSET", at.homes("Deal"), f"no{number}", f"{number % 8} 5")
    with full.store.sweeper(interval=0.01, share=1.0) as sweeper:
        wait_until(lambda: sweeper.progress.vacant == 40)
        rounds = sweeper.progress.rounds
        wait_until(lambda: sweeper.progress.rounds > rounds + 2)  # it goes on from the beginning
    assert full.homes() == before
    assert sweeper.progress.vacant == 40
    assert full.store.check().clean


def test_a_home_without_a_row_is_taken_over_by_an_insert_anywhere(full: Estate) -> None:
    at = full.context.keyspace.partition("deals", "new")
    elsewhere = (full.partition("a1").index + 3) % 8
    full.ask("HSET", at.homes("Deal"), "new", f"{elsewhere} 5")
    with pytest.raises(NotFoundError):
        full.store.deals.get("new")
    full.store.deals.create(full.deal("new", "a1"))
    assert full.homes()["Deal.:new"] == place_of("a1")


def test_a_new_unique_constraint_gets_its_claims_and_homes_from_a_backfill(full: Estate) -> None:
    """As if the constraint were new: its entries and homes are not there, and the registry says that it is not built."""
    before = full.homes()
    for partition in full.context.keyspace.partitions():
        full.ask("DEL", partition.claims("Deal", "code"), partition.homes("Deal", "code"))
        state = full.ask("HGET", partition.schema, index_field("Deal.code"))
        unbuilt = state.replace(b'"built":true', b'"built":false')
        full.ask("HSET", partition.schema, index_field("Deal.code"), unbuilt)
    build = Build()
    with opened(full.context.keyspace.namespace.tenant) as other:
        other.store._session.run(backfill(other.context, build))
        assert build.built == ("Deal.code",)
        assert other.store.deals.get_by_code("ca70").id == "a7.0"
    assert full.homes() == before
    assert full.store.check().clean


def test_values_of_two_partitions_that_a_new_constraint_would_have_twice_are_found_before_it_is_built(
    full: Estate,
) -> None:
    for partition in full.context.keyspace.partitions():
        full.ask("DEL", partition.claims("Deal", "code"), partition.homes("Deal", "code"))
    other = full.others("a1")
    full.account(other)
    full.store.deals.create(full.deal("double", other, code="ca10"))
    for partition in full.context.keyspace.partitions():
        state = full.ask("HGET", partition.schema, index_field("Deal.code"))
        unbuilt = state.replace(b'"built":true', b'"built":false')
        full.ask("HSET", partition.schema, index_field("Deal.code"), unbuilt)
    build = Build()
    with opened(full.context.keyspace.namespace.tenant) as second:
        second.store._session.run(backfill(second.context, build))
    assert build.collisions == {"Deal.code": 1}
    assert build.built == ()


def exported(world: Estate) -> list[tuple[str, bytes]]:
    found: list[bytes] = []
    writer = Writer()
    world.store._session.run(export(world.context, writer, found.append))
    lines = b"".join(found).splitlines(keepends=True)
    read = [read_line(line) for line in lines[1:-1]]
    return [(line.entity, bytes(line.document)) for line in read]


def loaded(world: Estate, lines: list[tuple[str, bytes]]) -> Imported:
    imported = Imported()
    world.store._session.run(load(world.context, lines, "0123456789abcdef", imported))
    return imported


@pytest.mark.parametrize("number", [1, 4, 16])
def test_an_export_goes_into_a_namespace_with_another_number_of_partitions(full: Estate, number: int) -> None:
    lines = exported(full)
    assert len(lines) == 48
    with opened(ksuid(), partitions={"deals": number}) as other:
        assert loaded(other, lines).written == 48
        assert loaded(other, lines).present == 48
        report = other.store.check()
        assert report.clean
        assert report.documents == 48
        assert other.store.deals.get("a3.1").account_id == "a3"
        assert other.store.deals.get_by_code("ca51").id == "a5.1"
        assert [row.id for row in other.store.deals.all()] == [row.id for row in full.store.deals.all()]


def test_an_import_does_not_take_what_another_partition_has(full: Estate) -> None:
    lines = exported(full)
    with opened(ksuid()) as other:
        owner = other.others("a1")
        other.account(owner)
        other.store.deals.create(other.deal("a1.1", owner))
        other.store.deals.create(other.deal("x", owner, code="ca40"))
        imported = loaded(other, lines)
        assert (imported.written, imported.conflicts) == (46, 2)
        assert other.store.deals.get("a1.1").account_id == owner
        assert other.store.deals.find("a4.0") is None
        report = other.store.check()
        assert report.clean
