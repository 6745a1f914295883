"""Each case directory is one change: the schema before, the schema after, and the exact report.

`KEYWEAVE_UPDATE_GOLDENS=1` rewrites every `expected.txt`; read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from keyweave_generator.changes.catalogue import (
    IGNORE_UNUSED,
    IGNORE_UNUSED_CATEGORY,
    IGNORE_UNUSED_EFFECT,
    IGNORE_UNUSED_LEVEL,
    IGNORE_UNUSED_PURPOSE,
    RULES,
    SECTIONS,
    rules_of,
)
from keyweave_generator.changes.compare import compare
from keyweave_generator.changes.finding import Category, Effect, Level, Review
from keyweave_generator.changes.report_text import text_report
from keyweave_generator.load import Located, locate_sources
from tests.generator.accepted.corpus import NAMES, sources
from tests.generator.example import ROOT, real_sources

CASES = Path(__file__).resolve().parents[2] / "cases" / "changes"
UPDATE = os.environ.get("KEYWEAVE_UPDATE_GOLDENS") == "1"
PAGE = ROOT / "docs" / "schema-changes.md"
START, END = (
    "<!-- rules: written by tests/generator/changes/test_rules.py -->",
    "<!-- end of rules -->",
)
IDS = [*(rule.id for rule in RULES), IGNORE_UNUSED]


def located(folder: Path) -> Located:
    """The schema in a folder of a case, its files called as `keyweave diff` calls them from the case's directory."""
    return locate_sources({f"{folder.name}/{path.name}": path.read_bytes() for path in folder.glob("*.yaml")})


def review(name: str) -> Review:
    return compare(located(CASES / name / "old"), located(CASES / name / "new"), against="old")


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_the_report_of_a_change_is_exact(name: str) -> None:
    golden = CASES / name / "expected.txt"
    found = text_report(review(name))
    if UPDATE:
        golden.write_text(found, encoding="utf-8")
    assert found == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", IDS)
def test_every_rule_has_a_case_that_it_finds(rule: str) -> None:
    assert rule in {finding.rule for finding in review(rule.lower()).findings}


def test_ids_are_unique_and_texts_are_sentences() -> None:
    assert len(set(IDS)) == len(IDS)
    for rule in RULES:
        assert re.fullmatch(r"[A-Z]+(_[A-Z]+)+", rule.id)
        effect = rule.effect
        for text in (rule.purpose, effect.code, effect.data, effect.deploy, effect.action):
            assert (text.endswith(".") and text[0].isupper()) or text[0] == "`", (rule.id, text)
        if rule.level is not Level.INFO:
            assert effect.action != "Nothing.", rule.id


@pytest.mark.parametrize("name", [*NAMES, "the engine's"])
def test_a_schema_does_not_differ_from_itself(name: str) -> None:
    files = real_sources() if name not in NAMES else sources(name)
    without = {file: text.partition("\nignore:\n")[0] for file, text in files.items()}
    assert compare(locate_sources(without), locate_sources(without), against="itself").findings == ()


def row(id_: str, purpose: str, category: Category, level: Level, effect: Effect) -> str:
    commands = " and ".join(f"`{command}`" for command in effect.commands)
    action = f"{effect.action} Run {commands}." if commands else effect.action
    return f"| {purpose} | `{id_}` | {category.value} | {level.value} | {action} |"


def table() -> str:
    """The part of the page that lists the rules."""
    lines: list[str] = []
    for title, module in SECTIONS.items():
        lines += [f"### {title}", "", "| change | rule | category | level | what to do |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        lines += [
            row(each.id, each.purpose, each.category, each.level, each.effect) for each in rules_of(module)
        ]
        lines.append("")
    lines += ["### Ignores", "", "| change | rule | category | level | what to do |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    unused = (IGNORE_UNUSED_PURPOSE, IGNORE_UNUSED_CATEGORY, IGNORE_UNUSED_LEVEL, IGNORE_UNUSED_EFFECT)
    lines.append(row(IGNORE_UNUSED, *unused))
    return "\n".join(lines)


def test_the_page_lists_every_rule() -> None:
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(START)
    _, _, after = rest.partition(END)
    expected = f"{before}{START}\n\n{table()}\n\n{END}{after}"
    if UPDATE:
        PAGE.write_text(expected, encoding="utf-8")
        text = expected
    assert text == expected
    assert all(text.count(f"`{rule}`") >= 1 for rule in IDS)
