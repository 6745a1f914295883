"""Each generated module imports what it uses and nothing else, and the runtime has what they import."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from keyweave_generator.load import load_sources
from keyweave_generator.model import Schema
from keyweave_generator.modules.imports import Imports
from keyweave_generator.modules.runtime import MODULE_OF, TYPES
from keyweave_generator.names import CLASS_NAMES, RUNTIME_ERRORS
from keyweave_generator.render import render_modules
from tests.generator.accepted.corpus import NAMES, sources
from tests.generator.example import load_example, real_sources

PARTS = {
    "nothing": "",
    "a_view": "views:\n  all: {fields: [], order: created, why: All.}\n",
    "a_view_by_a_text": "views:\n  by_note: {fields: [note], order: created, why: Some.}\n",
    "a_view_by_a_number": "views:\n  by_total: {fields: [total], order: revision, why: Some.}\n",
    "a_view_by_an_enum": "views:\n  by_state: {fields: [state], order: created, why: Some.}\n",
    "a_view_by_a_bool": "views:\n  by_gift: {fields: [customer, gift], order: created, why: Some.}\n",
    "a_view_in_order_of_a_moment": "views:\n  by_time: {fields: [], order: placed, why: Some.}\n",
    "a_unique_text": "unique:\n  customer: {fields: [customer]}\n",
    "a_unique_number": "unique:\n  total: {fields: [total]}\n",
    "two_unique_values": "unique:\n  both: {fields: [customer, placed]}\n",
    "a_check": "checks:\n  positive: {rule: total > 0}\n",
    "a_retention": "retention: {when: state in State.done, after: 14d}\n",
    "a_merge": "merge:\n  lines: {key: [sku], rules: {count: sum}}\n",
    "a_merge_of_lower_keys": "merge:\n  lines: {key: [sku], normalize: {sku: [lower, trim]}, rules: {count: max}}\n",
}
"""What can be added to the smallest entity, each of which needs imports of its own."""

BARE = """\
entity: Sale
group: sales
key: id
fields:
  id: {type: string}
  customer: {type: string, optional: true}
"""


def schemas() -> dict[str, Schema]:
    """Schemas that differ in what their modules need."""
    return {
        **{name: load_sources(sources(name)) for name in NAMES},
        "the_engine": load_sources(real_sources()),
        "bare": load_example(sale=BARE),
        **{name: load_example(more) for name, more in PARTS.items()},
    }


@pytest.fixture(scope="module")
def packages() -> dict[str, dict[str, str]]:
    """The Python modules of every schema: path -> text."""
    return {name: render_modules(schema) for name, schema in schemas().items()}


def imported(source: str, *, bound: bool = False) -> Iterator[tuple[str, str]]:
    """Module and name of every absolute import, under the names that the source gives them if `bound`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((node.module or "", (bound and alias.asname) or alias.name) for alias in node.names)


def test_no_module_imports_what_it_does_not_use_or_uses_what_it_does_not_have(
    packages: dict[str, dict[str, str]], tmp_path: Path
) -> None:
    for name, files in packages.items():
        for path, text in files.items():
            (tmp_path / name / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / path).write_text(text, encoding="utf-8")
    found = subprocess.run(
        [
            sys.executable,
            "-m",
            "ruff",
            "check",
            "--isolated",
            "--no-cache",
            "--select=F",
            "--quiet",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_runtime_has_every_name_that_generated_code_imports() -> None:
    for name, module in MODULE_OF.items():
        for flavour in ("sync", "aio"):
            found = importlib.import_module(module.format(flavour=flavour))
            if not hasattr(found, name):
                importlib.import_module(f"{found.__name__}.{name.removeprefix('_')}")


def test_every_name_of_the_runtime_is_used(packages: dict[str, dict[str, str]]) -> None:
    used = {
        f"_{name}" if f"_{name}" in MODULE_OF and module in ("keyweave.read", "keyweave.write") else name
        for files in packages.values()
        for text in files.values()
        for module, name in imported(text)
        if module.startswith("keyweave")
    }
    assert used == {*MODULE_OF, *TYPES}


def test_no_class_of_a_schema_can_hide_what_a_module_imports(packages: dict[str, dict[str, str]]) -> None:
    beside = {
        name
        for files in packages.values()
        for path, text in files.items()
        if path.endswith("/models.py") or "models import" in text
        for _, name in imported(text, bound=True)
        if name[:1].isupper()
    }
    assert "Page" in beside
    assert beside <= CLASS_NAMES | RUNTIME_ERRORS


def test_imports_are_sorted_by_origin_then_by_module_then_by_name() -> None:
    imports = Imports(classes="..models", flavour="aio")
    assert imports.use("collections.abc", "Iterator") == "Iterator"
    assert imports.module("msgspec") == "msgspec"
    assert imports.use("msgspec", "Meta") == "Meta"
    assert imports.runtime("Session") == "Session"
    assert imports.schema_class("Sale") == "Sale"
    assert imports.use("..entities.sale", "SALE", alias="ENTITY") == "ENTITY"
    assert imports.use("..entities.sale", "SALE_LINES") == "SALE_LINES"
    for name in ("join", "REVISION", "Entry", "CREATED"):
        imports.use("keyweave.model.entry", name)
    imports.use("..", "filters")
    imports.use(".sale", "Sales")
    assert str(imports) == "\n".join(
        [
            "from __future__ import annotations",
            "",
            "from collections.abc import Iterator",
            "",
            "import msgspec",
            "from msgspec import Meta",
            "",
            "from keyweave.model.entry import CREATED, REVISION, Entry, join",
            f"from {MODULE_OF['Session'].format(flavour='aio')} import Session",
            "",
            "from .. import filters",
            "from ..entities.sale import SALE as ENTITY",
            "from ..entities.sale import SALE_LINES",
            "from ..models import Sale",
            "from .sale import Sales",
        ]
    )


def test_a_class_of_the_same_module_needs_no_import() -> None:
    imports = Imports()
    assert imports.schema_class("Sale") == "Sale"
    assert str(imports) == "from __future__ import annotations"
