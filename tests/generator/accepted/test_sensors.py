"""Sensors: rows whose keys are uuids and ints, with references to them, and keys that records make for themselves."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from keyweave.errors import (
    AlreadyExistsError,
    NotFoundError,
    ReferenceViolationError,
    UniqueViolationError,
    ValidationError,
)
from tests.generator.accepted.stage import Stage

CASE = "sensors"
NOON = datetime(2024, 2, 29, 12, tzinfo=UTC)


def device(stage: Stage, name: str, **more: Any) -> Any:
    given = {"name": name, "seen_at": NOON, "notes": [stage.package.Note(line=1, text="new")]}
    return stage.package.Device(**{**given, **more})


def measure(stage: Stage, number: int, of: Any, value: float = 0.5) -> Any:
    return stage.package.Measure(number=number, device=of.id, value=value)


def site(stage: Stage) -> tuple[Any, Any, Any, Any]:
    """A device, a part of it, a measure of the device and its alarm."""
    pump = device(stage, "Pump")
    valve = device(stage, "Valve", part_of=pump.id)
    level = measure(stage, -7, pump)
    alarm = stage.package.Alarm(measure=-7, code="high")
    stage.devices.create(pump)
    stage.create(valve, level, alarm)
    return pump, valve, level, alarm


def test_a_row_of_a_bulk_write_does_not_refer_to_a_later_one(stage: Stage) -> None:
    pump, hose = device(stage, "Pump"), device(stage, "Hose")
    valve, nozzle = device(stage, "Valve", part_of=pump.id), device(stage, "Nozzle", part_of=hose.id)
    results = stage.devices.create_many([hose, valve, pump, nozzle])
    assert [type(each) for each in results] == [
        stage.package.Device,
        ReferenceViolationError,
        stage.package.Device,
        stage.package.Device,
    ]
    assert stage.check().clean


def test_sensors_at_work(stage: Stage) -> None:
    pump, valve, level, alarm = site(stage)
    others = [
        stage.package.Visit(ticket=UUID(int=5)),
        stage.package.Ticket(title="look"),
        stage.package.Badge(number=7),
    ]
    stage.create(*others)
    for record in (pump, valve, level, alarm, *others):
        stage.visit(record)
        stage.write_again(record)
    assert [row.id for row in stage.devices.tree(pump.id)] == [pump.id, valve.id]
    assert stage.devices.touch_seen_at(pump.id) is True
    merged = stage.devices.merge_notes(pump.id, [stage.package.Note(line=2)])
    assert [note.line for note in merged.notes] == [1, 2]
    assert stage.check().clean
    with pytest.raises(ReferenceViolationError):
        stage.measures.delete(-7)
    stage.remove(stage.alarms.get(alarm.id), *others)
    stage.remove(stage.measures.get(-7))
    stage.remove(stage.devices.get(pump.id))
    assert stage.devices.find(valve.id) is None
    assert stage.measures.find(-7) is None
    stage.finish()


def test_a_record_makes_its_key_and_a_given_one_stands(stage: Stage) -> None:
    sensors = stage.package
    first, second = device(stage, "a"), device(stage, "b")
    assert isinstance(first.id, UUID) and first.id.version == 7
    assert first.id < second.id
    assert sensors.Ticket().id.version == 4
    assert UUID(sensors.Visit().id).version == 7
    assert UUID(sensors.Badge().code).version == 4
    assert len(sensors.Alarm(measure=1, code="x").id) == 27
    assert device(stage, "c", id=UUID(int=9)).id == UUID(int=9)
    assert sensors.Badge(code="mine").code == "mine"


def test_a_retry_writes_the_same_row(stage: Stage) -> None:
    record = device(stage, "a")
    stage.devices.create(record)
    with pytest.raises(AlreadyExistsError) as caught:
        stage.devices.create(record)
    assert caught.value.key == str(record.id)
    stage.devices.upsert(record)
    assert len(stage.devices.all().list()) == 1


def test_keys_of_another_type_are_refused(stage: Stage) -> None:
    pump, *_ = site(stage)
    for call, wrong in (
        (stage.devices.get, str(pump.id)),
        (stage.devices.find, 5),
        (stage.devices.get_many, [pump.id, "x"]),
        (stage.devices.delete, None),
        (stage.devices.tree, str(pump.id)),
        (stage.devices.get_with_measures, str(pump.id)),
        (stage.measures.get, "-7"),
        (stage.measures.exists, True),
        (lambda key: stage.measures.by_device(key).list(), str(pump.id)),
        (lambda key: stage.devices.where(id=key).list(), str(pump.id)),
    ):
        with pytest.raises(ValidationError):
            call(wrong)
    with pytest.raises(ValidationError) as caught:
        stage.devices.get("x")
    assert (caught.value.entity, caught.value.field) == ("Device", "id")


def test_a_reference_to_no_row_is_refused_and_names_the_field(stage: Stage) -> None:
    pump = device(stage, "Pump")
    with pytest.raises(ReferenceViolationError) as caught:
        stage.measures.create(measure(stage, 1, pump))
    assert caught.value.field == "device"
    with pytest.raises(NotFoundError):
        stage.devices.get(pump.id)


def test_a_transaction_sees_its_own_rows(stage: Stage) -> None:
    pump = device(stage, "Pump")

    def blocking(tx: Any) -> Any:
        tx.devices.create(pump)
        tx.measures.create(measure(stage, 1, pump))
        tx.measures.create(measure(stage, 2, pump))
        listed = tx.measures.by_device(pump.id).page()
        return tx.devices.get(pump.id), listed

    async def waiting(tx: Any) -> Any:
        await tx.devices.create(pump)
        await tx.measures.create(measure(stage, 1, pump))
        await tx.measures.create(measure(stage, 2, pump))
        listed = await tx.measures.by_device(pump.id).page()
        return await tx.devices.get(pump.id), listed

    found, listed = stage.wait_for(
        stage.store.transact(waiting if type(stage.store).__module__.endswith(".aio") else blocking)
    )
    assert found.id == pump.id
    assert {row.number for row in listed} == {1, 2}
    assert {row.number for row in stage.measures.by_device(pump.id)} == {1, 2}


def test_unique_values_and_keys_of_other_types_meet(stage: Stage) -> None:
    pump, *_ = site(stage)
    with pytest.raises(UniqueViolationError):
        stage.devices.create(device(stage, "PUMP"))
    with pytest.raises(UniqueViolationError):
        stage.alarms.create(stage.package.Alarm(measure=-7, code="high"))
    assert stage.devices.get_by_name("pUMp").id == pump.id


def test_pages_of_int_keys_go_on_where_they_ended(stage: Stage) -> None:
    pump = device(stage, "Pump")
    stage.devices.create(pump)
    for number in range(-10, 15):
        stage.measures.create(measure(stage, number, pump))
    seen, cursor = [], None
    while True:
        page = stage.measures.by_device(pump.id).reverse().page(limit=4, cursor=cursor)
        seen += [row.number for row in page]
        cursor = page.cursor
        if cursor is None:
            break
    assert seen == list(range(-10, 15))


def test_the_key_of_a_stored_row_cannot_change(stage: Stage) -> None:
    pump, *_ = site(stage)
    row = stage.devices.get(pump.id)
    row.id = UUID(int=1)
    with pytest.raises(ValidationError) as caught:
        stage.devices.save(row)
    assert caught.value.rule == "key"


def test_the_text_of_a_key_gives_the_key_back(stage: Stage) -> None:
    for record in site(stage):
        entity = stage.entity_of(record)
        assert entity.key_value(entity.key_of(record)) == stage.key_of(record)
