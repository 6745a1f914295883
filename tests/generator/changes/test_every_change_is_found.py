"""Random changes of a schema: a difference yields a finding, and no difference yields none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from keyweave_generator.changes.compare import compare
from keyweave_generator.load import Located, locate_sources
from keyweave_generator.manifest import manifest
from keyweave_generator.problems import SchemaError
from tests.generator.accepted.corpus import NAMES, sources
from tests.generator.example import real_sources

DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
TEXTS = {"doc", "why"}
WORDS = [
    "string", "id", "int", "float", "decimal", "bool", "datetime", "date", "time", "duration", "uuid", "bytes", "json", "created", "created asc", "revision", "updated",
    "cascade", "restrict", "lower", "trim", "sum", "min", "max", "first", "uuid7", "ksuid", "uuid4", "1h", "90d", "v9", "another", "Another",
    "AnotherError", "^x",
]  # fmt: skip
ADDED: dict[str, Any] = {
    "optional": True,
    "secret": True,
    "trim": True,
    "default": 0,
    "min": 0,
    "max": 9,
    "digits": 9,
    "places": 2,
    "auto": "uuid7",
    "where": "id != 'x'",
    "each": "tags",
    "plural": "plenty",
    "sliding": True,
    "min_length": 1,
    "max_length": 99,
    "pattern": "^.",
    "managed": "created",
    "renamed_from": "before",
    "generation": 2,
    "doc": "Another.",
    "normalize": "lower",
    "reserved": ["another_name"],
    "another_field": {"type": "int", "optional": True},
    "another_view": {"fields": [], "order": "created", "why": "All of them."},
    "recommended": ["1d", "200d"],
}


@dataclass(frozen=True)
class Base:
    """A schema of the corpus, as values and as what they mean."""

    values: dict[str, Any]
    texts: dict[str, str]
    located: Located
    paths: list[tuple[str, tuple[Any, ...]]]


@cache
def base(name: str) -> Base:
    files = sources(name) if name in NAMES else real_sources()
    values = {file: yaml.safe_load(text) for file, text in files.items()}
    for value in values.values():
        value.pop("ignore", None)
    paths = [(file, path) for file, value in values.items() for path in inside(value)]
    texts = {file: dumped(value) for file, value in values.items()}
    return Base(values, texts, locate_sources(texts), paths)


def dumped(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=DUMPER, sort_keys=False, allow_unicode=True)
    return text


def inside(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of a value and of everything in it."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    return [path, *(found for key, child in children for found in inside(child, (*path, key)))]


def without_texts(value: Any, key: Any = None) -> Any:
    """A schema's values without documentation."""
    if isinstance(value, dict):
        return {name: without_texts(each, name) for name, each in value.items() if name not in TEXTS}
    return [without_texts(each) for each in value] if isinstance(value, list) else value


def replaced(data: st.DataObject, value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + data.draw(st.sampled_from([-1, 1, 10]))
    if isinstance(value, str):
        return data.draw(st.sampled_from(WORDS))
    if isinstance(value, list):
        return data.draw(st.sampled_from([value[1:], value[::-1], value[:-1]]))
    key = data.draw(st.sampled_from(sorted(ADDED)))
    return value | {key: ADDED[key]}


def renamed(data: st.DataObject, owner: Any, last: Any) -> Any:
    """The same entries in the same order, one under another name."""
    name = data.draw(st.sampled_from(["another", "Another"]))
    return {name if key == last else key: value for key, value in owner.items()}


def replace_all(owner: dict[Any, Any], entries: dict[Any, Any]) -> None:
    owner.clear()
    owner.update(entries)


def mutated(data: st.DataObject, values: dict[str, Any], file: str, path: tuple[Any, ...]) -> None:
    """Change one thing in `values`."""
    owner: Any = values
    for key in (file, *path)[:-1]:
        owner = owner[key]
    last = (file, *path)[-1]
    actions: list[Callable[[], Any]] = [lambda: owner.__setitem__(last, replaced(data, owner[last]))]
    if path:
        actions.append(lambda: owner.__delitem__(last))
    if isinstance(owner[last], dict):
        actions.append(lambda: owner.__setitem__(last, dict(reversed(owner[last].items()))))
    if path and isinstance(owner, dict):
        swapped = renamed(data, owner, last)
        actions.append(lambda: replace_all(owner, swapped))
    data.draw(st.sampled_from(actions))()


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_change_yields_a_finding_unless_nothing_changed(data: st.DataObject) -> None:
    origin = base(data.draw(st.sampled_from([*NAMES, "real"])))
    values = copy.deepcopy(origin.values)
    file, path = data.draw(st.sampled_from(origin.paths))
    mutated(data, values, file, path)
    try:
        changed = locate_sources(origin.texts | {file: dumped(values[file])})
    except SchemaError:
        assume(False)
        raise
    for old, new in ((origin.located, changed), (changed, origin.located)):
        found = {finding.rule for finding in compare(old, new, against="before").findings}
        if manifest(old.schema, ()) == manifest(new.schema, ()):  # which knows no order of an enum's sets
            assert found <= {"DECLARATION_ORDER_CHANGED"}
        else:
            assert found
        only_texts = without_texts(values) == without_texts(origin.values)
        if only_texts:  # which are equal in any order
            assert found <= {"DOCUMENTATION_CHANGED", "DECLARATION_ORDER_CHANGED"}
        else:
            assert found != {"DOCUMENTATION_CHANGED"}
