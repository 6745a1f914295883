"""What the rules say about stored data is what generated code does.

Old and new code of the cases write documents and read each other's.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any, Final, TypeAlias

import pytest

from keyweave.document.codec import Codec
from keyweave.errors import CheckViolationError, CorruptDocumentError, ValidationError
from keyweave.model.entity import Entity
from keyweave.model.entry import ViewEntry
from keyweave_generator.changes.finding import Level
from keyweave_generator.changes.of_generation import definition
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import NAMES, Corpus, sources, unformatted
from tests.generator.changes.test_rules import CASES, review

OLD, NEW = "old", "new"
HEAD: Final = b'{"revision":1790000000000002,"created":1790000000000001,"expires":0,"op":"0123"'
PLACED: Final = datetime(2026, 5, 3, tzinfo=UTC)
ROW: Final = {"id": "1", "number": "A1", "customer": "ada", "placed": PLACED}


class Unreadable:
    """Stands for a CorruptDocumentError."""


@dataclass(frozen=True)
class Code:
    """The generated package of one side of a case."""

    package: ModuleType

    @property
    def entity(self) -> Entity[Any]:
        found: Entity[Any] = self.package.PACKAGE.entities["Sale"]
        return found

    def record(self, **fields: Any) -> Any:
        names = self.entity.record.__struct_fields__
        given = {name: value for name, value in {**ROW, **fields}.items() if name in names}
        if isinstance(given.get("state"), str):
            given["state"] = self.package.State(given["state"])
        return self.entity.record(**given)

    def write(self, record: Any, stored: Any = None) -> bytes:
        """The document of a record."""
        return HEAD + Codec(self.entity).prepare(record, stored).body

    def read(self, document: bytes) -> Any:
        return Codec(self.entity).load(document)

    def entries(self, document: bytes) -> dict[str, list[Any]]:
        """The index entries of a document by index."""
        found: dict[str, list[Any]] = {}
        for entry in self.entity.entries(self.read(document)):
            found.setdefault(entry.view if isinstance(entry, ViewEntry) else entry.unique, []).append(entry)
        return found


Load: TypeAlias = Callable[[str, str], Code]


@pytest.fixture(scope="module")
def load(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """Generates and imports one side of a case."""
    home = tmp_path_factory.mktemp("generated")
    made: dict[str, Code] = {}

    def loaded(case: str, side: str) -> Code:
        name = f"{case}_{side}"
        if name not in made:
            files = {path.name: path.read_text("utf-8") for path in (CASES / case / side).glob("*.yaml")}
            files["package.yaml"] = files["package.yaml"].replace("package: shop_store", f"package: {name}")
            for path, text in unformatted(load_sources(files)).items():
                (home / path).parent.mkdir(parents=True, exist_ok=True)
                (home / path).write_text(text, encoding="utf-8")
            made[name] = Code(importlib.import_module(name))
        return made[name]

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(home))
        yield loaded
    for module in [each for each in sys.modules if each.split(".")[0] in made]:
        del sys.modules[module]


@pytest.mark.parametrize(
    ("case", "writer", "fields", "reader", "expected"),
    [
        ("field_added", OLD, {}, NEW, {"paid_at": None, "tries": 0}),
        ("field_added", NEW, {"tries": 3}, OLD, {"number": "A1"}),
        ("field_added_required", OLD, {}, NEW, Unreadable),
        ("field_removed", OLD, {"note": "x"}, NEW, {"number": "A1"}),
        ("field_removed", NEW, {}, OLD, {"note": None}),
        ("field_renamed", OLD, {"note": "x", "total": 5}, NEW, {"remark": "x", "buyer": "ada", "total": 5}),
        ("field_renamed", NEW, {"buyer": "ada"}, OLD, Unreadable),
        ("field_made_optional", NEW, {"placed": None}, OLD, Unreadable),
        ("field_made_required", OLD, {"note": None}, NEW, Unreadable),
        ("field_default_added", OLD, {"number": ""}, NEW, {"number": ""}),
        ("field_default_added", NEW, {"number": ""}, OLD, Unreadable),
        ("field_default_removed", OLD, {"total": 0}, NEW, Unreadable),
        ("field_default_changed", OLD, {"total": 0}, NEW, {"total": 1}),
        ("field_default_changed", NEW, {"total": 1}, OLD, {"total": 0}),
        ("field_null_becomes_default", OLD, {"note": None}, NEW, {"note": "none"}),
        ("field_null_becomes_default", NEW, {"note": "none"}, OLD, {"note": None}),
        ("field_default_becomes_null", OLD, {"total": 0}, NEW, {"total": None}),
        ("field_managed_changed", NEW, {}, OLD, Unreadable),
        ("field_type_changed", OLD, {}, NEW, Unreadable),
        ("field_type_narrowed", OLD, {"note": "paid"}, NEW, {"note": "paid"}),
        ("field_type_narrowed", OLD, {"note": "x"}, NEW, Unreadable),
        ("field_type_narrowed", OLD, {"number": ""}, NEW, Unreadable),
        ("field_type_widened", OLD, {"total": 7, "note": "x"}, NEW, {"total": 7.0, "note": "x"}),
        ("field_type_widened", NEW, {"customer": ""}, OLD, Unreadable),
        ("field_type_widened", NEW, {"total": 0.5}, OLD, Unreadable),
        ("field_limit_tightened", OLD, {"number": "A12", "total": 950}, NEW, Unreadable),
        ("field_limit_loosened", NEW, {"number": "A12", "total": 950}, OLD, Unreadable),
        ("field_pattern_changed", OLD, {"number": "a"}, NEW, Unreadable),
        ("field_pattern_removed", NEW, {"number": "a"}, OLD, Unreadable),
        ("enum_value_added", NEW, {"state": "packed"}, OLD, Unreadable),
        ("enum_value_removed", OLD, {"state": "sent"}, NEW, Unreadable),
        ("check_added", OLD, {"note": "x" * 200}, NEW, {"note": "x" * 200}),
    ],
)
def test_old_and_new_code_read_each_other_as_the_rules_say(
    load: Load, case: str, writer: str, fields: dict[str, Any], reader: str, expected: Any
) -> None:
    writing, reading = load(case, writer), load(case, reader)
    document = writing.write(writing.record(**fields))
    if expected is Unreadable:
        with pytest.raises(CorruptDocumentError):
            reading.read(document)
    else:
        record = reading.read(document)
        assert {name: getattr(record, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("case", "side", "fields", "member"),
    [("field_added", NEW, {"tries": 3}, b'"tries":3'), ("field_removed", OLD, {"note": "x"}, b'"note":"x"')],
)
def test_what_the_other_code_does_not_know_survives_its_writes(
    load: Load, case: str, side: str, fields: dict[str, Any], member: bytes
) -> None:
    writing, other = load(case, side), load(case, NEW if side == OLD else OLD)
    record = other.read(writing.write(writing.record(**fields)))
    record.number = "B2"
    again = other.write(record, record._keyweave)
    assert member in again and b'"number":"B2"' in again


def test_a_row_that_breaks_a_new_check_cannot_be_written(load: Load) -> None:
    old, new = load("check_added", OLD), load("check_added", NEW)
    record = new.read(old.write(old.record(note="x" * 200)))
    with pytest.raises(CheckViolationError):
        new.write(record)


def test_a_decimal_beyond_a_new_limit_is_read_and_cannot_be_written_back(load: Load) -> None:
    for case, writer, reader, price in (
        ("field_decimal_narrowed", OLD, NEW, "123456"),
        ("field_decimal_widened", NEW, OLD, "150"),
    ):
        writing, reading = load(case, writer), load(case, reader)
        given = {"price": Decimal(price)}
        record = reading.read(writing.write(writing.record(**given)))
        assert record.price == Decimal(price)
        with pytest.raises(ValidationError) as caught:
            reading.write(record)
        assert caught.value.field == "price"


@pytest.mark.parametrize(
    ("case", "index"),
    [
        ("view_entries_changed", "by_state"),
        ("view_entries_changed", "by_part_of"),
        ("view_fields_changed", "by_state"),
        ("view_order_changed", "by_state"),
        ("unique_entries_changed", "number"),
        ("unique_fields_changed", "number"),
        ("unique_normalize_changed", "number"),
        ("view_condition_changed", "by_state"),
        ("unique_condition_changed", "number"),
    ],
)
def test_an_index_that_has_to_be_built_anew_has_other_entries(load: Load, case: str, index: str) -> None:
    old, new = load(case, OLD), load(case, NEW)
    default = "1" if case == "unique_entries_changed" else "A1"
    document = old.write(old.record(number=default))
    assert old.entries(document).get(index) != new.entries(document).get(index)


@pytest.mark.parametrize("index", ["by_part_of", "part"])
def test_the_number_of_a_row_is_written_like_its_id_as_soon_as_it_is_a_reference(
    load: Load, index: str
) -> None:
    old, new = (load("view_of_a_new_int_reference", side) for side in (OLD, NEW))
    document = old.write(old.record(id=5, part_of=42))
    assert old.entries(document).get(index) != new.entries(document).get(index)
    assert old.entries(document)["all"] == new.entries(document)["all"]


@pytest.mark.parametrize(
    ("case", "changed"),
    [
        ("entity_key_becomes_composite", True),
        ("entity_key_parts_changed", True),
        ("documentation_changed", False),
    ],
)
def test_a_row_has_another_id_under_another_key(load: Load, case: str, changed: bool) -> None:
    old, new = (load(case, side) for side in (OLD, NEW))
    record = old.read(old.write(old.record()))
    assert (old.entity.key_of(record) != new.entity.key_of(record)) is changed


@pytest.mark.parametrize("name", NAMES)
def test_a_definition_is_what_the_namespace_remembers(corpus: Corpus, name: str) -> None:
    indexes: dict[str, str] = {}
    for entity in load_sources(sources(name)).entities:
        indexes |= {f"{entity.name}.{view.stored}": definition(view) for view in entity.views}
        indexes |= {f"{entity.name}.{unique.stored}": definition(unique) for unique in entity.uniques}
    package = corpus.load(name).PACKAGE
    assert {stored: index.of.definition for stored, index in package.indexes.items()} == indexes


HARMLESS = sorted(
    path.name
    for path in CASES.iterdir()
    if {finding.level for finding in review(path.name).findings} == {Level.INFO}
    and path.name != "ignore_unused"
)


@pytest.mark.parametrize("case", HARMLESS)
def test_after_a_change_of_level_info_old_and_new_code_agree(load: Load, case: str) -> None:
    sides = [load(case, OLD), load(case, NEW)]
    for code in sides:
        document = code.write(code.record(number="A1", note="x", state="paid", total=7, part_of="2"))
        one, other = (each.read(document) for each in sides)
        shared = set(type(one).__struct_fields__) & set(type(other).__struct_fields__)
        assert {name: getattr(one, name) for name in shared} == {
            name: getattr(other, name) for name in shared
        }
        assert sides[0].entries(document) == sides[1].entries(document)


def test_there_are_changes_of_level_info_to_look_at() -> None:
    assert len(HARMLESS) >= 15
