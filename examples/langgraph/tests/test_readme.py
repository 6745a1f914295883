"""The code that the README shows runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from agent_state.package import PACKAGE

ROOT = Path(__file__).resolve().parent.parent


def test_the_code_runs(keyweave_url: str, keyweave_namespace: str) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    where = f'"{keyweave_url}", namespace="{keyweave_namespace}"'
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(blocks[0].replace('"embedded:"', where), "README.md", "exec"), names)
    assert names["memory"].supports_ttl


def test_the_keys_that_it_names_are_of_entities_that_there_are() -> None:
    named = re.findall(r"^\| `(\w+)[:.]", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    assert {"Thread", "Checkpoint", "ChannelValue", "TaskWrites"} <= set(named) <= PACKAGE.entities.keys()
