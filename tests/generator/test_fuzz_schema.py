"""For any text of the files, loading returns a schema or problems with positions, and raises no other exception."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keyweave_generator.load import load_sources
from keyweave_generator.model import Schema
from keyweave_generator.problems import SchemaError
from tests.generator.example import PACKAGE, SALE, load_example, real_sources

REAL = real_sources()
VALUES: dict[str, Any] = {name: yaml.safe_load(text) for name, text in REAL.items()}
NAMES = sorted(REAL)

WORDS = st.sampled_from(
    [
        "", "id", "string", "list", "map", "json", "datetime", "Status", "UsageEntry", "User", "status", "usage",
        "created", "revision", "by_parent", "workflow_exec_id", "class", "__init__", "a b", "null", "é", "\n",
        "status in Status.terminal", "14d", "0s", "(", "a" * 300, "Error", "lower",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    WORDS,
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=12),
    st.dates(),
    st.binary(max_size=4),
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS | st.integers(), inner, max_size=4),
    max_leaves=12,
)


def outcome(sources: dict[str, Any]) -> Schema | None:
    """Load; check what every outcome has to be."""
    try:
        return load_sources(sources)
    except SchemaError as error:
        problems = error.problems
    assert problems
    for problem in problems:
        assert problem.message
        assert "\n" not in str(problem)
        assert problem.position.file in {*sources, "schema"}
    return None


def dumped(value: object) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True)


@settings(max_examples=300)
@given(text=st.text(max_size=60) | st.binary(max_size=60))
@example(text="a: &a [*a]")
@example(text="? ? ? a")
@example(text="? *a : b")
@example(text="&a : &b")
@example(text="!!python/object/apply:os.system [x]: 1")
@example(text='"\\ud800": 1')
@example(text="%YAML 9.9\n---\na: 1")
@example(text="%TAG ! x\n---\n!a b: 1")
@example(text="a: !<x")
@example(text="- " * 5000)
@example(text="[" * 20000)
@example(text="{a: " * 5000)
@example(text="? " * 5000)
@example(text="a: |\n" + " " * 5000)
@example(text=b"\xff\xfe\x00")
@example(text=b"\x00")
@example(text="\ufeffentity: Sale")
@example(text="\x85\u2028\u2029")
@example(text="a: " + "1" * 5000)
@example(text="a: 0x" + "f" * 5000)
@example(text="entity: 1e999")
def test_any_text_is_a_schema_or_problems(text: str | bytes) -> None:
    for name in ("package.yaml", "sale.yaml"):
        outcome({"package.yaml": PACKAGE, "sale.yaml": SALE, name: text})


@settings(max_examples=200)
@given(package=TREES, entity=TREES)
def test_any_structure_is_a_schema_or_problems(package: object, entity: object) -> None:
    outcome({"package.yaml": dumped(package), "sale.yaml": dumped(entity)})


def paths(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside `value`."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [found for key, child in children for found in [(*path, key), *paths(child, (*path, key))]]


PATHS = {name: paths(value) for name, value in VALUES.items()}


@st.composite
def mutations(draw: st.DrawFn) -> dict[str, str]:
    """The real schema with one to three nodes deleted, replaced, copied elsewhere, or renamed."""
    changed: dict[str, Any] = {}
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(NAMES))
        value = changed.setdefault(name, copy.deepcopy(VALUES[name]))
        *above, last = draw(st.sampled_from(PATHS[name]))
        owner = value
        try:
            for key in above:
                owner = owner[key]
            old = owner[last]
        except (KeyError, IndexError, TypeError):
            continue
        action = draw(st.sampled_from(["delete", "replace", "copy", "rename", "move"]))
        if action == "delete":
            del owner[last]
        elif action == "replace":
            owner[last] = draw(TREES)
        elif action == "copy" and isinstance(owner, dict):
            owner[draw(WORDS)] = old
        elif action == "rename" and isinstance(owner, dict):
            owner[draw(WORDS)] = owner.pop(last)
        else:
            owner[last] = copy.deepcopy(_inside(value, draw(st.sampled_from(PATHS[name])), old))
    return {**REAL, **{name: dumped(value) for name, value in changed.items()}}


def _inside(value: Any, path: tuple[Any, ...], otherwise: object) -> object:
    try:
        for key in path:
            value = value[key]
    except (KeyError, IndexError, TypeError):
        return otherwise
    return value


@settings(max_examples=400)
@given(sources=mutations())
def test_a_mutated_real_schema_is_a_schema_or_problems(sources: dict[str, str]) -> None:
    outcome(sources)


@settings(max_examples=300)
@given(data=st.data())
def test_a_real_file_with_broken_lines_is_a_schema_or_problems(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(NAMES))
    lines = REAL[name].splitlines()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        action = data.draw(st.sampled_from(["delete", "double", "indent", "dedent", "cut", "tab", "insert"]))
        line = lines[at]
        if action == "delete":
            lines[at] = ""
        elif action == "double":
            lines.insert(at, line)
        elif action == "indent":
            lines[at] = "  " + line
        elif action == "dedent":
            lines[at] = line[1:]
        elif action == "cut":
            lines[at] = line[: data.draw(st.integers(0, len(line)))]
        elif action == "tab":
            lines[at] = "\t" + line
        else:
            place = data.draw(st.integers(0, len(line)))
            lines[at] = line[:place] + data.draw(st.sampled_from(":{}[]&*!|>'\"%@`#,?-~\\é")) + line[place:]
    outcome({**REAL, name: "\n".join(lines)})


@settings(max_examples=20)
@given(order=st.permutations(NAMES))
def test_no_order_of_files_changes_the_schema(order: list[str]) -> None:
    assert load_sources({name: REAL[name] for name in order}) == load_sources(REAL)


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_needed_to_fail_cleanly(name: str) -> None:
    outcome({other: text for other, text in REAL.items() if other != name})


def test_the_example_is_a_schema() -> None:
    assert load_example().package == "shop_store"
