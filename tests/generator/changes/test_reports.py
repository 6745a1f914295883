"""The formats of a review: texts that have a meaning to GitHub keep their own, and no comment is too long."""

from __future__ import annotations

import dataclasses

import pytest

from keyweave_generator.changes.finding import Category, ChangeFinding, Effect, Ignored, Level, Review, Side
from keyweave_generator.changes.report_github import github_report
from keyweave_generator.changes.report_markdown import COMMENT_MARK, markdown_report
from keyweave_generator.changes.report_text import text_report
from keyweave_generator.model import Position
from tests.generator.changes.test_rules import CASES, review

FINDING = ChangeFinding(
    rule="CHECK_CHANGED",
    category=Category.SEMANTIC,
    level=Level.WARNING,
    position=Position("schema/a,b:c%.yaml", 3, 5),
    side=Side.NEW,
    subject="Sale",
    part="odd",
    message="Sale: check odd is new: note != '<b>|*_`' and 100 % 7",
    effect=Effect(),
)


def reviewed(*findings: ChangeFinding, ignored: tuple[Ignored, ...] = ()) -> Review:
    return Review(findings, ignored, against="main", prefix="main:")


def test_an_annotation_is_one_line_whatever_it_says() -> None:
    finding = dataclasses.replace(FINDING, message=f"{FINDING.message}\nand ::error::more")
    annotation, summary = github_report(reviewed(finding)).splitlines()
    assert summary == "against main: 1 warning"
    assert annotation.startswith(
        "::warning file=schema/a%2Cb%3Ac%25.yaml,line=3,col=5,title=CHECK_CHANGED (SEMANTIC)::"
        "Sale: check odd is new: note != '<b>|*_`' and 100 %25 7%0Aand ::error::more%0ARunning code: "
    )


@pytest.mark.parametrize(
    ("level", "word"), [(Level.ERROR, "error"), (Level.WARNING, "warning"), (Level.INFO, "notice")]
)
def test_levels_are_those_of_github(level: Level, word: str) -> None:
    assert github_report(reviewed(dataclasses.replace(FINDING, level=level))).startswith(f"::{word} ")


def test_a_line_of_the_old_schema_is_named_and_not_annotated() -> None:
    finding = dataclasses.replace(FINDING, side=Side.OLD, position=Position("schema/sale.yaml", 3, 5))
    annotation = github_report(reviewed(finding)).splitlines()[0]
    assert annotation.startswith("::warning file=schema/sale.yaml,title=")
    assert "(main:schema/sale.yaml:3:5)%0A" in annotation
    assert text_report(reviewed(finding)).startswith("main:schema/sale.yaml:3:5: warning CHECK_CHANGED")


def test_markdown_shows_a_message_as_it_is() -> None:
    text = markdown_report(reviewed(FINDING))
    assert text.startswith(f"{COMMENT_MARK}\n### Schema review\n\nAgainst main: 1 warning.\n")
    assert "note != &#x27;&lt;b&gt;|*_`&#x27; and 100 % 7</summary>" in text


def test_markdown_shows_what_is_ignored_with_its_reason() -> None:
    text = markdown_report(reviewed(ignored=(Ignored(FINDING, "It is *fine* <now> @ada"),)))
    assert "<summary>1 ignored</summary>" in text
    assert r"It is \*fine\* \<now\> \@ada" in text


def test_a_comment_is_never_longer_than_github_takes() -> None:
    many = tuple(dataclasses.replace(FINDING, position=Position("a.yaml", line, 1)) for line in range(1000))
    text = markdown_report(reviewed(*many, ignored=tuple(Ignored(each, "fine") for each in many)))
    assert 50_000 < len(text) <= 65_536
    shown = text.count("<details>")
    assert f"{1000 - shown} more; run `keyweave diff` to see them all." in text
    assert text.count("<details") == text.count("</details>")
    few = markdown_report(reviewed(FINDING, ignored=tuple(Ignored(each, "fine") for each in many)))
    assert len(few) <= 65_536
    assert "<summary>1000 ignored</summary>" in few


@pytest.mark.parametrize("name", sorted(path.name for path in CASES.iterdir()))
def test_every_finding_is_in_every_format(name: str) -> None:
    found = review(name)
    text, markdown, github = text_report(found), markdown_report(found), github_report(found)
    for finding in found.findings:
        assert f"{finding.rule} ({finding.category.value}): {finding.message}\n" in text
        assert f"<code>{finding.rule}</code>" in markdown
        assert f"title={finding.rule} " in github
    assert github.count("\n") == len(found.findings) + 1
