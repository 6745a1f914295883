"""Leases: rows end at a moment of their own, some time after they were written first, or some time after their last write."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyweave.errors import ConfigurationError, ValidationError
from keyweave.model.moment import to_micros
from keyweave.model.record import memory_of
from tests.generator.accepted.conftest import Open
from tests.generator.accepted.stage import Stage

CASE = "leases"
LATER = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO = datetime(1990, 1, 1, tzinfo=UTC)
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)
HOUR = 3_600_000_000


def expires(record: Any) -> int:
    """The deadline of a row, in microseconds since 1970; 0 for none."""
    stored = memory_of(record)
    assert stored is not None
    return stored.expires


def length(record: Any) -> int:
    """How long after its last write the deadline of a row is, in microseconds."""
    stored = memory_of(record)
    assert stored is not None
    return stored.expires - stored.revision


def lease(stage: Stage, key: str = "1", ends_at: datetime | None = LATER) -> Any:
    return stage.package.Lease(id=key, owner=f"o{key}", ends_at=ends_at)


def test_leases_at_work(stage: Stage) -> None:
    rows = [
        lease(stage),
        stage.package.Login(id="1", seen_at=NOON),
        stage.package.Memo(id="1"),
        stage.package.Draft(id="1"),
    ]
    stage.create(*rows)
    for record in rows:
        stage.visit(record)
        stage.write_again(record)
    assert stage.leases.touch_ends_at("1") is True
    assert stage.logins.touch_seen_at("1") is True
    assert stage.check().clean
    for record in rows:
        stage.remove(stage.repository_of(record).get("1"))
    stage.finish()


def test_each_row_names_its_own_end(stage: Stage) -> None:
    row = stage.leases.create(lease(stage))
    assert expires(row) == expires(stage.leases.get("1")) == to_micros(LATER)
    row.ends_at = LATER + timedelta(microseconds=1)
    stage.leases.save(row)
    assert expires(stage.leases.get("1")) == to_micros(LATER) + 1
    row.ends_at = LATER - timedelta(days=1)
    stage.leases.save(row)
    assert expires(stage.leases.get("1")) == to_micros(LATER) - 24 * HOUR
    row.ends_at = None
    stage.leases.save(row)
    assert expires(stage.leases.get("1")) == 0
    assert expires(stage.leases.upsert(lease(stage))) == to_micros(LATER)


@pytest.mark.parametrize("past", [LONG_AGO, NOON, datetime.min.replace(tzinfo=UTC)], ids=str)
def test_an_end_that_has_passed_ends_the_row_with_the_write(stage: Stage, past: datetime) -> None:
    stage.leases.create(lease(stage, ends_at=past))
    assert stage.leases.find("1") is None
    assert stage.leases.all().list() == []
    assert stage.leases.find_by_owner("o1") is None
    row = stage.leases.create(lease(stage))
    row.ends_at = past
    stage.leases.save(row)
    assert stage.leases.exists("1") is False
    assert stage.check().clean
    assert stage.wait_for(stage.store.sweep()) == 1
    assert stage.check().documents == 0


def test_an_end_beyond_what_a_document_can_hold_is_refused(stage: Stage) -> None:
    with pytest.raises(ValidationError) as caught:
        stage.leases.create(lease(stage, ends_at=datetime(2300, 1, 1, tzinfo=UTC)))
    assert caught.value.field == "ends_at"


def test_every_row_ends_and_later_writes_do_not_move_the_end(stage: Stage) -> None:
    row = stage.memos.create(stage.package.Memo(id="1"))
    assert length(row) == 24 * HOUR
    first = expires(row)
    row.text = "more"
    stage.memos.save(row)
    assert expires(stage.memos.get("1")) == first
    assert expires(stage.memos.upsert(stage.package.Memo(id="1", text="other"))) == first


def test_every_write_and_every_touch_renews_a_sliding_end(stage: Stage) -> None:
    row = stage.logins.create(stage.package.Login(id="1", seen_at=LATER))
    ends = [expires(row)]
    row.note = "x"
    writes: list[Callable[[], Any]] = [
        lambda: stage.logins.save(row),
        lambda: stage.logins.upsert(stage.package.Login(id="1", seen_at=LATER)),
        lambda: stage.logins.change("1", lambda each: setattr(each, "note", "y")),
        lambda: stage.logins.touch_seen_at("1", LATER + timedelta(days=1)),
        lambda: stage.logins.touch_seen_at("1", NOON),
        lambda: stage.logins.touch_seen_at("1"),
    ]
    for write in writes:
        write()
        found = stage.logins.get("1")
        assert length(found) == 2 * HOUR
        ends.append(expires(found))
    assert ends == sorted(set(ends))
    assert found.seen_at == LATER + timedelta(days=1)
    assert stage.check().clean


def test_a_sliding_end_depends_on_the_condition(stage: Stage) -> None:
    row = stage.drafts.create(stage.package.Draft(id="1"))
    assert length(row) == HOUR // 2
    row.kept = True
    stage.drafts.save(row)
    assert expires(stage.drafts.get("1")) == 0
    row.kept = False
    stage.drafts.save(row)
    assert length(stage.drafts.get("1")) == HOUR // 2


def test_a_transaction_is_one_write(stage: Stage) -> None:
    row = stage.logins.create(stage.package.Login(id="1", seen_at=NOON))
    before = expires(row)

    def blocking(tx: Any) -> None:
        found = tx.logins.get("1")
        found.note = "a"
        tx.logins.save(found)
        tx.leases.create(lease(stage))

    async def waiting(tx: Any) -> None:
        found = await tx.logins.get("1")
        found.note = "a"
        await tx.logins.save(found)
        await tx.leases.create(lease(stage))

    stage.wait_for(
        stage.store.transact(waiting if type(stage.store).__module__.endswith(".aio") else blocking)
    )
    assert expires(stage.logins.get("1")) > before
    assert expires(stage.leases.get("1")) == to_micros(LATER)


def test_only_a_time_can_be_replaced(open_stage: Open) -> None:
    stage = open_stage(retention={"Login": timedelta(minutes=1), "Memo": timedelta(minutes=2)})
    assert length(stage.logins.create(stage.package.Login(id="1", seen_at=NOON))) == HOUR // 60
    assert length(stage.memos.create(stage.package.Memo(id="1"))) == HOUR // 30
    with pytest.raises(ConfigurationError, match="there are: Draft, Login, Memo"):
        open_stage(retention={"Lease": timedelta(days=1)})
