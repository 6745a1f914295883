"""Each case directory is one mistake: a small schema, and exactly what is printed about it.

`KEYWEAVE_UPDATE_GOLDENS=1` rewrites every `stderr.txt`; read the difference before you commit it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyweave_generator.load import load_sources
from keyweave_generator.problems import SchemaError

CASES = Path(__file__).resolve().parent.parent / "cases" / "rejected"
UPDATE = os.environ.get("KEYWEAVE_UPDATE_GOLDENS") == "1"


def report(folder: Path) -> str:
    sources = {path.name: path.read_bytes() for path in folder.glob("*.yaml")}
    with pytest.raises(SchemaError) as caught:
        load_sources(sources)
    return f"{caught.value}\n"


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_mistake_is_reported_exactly(name: str) -> None:
    golden = CASES / name / "stderr.txt"
    found = report(CASES / name)
    if UPDATE:
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


def test_there_is_a_case_for_each_rule() -> None:
    assert len(list(CASES.iterdir())) >= 100


def test_every_problem_has_a_place_and_a_sentence() -> None:
    for golden in CASES.glob("*/stderr.txt"):
        for line in golden.read_text(encoding="utf-8").splitlines():
            place, _, message = line.partition(": ")
            assert place.split(":")[0].split(".")[-1] in {"yaml", "schema"}, line
            assert message, line
            assert not message.endswith("."), line
