"""The layout of generated code is black's, and does not need black for the code of ordinary schemas."""

from __future__ import annotations

import black
import pytest
from black.mode import TargetVersion

from keyweave_generator import layout
from keyweave_generator.layout import laid_out
from keyweave_generator.load import load_sources
from keyweave_generator.render import render
from tests.generator.example import PACKAGE

MODE = black.Mode(line_length=110, target_versions={TargetVersion.PY311}, magic_trailing_comma=False)

LONG = "a_name_of_some_length, " * 6
STATEMENTS = {
    "a call": f"value = function({LONG}last)",
    "a call of one argument": f"value = function(another({LONG}last))",
    "calls inside": f"return self._run(_page.page({LONG}last), {LONG}'x')".replace("'", '"'),
    "a list": f"names = [{LONG}last]",
    "a tuple": f"names = ({LONG}last)",
    "a tuple of one": f'names = ("{"x" * 120}",)',
    "a dict": f'names = {{"one": function({LONG}last), "two": 2}}',
    "an import": f"from .models import {LONG}last",
    "an import of one": f"from .{'m' * 60} import {'N' * 60} as OTHER",
    "a subscript": f"Order = Literal[{LONG}last]",
    "a lambda": f"value = function(lambda cursor: _page.page({LONG}last), {LONG}last)",
    "an operator": f"value = function({LONG}last) or changed",
    "a condition": f"if not ({LONG.replace(', ', ' and ')}last): pass".replace(": pass", ":\n    pass"),
    "alternatives": f"if {LONG.replace(', ', ' or ')}last:\n    pass",
    "many alternatives": f"if {'other is None or record.some_name != other.some_name or ' * 4}last:\n    pass",
    "two alternatives": f"if {'a' * 60} or {'b' * 60}:\n    pass",
    "a comprehension": f"value = {{{'a' * 60}: number for group, number in {'b' * 60}.items()}}",
    "a text": f'raise ValueError("{"x" * 120}", entity="Sale")',
    "a text in a wide script": f'value = function("{"日本" * 40}", second)',
    "a signature": f"def function(self, {LONG}*, last: int = 1) -> Page[Sale]:\n    pass",
    "a long result": f"def function(self) -> tuple[{'A' * 60}, list[{'B' * 60}]]:\n    pass",
    "a long type": f"def function(self, {'n' * 60}: {'T' * 60} | None = None, b: int = 1) -> None:\n    pass",
}


@pytest.mark.parametrize("indent", [0, 4, 8])
@pytest.mark.parametrize("kind", STATEMENTS)
def test_a_long_statement_is_split_as_by_black(kind: str, indent: int) -> None:
    above = "".join(f"{' ' * level}class A:\n" for level in range(0, indent, 4))
    body = "\n".join(f"{' ' * indent}{line}" for line in STATEMENTS[kind].split("\n"))
    source = f"{above}{body}\n"
    assert laid_out(source) == black.format_str(source, mode=MODE)


def test_an_ordinary_schema_needs_no_black(monkeypatch: pytest.MonkeyPatch) -> None:
    """Black takes a hundred times as long; a schema of 120 entities with 60 fields took minutes."""
    types = ("string", "int", "State", "datetime", "bool", "float", "bytes", "json")
    fields = "".join(f"  some_field_{n}: {{type: {types[n % 8]}, optional: true}}\n" for n in range(60))
    sale = (
        f"entity: Sale\ngroup: sales\nkey: id\nfields:\n  id: {{type: id}}\n{fields}"
        "views:\n  by_two: {fields: [some_field_0, some_field_2], order: revision, why: Two.}\n"
        "unique:\n  two: {fields: [some_field_0, some_field_1]}\n"
    )
    given: list[str] = []

    def noted(text: str, _: int) -> str:
        given.append(text)
        return text

    monkeypatch.setattr(layout, "_by_black", noted)
    render(load_sources({"package.yaml": PACKAGE, "sale.yaml": sale}))
    assert given == []
