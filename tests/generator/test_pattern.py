"""`$` of a pattern is the end of the text, wherever patterns are compiled."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyweave_generator.load import load_sources
from keyweave_generator.pattern import strict_end
from keyweave_generator.problems import SchemaError
from tests.generator.accepted.corpus import written
from tests.generator.example import PACKAGE, SALE

STRICT = {
    "^[a-z]+$": r"^[a-z]+$(?!\n)",
    "^a$|^b$": r"^a$(?!\n)|^b$(?!\n)",
    r"^\$[$]$": r"^\$[$]$(?!\n)",
    r"[]$]$": r"[]$]$(?!\n)",
    r"[^]$]$": r"[^]$]$(?!\n)",
    r"[\]$]": r"[\]$]",
    "(?m)^a$": "(?m)^a$",
    "(?m:a$)b$": r"(?m:a$)b$(?!\n)",
    "(?im-s:a$)": "(?im-s:a$)",
    "(?m:a(?-m:b$)c$)": r"(?m:a(?-m:b$(?!\n))c$)",
    "(?#$)a$": r"(?#$)a$(?!\n)",
    "(?x)a # $\n$": "(?x)a # $\n$(?!\\n)",
    "(?P<n>a$)(?=b$)(?!c$)(?<!d)": r"(?P<n>a$(?!\n))(?=b$(?!\n))(?!c$(?!\n))(?<!d)",
    r"\\$": r"\\$(?!\n)",
    "plain": "plain",
}


@pytest.mark.parametrize("pattern", STRICT)
def test_only_a_dollar_that_is_an_end_becomes_strict(pattern: str) -> None:
    assert strict_end(pattern) == STRICT[pattern]
    re.compile(strict_end(pattern))


@given(st.text(alphabet="ab$^()[]\\|?:m*+.-#\n ", max_size=12), st.text(alphabet="ab\n$ ", max_size=4))
def test_a_text_without_a_line_break_matches_as_before(pattern: str, text: str) -> None:
    try:
        plain = re.compile(pattern)
    except (re.error, FutureWarning):
        return
    strict = re.compile(strict_end(pattern))
    if not text.endswith("\n"):
        assert bool(plain.search(text)) == bool(strict.search(text))
    assert not strict.search(text) or plain.search(text)


@pytest.mark.parametrize("type_", ["string", "id"])
def test_a_record_and_its_json_schema_accept_no_line_break_at_the_end(type_: str, tmp_path: Path) -> None:
    field = f"customer: {{type: {type_}, pattern: '^[a-z]+$'}}"
    sale = SALE.replace("customer: {type: string}", field)
    assert sale != SALE
    package = written(
        load_sources({"package.yaml": PACKAGE.replace("shop_", f"{type_}_pattern_"), "sale.yaml": sale}),
        tmp_path,
    )
    record = package.Sale
    given = {"id": "1", "state": "open", "placed": "2024-11-03T00:00:00Z", "customer": "ada"}
    assert msgspec.convert(given, record).customer == "ada"
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({**given, "customer": "ada\n"}, record)
    schema = msgspec.json.schema(record)["$defs"]["Sale"]["properties"]["customer"]
    assert re.search(schema["pattern"], "ada")
    assert not re.search(schema["pattern"], "ada\n")
    node = shutil.which("node")
    if node is not None:
        script = f"const p = new RegExp({json.dumps(schema['pattern'])}, 'u'); console.log(p.test('ada'), p.test('ada\\n'))"
        assert (
            subprocess.run([node, "-e", script], capture_output=True, text=True, check=True).stdout
            == "true false\n"
        )


def test_a_default_is_compared_in_the_same_way() -> None:
    sale = SALE.replace(
        "customer: {type: string}", 'customer: {type: string, pattern: "^a$", default: "a\\n"}'
    )
    with pytest.raises(SchemaError, match="does not match the field's own pattern"):
        load_sources({"package.yaml": PACKAGE, "sale.yaml": sale})
