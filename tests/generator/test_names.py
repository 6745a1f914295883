"""The names that generated code makes, and those that a schema cannot use."""

from __future__ import annotations

import builtins
import inspect
import re
from importlib import resources

from keyweave import errors
from keyweave.document.compact import HEAD_WORDS
from keyweave.document.compact import stored_name as stored
from keyweave.model.record import Record
from keyweave_generator.names import (
    HEAD_NAMES,
    ROW_NAMES,
    RUNTIME_ERRORS,
    STORE_NAMES,
    field_name_problem,
    stored_name,
)


def runtime_errors() -> set[str]:
    return {
        name for name, value in inspect.getmembers(errors, inspect.isclass) if issubclass(value, Exception)
    }


def test_the_generator_knows_every_error_of_the_runtime() -> None:
    assert runtime_errors() == RUNTIME_ERRORS


def test_the_generator_knows_every_attribute_of_a_record() -> None:
    assert {name for name in dir(Record) if not name.startswith("_")} == ROW_NAMES


def test_a_field_with_the_name_of_a_member_of_the_head_has_a_name_of_its_own_in_documents() -> None:
    assert set(HEAD_NAMES) == HEAD_WORDS
    for name in (*HEAD_NAMES, "status"):
        assert field_name_problem(name) is None
        assert stored_name(name) == stored(name)


def test_templates_name_existing_errors() -> None:
    folder = resources.files("keyweave_generator") / "templates"
    texts = [path.read_text(encoding="utf-8") for path in folder.iterdir()]
    named = {name for text in texts for name in re.findall(r"\b[A-Z]\w+Error\b", text)}
    assert named
    assert {name for name in named if name not in RUNTIME_ERRORS and not hasattr(builtins, name)} == set()


def test_the_names_of_a_store_are_the_reserved_ones() -> None:
    """A repository of such a name would collide with it: `__slots__` and a method of the class."""
    from compozy_store import aio, sync

    own = {"api_keys", "task_states", "users", "workflow_states"}
    for module in (sync, aio):
        found = {name for name in dir(module.Store) if not name.startswith("_")} - own
        assert found <= STORE_NAMES
        assert {name for name in dir(module.Transaction) if not name.startswith("_")} - own <= STORE_NAMES
