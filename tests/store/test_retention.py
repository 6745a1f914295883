"""The retention of rows: the program's setting before the environment's before the schema's; an invalid one stops the start."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest

from compozy_store.package import PACKAGE
from keyweave.errors import ConfigurationError
from keyweave.opening.prepare import prepare
from keyweave.store.retention import LONGEST, read_duration, resolve, variable_of, write_duration
from keyweave_generator.resolve_field import parse_duration
from keyweave_generator.resolve_rule import _LONGEST_RETENTION

DAY = 86_400_000_000
TASK = "KEYWEAVE_RETENTION_TASK_STATE"
OWN = "KEYWEAVE_RETENTION_COMPOZY_STORE__TASK_STATE"


def resolved(
    variables: dict[str, str] | None = None, given: dict[str, int] | None = None
) -> dict[str, tuple[int, str]]:
    lives = resolve(PACKAGE, given or {}, variables or {})
    return {name: (life.micros, life.source) for name, life in lives.items()}


@pytest.mark.parametrize(
    ("entity", "word"), [("TaskState", "TASK_STATE"), ("APIKey", "API_KEY"), ("HTTPTask2", "HTTP_TASK2")]
)
def test_a_variable_is_the_entitys_name_in_capitals(entity: str, word: str) -> None:
    assert variable_of(entity) == f"KEYWEAVE_RETENTION_{word}"
    assert variable_of(entity, "compozy_store") == f"KEYWEAVE_RETENTION_COMPOZY_STORE__{word}"


def test_the_schema_applies_when_nothing_else_is_set() -> None:
    assert resolved() == {"TaskState": (14 * DAY, "schema"), "WorkflowState": (60 * DAY, "schema")}


def test_a_variable_replaces_the_schema_for_its_entity_only() -> None:
    assert resolved({TASK: "36h"}) == {
        "TaskState": (DAY * 3 // 2, TASK),
        "WorkflowState": (60 * DAY, "schema"),
    }


def test_a_variable_for_this_package_alone_wins() -> None:
    assert resolved({OWN: "8d", TASK: "9d"})["TaskState"] == (8 * DAY, OWN)


def test_the_program_wins() -> None:
    assert resolved({OWN: "8d", TASK: "9d"}, {"TaskState": DAY})["TaskState"] == (DAY, "retention")


def test_variables_of_other_packages_and_empty_ones_are_ignored() -> None:
    others = {"KEYWEAVE_RETENTION_DEPOT_STORE__TICKET": "1d", TASK: "", "KEYWEAVE_URL": "x", "PATH": "1d"}
    assert resolved(others) == resolved()


@pytest.mark.parametrize("text", ["14", "d", "-1d", "1.5d", "14 d", "14days", "forever", "1w", "٣d"])
def test_a_variable_that_is_no_duration_stops_the_start(text: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{TASK}: must be a duration such as 14d"):
        resolved({TASK: text})


@pytest.mark.parametrize(
    ("text", "rule"), [("0d", "longer than zero"), ("36501d", "at most 36500d"), ("999999999d", "at most")]
)
def test_a_variable_that_is_too_short_or_too_long_stops_the_start(text: str, rule: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{TASK}: TaskState must be .*{rule}"):
        resolved({TASK: text})


@pytest.mark.parametrize("name", ["USER", "TASKSTATE", "TICKET", "COMPOZY_STORE__TASK", ""])
def test_a_variable_that_names_no_entity_with_retention_stops_the_start(name: str) -> None:
    variable = f"KEYWEAVE_RETENTION_{name}"
    with pytest.raises(ConfigurationError, match=f"{variable}: compozy_store has no such entity"):
        resolved({variable: "14d"})


def test_the_error_of_a_misspelt_variable_suggests_the_right_one() -> None:
    with pytest.raises(ConfigurationError, match=f"did you mean {TASK}?"):
        resolved({"KEYWEAVE_RETENTION_TASKSTATE": "14d"})


@pytest.mark.parametrize("micros", [0, -1, LONGEST + 1])
def test_an_invalid_argument_stops_the_start(micros: int) -> None:
    with pytest.raises(ConfigurationError, match="retention: TaskState must be"):
        resolved(given={"TaskState": micros})


def test_opening_reads_the_environment_before_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TASK, "20d")
    _, context = prepare(PACKAGE, "redis://nowhere")
    assert context.retention["TaskState"].micros == 20 * DAY
    monkeypatch.setenv(TASK, "soon")
    with pytest.raises(ConfigurationError, match=TASK):
        prepare(PACKAGE, "redis://nowhere")


@pytest.mark.parametrize(("text", "said"), [("6d", "6d"), ("31d", "31d"), ("6000m", "100h"), ("1s", "1s")])
def test_a_value_outside_the_recommended_range_is_logged_and_used(
    text: str, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(TASK, text)
    with caplog.at_level(logging.WARNING, "keyweave"):
        _, context = prepare(PACKAGE, "redis://nowhere")
    sentence = f"retention of TaskState is {said} (from {TASK}); the recommended range is 7d to 30d"
    assert [record.getMessage() for record in caplog.records] == [sentence]
    assert context.retention["TaskState"].advice == sentence
    assert context.retention["TaskState"].micros == read_duration(text)


@pytest.mark.parametrize("days", [7, 14, 30])
def test_a_value_inside_the_recommended_range_is_not_logged(
    days: int, caplog: pytest.LogCaptureFixture
) -> None:
    _, context = prepare(PACKAGE, "redis://nowhere", retention={"TaskState": timedelta(days=days)})
    assert caplog.records == []
    assert context.retention["TaskState"].advice is None


@pytest.mark.parametrize("text", ["14d", "36h", "90m", "10s", "500ms", "0d", "999999999ms"])
def test_durations_mean_the_same_in_schema_and_environment(text: str) -> None:
    assert read_duration(text) == parse_duration(text) // timedelta(microseconds=1)
    assert _LONGEST_RETENTION // timedelta(microseconds=1) == LONGEST


@pytest.mark.parametrize("micros", [1, 999, 1000, 60_000_000, 5_400_000_000, 14 * DAY, LONGEST])
def test_a_written_duration_is_exact(micros: int) -> None:
    text = write_duration(micros)
    assert micros == (read_duration(text) if not text.endswith("µs") else int(text[:-2]))
