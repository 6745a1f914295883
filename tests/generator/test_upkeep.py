"""Rows of every type and kind of key are checked, repaired, exported and imported."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from keyweave.admin.drift import Listing
from keyweave.effects import Command, Flow, Send
from keyweave.integrity import check as check_flows
from keyweave.integrity import repair as repair_flows
from keyweave.integrity.remedy import Repairs
from keyweave.transfer.export import export
from keyweave.transfer.file import Writer, read_line, verify
from keyweave.transfer.load import Imported, load
from tests.generator.accepted import test_catalog, test_ledger, test_market, test_sensors
from tests.generator.accepted.corpus import Corpus
from tests.generator.accepted.stage import Stage


def fill_ledger(stage: Stage) -> None:
    for number in range(1, 4):
        stage.entries.create(test_ledger.entry(stage, str(number)))


def fill_sensors(stage: Stage) -> None:
    test_sensors.site(stage)


def fill_catalog(stage: Stage) -> None:
    for number in range(3):
        stage.items.create(test_catalog.item(stage, str(number), hidden=number == 1))


def fill_market(stage: Stage) -> None:
    for number in (9, 10, -1):
        stage.markets.create(test_market.market(stage, number, part_of=9 if number == 10 else None))
        stage.stalls.create(test_market.stall(stage, number, f'"{number}" !'))
        stage.fees.create(test_market.fee(stage, at=number))


FILLED = {"catalog": fill_catalog, "ledger": fill_ledger, "market": fill_market, "sensors": fill_sensors}


@pytest.fixture(params=sorted(FILLED))
def stage(request: pytest.FixtureRequest, corpus: Corpus) -> Iterator[Stage]:
    opened = Stage(corpus.load(request.param), "sync", "server")
    FILLED[request.param](opened)
    yield opened
    opened.close()


def send(stage: Stage, *commands: Command) -> list[Any]:
    def flow() -> Flow[list[Any]]:
        replies: list[Any] = yield Send(commands)
        return replies

    found: list[Any] = stage.store.session.run(flow())
    return found


def keys(stage: Stage) -> list[str]:
    """The keys of documents and indexes."""
    pattern = stage.store.session.context.keyspace.pattern()
    (keys,) = send(stage, ("KEYS", pattern))
    return sorted(key.decode() for key in keys if b"}:@" not in key)


def indexes(stage: Stage) -> dict[str, Any]:
    """Every view and claim, with what it holds."""
    found = {}
    for key in keys(stage):
        if "." in key.rpartition("}:")[2].partition(":")[0]:
            (kind,) = send(stage, ("TYPE", key))
            if kind == b"zset":
                (found[key],) = send(stage, ("ZRANGE", key, 0, -1, "WITHSCORES"))
            else:
                (held,) = send(stage, ("HGETALL", key))
                found[key] = dict(zip(held[0::2], held[1::2], strict=True))
    return found


def test_lost_indexes_are_reported_and_built_again(stage: Stage) -> None:
    assert stage.check().clean
    before = indexes(stage)
    assert before
    for key in before:
        send(stage, ("DEL", key))
    assert not stage.check().clean
    context = stage.store.session.context
    stage.store.session.run(repair_flows.reindex(context, Repairs()))
    assert stage.check().clean
    assert indexes(stage) == before


def test_foreign_entries_are_reported_and_removed(stage: Stage) -> None:
    before = indexes(stage)
    for key in before:
        (kind,) = send(stage, ("TYPE", key))
        send(stage, ("ZADD", key, 1, "absent") if kind == b"zset" else ("HSET", key, "no value", "nobody"))
    assert stage.check().drift.total() == len(before)
    stage.store.session.run(repair_flows.reindex(stage.store.session.context, Repairs()))
    assert stage.check().clean
    assert indexes(stage) == before


def test_findings_name_rows_by_their_keys_where_ids_are_written_otherwise(stage: Stage) -> None:
    context, found = stage.store.session.context, Listing(stage.package.PACKAGE, wanted=True)
    send(stage, *[("DEL", key) for key in indexes(stage)])
    stage.store.session.run(check_flows.check(context, on_drift=found.add))
    assert found.rows
    for row in found.rows:
        entity = stage.package.PACKAGE.entities[row["where"].partition(".")[0]]
        given = entity.shown(row["id"])
        assert ("row_key" in row) is (given != row["id"])
        assert row.get("row_key", repr(row["id"])) == repr(given)


def test_an_export_makes_the_same_rows(stage: Stage, corpus: Corpus) -> None:
    parts: list[bytes] = []
    stage.store.session.run(export(stage.store.session.context, Writer(), parts.append))
    lines = b"".join(parts).splitlines(keepends=True)
    assert verify(lines).end.left_out == 0
    other = Stage(stage.package, "sync", "server")
    try:
        imported = Imported()
        documents = [(line.entity, bytes(line.document)) for line in map(read_line, lines[1:-1])]
        other.store.session.run(load(other.store.session.context, documents, "op", imported))
        assert imported.written == len(documents) > 0
        assert imported.complete
        assert other.check().clean
        for name in stage.repositories():
            entity = next(
                each
                for each in stage.package.PACKAGE.entities.values()
                if f"{each.name}Repository" == type(getattr(stage.store, name)).__name__
            )
            for key in keys(stage):
                kind, _, text = key.rpartition("}:")[2].partition(":")
                if kind == entity.name:
                    value = entity.key_value(text)
                    given = value if entity.parts else (value,)
                    assert getattr(other, name).get(*given) == getattr(stage, name).get(*given)
    finally:
        other.close()
