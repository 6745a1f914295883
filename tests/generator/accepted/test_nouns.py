"""Names that Python, the runtime and generated code use themselves name entities, enums, records, fields and values."""

from __future__ import annotations

import json
import keyword
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import msgspec
import pytest

from keyweave.errors import AlreadyExistsError, CheckViolationError, ValidationError
from keyweave.model.record import memory_of
from keyweave.query import one_of
from tests.generator.accepted.stage import Stage

CASE = "nouns"
MOMENT = datetime(2024, 11, 3, tzinfo=UTC)
DAY, HOUR, SPAN = date(2024, 2, 29), time(8, 30), timedelta(minutes=5)


def a_class(stage: Stage, key: str = "c1", **fields: Any) -> Any:
    given: dict[str, Any] = {
        "order": 2,
        "limit": "few",
        "key_text": "k",
        "equal": "e",
        "having": "h",
        "filters": "f",
    }
    given |= {"day": DAY, "hour": HOUR, "span": SPAN}
    return stage.package.Class(wait=key, at=MOMENT, **{**given, "counts": "n", "cursor": "c", **fields})


def test_options_and_locals_of_methods_are_fields(stage: Stage) -> None:
    row = a_class(stage)
    stage.create(row)
    stage.visit(row)
    stage.write_again(row)
    asked = {"order": 2, "limit": "few", "newest": False, "batch": stage.package.Any.ONE}
    assert stage.classes.where(**asked).order_by("order").page(limit=1).rows == [row]
    assert stage.classes.get_by_class("few", "k") == row
    assert stage.classes.touch_at("c1", datetime(2030, 1, 1, tzinfo=UTC)) is True


def test_views_have_the_names_of_types_of_fields(stage: Stage) -> None:
    row = a_class(stage)
    stage.create(row)
    classes = stage.classes
    found = [classes.date(DAY), classes.time(HOUR), classes.timedelta(SPAN)]
    found.append(classes.datetime(MOMENT, HOUR, DAY, SPAN))
    found.append(classes.overload("few", row.batch))
    assert all(list(rows) == [row] for rows in found)
    assert classes.overload("few").group_counts() == {row.batch: 1}


def test_names_of_values_come_from_the_schema(stage: Stage) -> None:
    values = stage.package.Any
    assert [(each.name, each.value) for each in values] == [
        ("ONE", "1"),
        ("MINUS_ONE", "-1"),
        ("E_ACUTE", "é"),
        ("JAPAN", "日本"),
    ]
    assert [each.is_type for each in values] == [True, True, False, False]
    stage.create(a_class(stage, batch=values.JAPAN, group=values.ONE))
    assert stage.classes.get("c1").batch is values.JAPAN
    assert stage.classes.from_("few").group_counts() == {values.JAPAN: 1}
    with pytest.raises(CheckViolationError):
        stage.classes.create(a_class(stage, "c2", group=values.E_ACUTE))


def test_a_merge_whose_record_has_only_key_fields(stage: Stage) -> None:
    value, literal = stage.package.Value, stage.package.Literal
    stage.create(a_class(stage))
    given = [
        value(key="b", kind=literal.LOW),
        value(key="a", kind=literal.HIGH),
        value(key="b", kind=literal.LOW),
    ]
    assert stage.classes.merge_list("c1", given).list == [given[1], given[0]]
    meta = stage.package.Meta
    merged = stage.classes.merge_bytes("c1", [meta(str=" x ", list=["b"]), meta(str="x", list=["a"])])
    assert merged.bytes == [meta(str="x", list=["a", "b"])]


def test_a_reference_to_a_keyword(stage: Stage) -> None:
    row = a_class(stage)
    row_of_it = stage.package.Property(entries="p1", class_wait="c1", function=MOMENT)
    stage.create(row, row_of_it)
    stage.visit(row)
    stage.visit(row_of_it)
    stage.classes.delete("c1")
    assert stage.properties.find("p1") is None


def head(stage: Stage, **fields: Any) -> Any:
    value, literal = stage.package.Value, stage.package.Literal
    given = {"id": "h1", "revision": 3, "expires": datetime(2100, 1, 1, tzinfo=UTC), "to_dict": " d "}
    return stage.package.Head(**{**given, "op": [value(key="a", kind=literal.LOW)], **fields})


def test_members_of_the_head_are_fields(stage: Stage) -> None:
    row = head(stage)
    stage.create(row)
    stage.visit(row)
    stage.write_again(row)
    assert row.to_dict == "d"
    assert json.loads(msgspec.json.encode(row)).keys() == set(row.__struct_fields__)
    stored = memory_of(stage.heads.get("h1"))
    assert stored is not None and stored.document is not None
    document = json.loads(stored.document)
    assert document["@revision"] == 3
    assert document["@op"] == [{"key": "a", "kind": "low"}]
    assert document["@expires"] == "2100-01-01T00:00:00Z"
    assert document.keys() & {"@created", "created", "revision", "op"} == {"created", "revision", "op"}
    found = stage.heads.get("h1")
    assert found == row
    assert found.created.timestamp() == document["created"] / 1_000_000
    with pytest.raises(ValidationError) as caught:
        stage.heads.update("h1", revision="x")
    assert caught.value.field == "revision"
    stage.heads.create(head(stage, id="h2", to_dict="e", op=[], revision=4))
    assert [each.id for each in stage.heads.where(revision=one_of(3, 4)).order_by("expires").page()] == [
        "h2",
        "h1",
    ]
    assert stage.check().clean


def test_a_constant_of_the_runtime_is_an_entity(stage: Stage) -> None:
    one, two = stage.package.Revision(id="r1"), stage.package.Revision(id="r2")
    stage.create(one, two)
    stage.write_again(one)
    assert [row.id for row in stage.revisions.latest().page().rows] == ["r1", "r2"]
    assert [row.id for row in stage.revisions.first().page().rows] == ["r2", "r1"]


def test_every_noun_makes_a_repository(stage: Stage) -> None:
    plain = ("Class", "Property", "Revision", "Head")
    for name in sorted(stage.package.PACKAGE.entities.keys() - set(plain)):
        entity = getattr(stage.package, name)
        root, child = entity(id="1"), entity(id="2", parent="1", kind=stage.package.Literal.HIGH)
        repository = stage.repository_of(root)
        repository.create(root)
        repository.create(child)
        assert repository.tree("1") == [root, child], name
        assert repository.where(kind=stage.package.Literal.HIGH).page().rows == [child]
        assert repository.get_many(["1", "2"]) == [root, child]
        with pytest.raises(AlreadyExistsError, match=name):
            repository.create(root)
    assert not any(keyword.iskeyword(name) for name in stage.repositories())
