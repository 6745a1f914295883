"""The fingerprint of a schema changes with code and data, and not with texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from keyweave_generator.changes.compare import compare
from keyweave_generator.load import Located, load_sources, locate_sources
from keyweave_generator.manifest import fingerprint, manifest
from tests.generator.accepted.corpus import NAMES, sources

CASES: Final = Path(__file__).resolve().parent.parent / "cases" / "changes"
TEXTS: Final = {"doc", "why"}
NOT_COUNTED: Final = {"DOCUMENTATION_CHANGED", "IGNORE_UNUSED"}
"""Rules about changes that neither code nor data depend on."""


def reworded(value: Any) -> Any:
    """A schema's values with other texts in the places of its texts."""
    if isinstance(value, list):
        return [reworded(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        name: f"Reworded: {each}" if name in TEXTS and isinstance(each, str) else reworded(each)
        for name, each in value.items()
    }


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"smallest"}))  # which has no text
def test_rewording_a_text_leaves_the_fingerprint(name: str) -> None:
    before = sources(name)
    after = {
        file: yaml.safe_dump(reworded(yaml.safe_load(text)), sort_keys=False) for file, text in before.items()
    }
    old, new = load_sources(before), load_sources(after)
    assert manifest(old, ()) != manifest(new, ()), "texts did change"
    assert fingerprint(old) == fingerprint(new)


def located(folder: Path) -> Located:
    return locate_sources({path.name: path.read_bytes() for path in folder.glob("*.yaml")})


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_every_other_change_alters_the_fingerprint(name: str) -> None:
    old, new = located(CASES / name / "old"), located(CASES / name / "new")
    review = compare(old, new, against="old")
    rules = {finding.rule for finding in review.findings} | {each.finding.rule for each in review.ignored}
    assert (fingerprint(old.schema) != fingerprint(new.schema)) == bool(rules - NOT_COUNTED)
