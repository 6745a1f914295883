"""The positions and the order of problems, and how the loader reads files and folders."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from keyweave_generator import source
from keyweave_generator.load import load, load_sources
from keyweave_generator.problems import Problems, SchemaError
from keyweave_generator.source_document import Document
from tests.generator.example import PACKAGE, REAL, SALE, load_example, only_entity, real_sources, sources


def problems_of(texts: dict[str, str | bytes]) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        load_sources(texts)
    return [str(problem) for problem in caught.value.problems]


def read(text: str) -> Document:
    problems = Problems()
    document = source.read("a.yaml", text, problems)
    assert document is not None
    assert not problems
    return document


def test_every_value_and_key_has_its_line_and_column() -> None:
    document = read("a: 1\nlist:\n  - x\n  - {deep: [y, z]}\n")
    assert document.values[("a",)] == (1, 4)
    assert document.keys[("a",)] == (1, 1)
    assert document.values[("list", 0)] == (3, 5)
    assert document.values[("list", 1, "deep", 1)] == (4, 16)
    assert document.keys[("list", 1, "deep")] == (4, 6)


def test_columns_count_characters_not_bytes() -> None:
    document = read("größe: {ü: 1, b: 2}\n")
    assert document.keys[("größe", "b")] == (1, 15)


def test_a_place_without_a_value_is_that_of_its_owner() -> None:
    document = read("a:\n  b: 1\n")
    place = document.position(("a", "missing", 3))
    assert (place.line, place.column) == (2, 3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("2024-01-01", "2024-01-01"),
        ("12:30", "12:30"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("=", "="),
        ("1e3", 1000.0),
        ("-7", -7),
        ("0", 0),
        ("+1.5", 1.5),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("'on'", "on"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    document = read(f"a: {text}\n")
    assert document.value == {"a": value}
    assert isinstance(document.value, dict)
    assert type(document.value["a"]) is type(value)


def test_both_parsers_give_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*real_sources().values(), PACKAGE, SALE, "a: >-\n  x\n  y\nb: |\n  z\nc: 'ü'\n"]
    fast = [read(text) for text in texts]
    monkeypatch.setattr(source, "_PARSER", yaml.SafeLoader)
    assert [(each.value, each.values, each.keys) for each in map(read, texts)] == [
        (each.value, each.values, each.keys) for each in fast
    ]


def test_problems_of_all_files_come_in_order_of_file_line_and_column() -> None:
    found = problems_of(
        {
            "b.yaml": SALE.replace("key: id", "kee: id").replace("{type: State}", "{type: Stat, min: x}"),
            "package.yaml": PACKAGE.replace("version: v1", "version: 1"),
            "a.yaml": "entity: sale\n",
        }
    )
    places = [tuple(problem.split(":")[:3]) for problem in found]
    assert [name for name, _, _ in places] == ["a.yaml"] * 4 + ["b.yaml"] * 4 + ["package.yaml"]
    assert places == sorted(places, key=lambda place: (place[0], int(place[1]), int(place[2])))


def test_a_mistake_is_not_reported_again_where_it_is_used() -> None:
    more = "views:\n  by_state: {fields: [state], order: created, why: Why.}\nchecks:\n  one: {rule: state == 'open'}\n"
    found = problems_of({**sources(more, sale=SALE.replace("{type: State}", "{type: Stat}"))})
    assert found == ["sale.yaml:7:17: Sale.state: no type 'Stat'; did you mean 'State'?"]


def test_a_broken_enum_is_not_reported_as_unknown() -> None:
    found = problems_of({**sources(package=PACKAGE.replace("values: [open, paid, sent]", "values: []"))})
    assert found == ["package.yaml:7:13: 'values' must not be empty"]


def test_missing_fields_are_one_problem() -> None:
    more = "views:\n  by_state: {fields: [state], order: created, why: Why.}\n"
    found = problems_of({**sources(more, sale=SALE.replace("fields:", "feelds:"))})
    assert found == [
        "sale.yaml:1:1: the key 'fields' is missing",
        "sale.yaml:4:1: unknown key 'feelds'; did you mean 'fields'?",
    ]


def test_an_unreadable_file_does_not_make_its_entity_unknown() -> None:
    more = (
        "  parent: {type: id, optional: true}\n"
        "views:\n  by_parent: {fields: [parent], order: created, why: Why.}\n"
        "references:\n  parent: {entity: Parcel, on_delete: cascade}\n"
    )
    found = problems_of({**sources(more), "parcel.yaml": "entity: [Parcel\n"})
    assert [problem.split(":")[0] for problem in found] == ["parcel.yaml"]


def test_the_order_of_files_does_not_matter() -> None:
    texts = real_sources()
    backwards = dict(reversed(texts.items()))
    assert load_sources(texts) == load_sources(backwards)
    assert [entity.name for entity in load_sources(backwards).entities] == [
        "APIKey",
        "TaskState",
        "User",
        "WorkflowState",
    ]


def test_file_names_are_shown_as_the_folder_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "db"
    folder.mkdir()
    (folder / "package.yaml").write_text(PACKAGE, encoding="utf-8")
    (folder / "sale.yaml").write_text(SALE.replace("key: id", "key: idd"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SchemaError) as caught:
        load(Path("db"))
    assert str(caught.value) == "db/sale.yaml:3:6: Sale: key: no field 'idd'; did you mean 'id'?"


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.write_text("x")])
def test_a_folder_that_cannot_be_read_is_a_problem(tmp_path: Path, make: object) -> None:
    path = tmp_path / "schema"
    assert callable(make)
    make(path)
    with pytest.raises(SchemaError, match="cannot read the schema folder"):
        load(path)


def test_an_empty_folder_lacks_its_package_file(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"there is no package\.yaml"):
        load(tmp_path)


def test_the_real_schema_is_resolved_completely() -> None:
    schema = load(REAL)
    task = next(entity for entity in schema.entities if entity.name == "TaskState")
    assert task.partition_by == "workflow_exec_id"
    assert [reference.via for reference in task.references] == ["by_workflow", "by_parent"]
    assert task.hierarchy is not None
    assert task.retention is not None
    assert task.retention.when is not None
    assert task.retention.when.fields == ("status",)
    assert task.not_found_error == "TaskNotFoundError"


def test_what_is_left_out_is_filled_in() -> None:
    more = (
        "  parent: {type: id, optional: true}\n"
        "unique:\n  customer: {fields: [customer]}\n"
        "views:\n"
        "  wide: {fields: [parent, state], order: created, why: Why.}\n"
        "  by_parent: {fields: [parent], order: revision, why: Why.}\n"
        "references:\n  parent: {entity: Sale, on_delete: cascade}\n"
        "hierarchy: {parent: parent}\n"
        "merge:\n  lines: {key: [sku]}\n"
    )
    sale = only_entity(load_example(more))
    assert sale.partition_by == "id"
    assert sale.not_found_error == "SaleNotFoundError"
    assert sale.exists_error is None
    assert sale.uniques[0].error == "SaleCustomerExistsError"
    assert sale.references[0].via == "by_parent"
    assert sale.hierarchy is not None
    assert sale.hierarchy.via == "by_parent"
    assert {name: rule.value for name, rule in sale.merges[0].rules.items()} == {"count": "first"}


def test_nested_records_stand_behind_those_they_use() -> None:
    package = (
        PACKAGE + "  Alpha:\n    fields:\n      line: {type: Line}\n      omega: {type: map, of: Omega}\n"
    )
    package += "  Omega:\n    fields:\n      lines: {type: list, of: {type: list, of: Line}}\n"
    names = [record.name for record in load_example(package=package).records]
    assert names.index("Line") < names.index("Omega") < names.index("Alpha")


def test_a_long_chain_of_records_is_no_recursion() -> None:
    chain = "".join(f"  R{n}:\n    fields:\n      next: {{type: R{n + 1}}}\n" for n in range(3000))
    package = f"{PACKAGE}{chain}  R3000:\n    fields:\n      x: {{type: int}}\n"
    assert len(load_example(package=package).records) == 3002
