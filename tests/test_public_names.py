"""What each package shows to its users. A change here is a change of the interface."""

from __future__ import annotations

import subprocess
import sys

import pytest

import compozy_store
import keyweave
from compozy_store import aio, sync


def test_the_runtimes_names() -> None:
    assert sorted(keyweave.__all__) == ["KeyweaveError", "Page", "Record", "Report", "Value", "__version__"]


def test_every_name_of_the_runtime_is_there_and_the_check_is_loaded_only_for_its_report() -> None:
    code = """
import sys
import keyweave
assert not [name for name in sys.modules if name.startswith("keyweave.integrity")]
from keyweave import *
assert all(name in globals() for name in keyweave.__all__)
assert "keyweave.integrity.drift" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = keyweave.Nothing


def test_the_generated_packages_names() -> None:
    assert sorted(compozy_store.__all__) == [
        "APIKey",
        "APIKeyExistsError",
        "APIKeyNotFoundError",
        "Component",
        "EmailExistsError",
        "ExecutionType",
        "PACKAGE",
        "Role",
        "Status",
        "TaskNotFoundError",
        "TaskState",
        "UsageEntry",
        "User",
        "UserNotFoundError",
        "WorkflowNotFoundError",
        "WorkflowState",
    ]


def test_both_flavours_have_the_same_names_and_methods() -> None:
    assert sorted(sync.__all__) == sorted(aio.__all__)
    for name in sync.__all__:
        blocking = {item for item in dir(getattr(sync, name)) if not item.startswith("_")}
        waiting = {item for item in dir(getattr(aio, name)) if not item.startswith("_")}
        assert waiting - blocking <= {"connect"}
        assert blocking <= waiting


def test_secret_fields_never_show() -> None:
    key = compozy_store.APIKey(
        id="k", user_id="u", hash=b"planted-hash", fingerprint=b"planted-print", prefix="p"
    )
    shown = f"{key!r} {key} {key.__rich_repr__()}"
    assert "planted" not in shown
    assert "hash=<secret>" in shown
