"""The review as Markdown for a comment on a pull request. Its first line is a mark by which the action finds the comment again."""

from __future__ import annotations

import html
import re
from typing import Final

from .finding import ChangeFinding, Level, Review
from .report_text import action_text, summary

COMMENT_MARK: Final = "<!-- keyweave diff -->"
"""The first line of every such comment."""

LONGEST: Final = 60_000
"""Most characters; GitHub refuses comments of more than 65,536."""


def markdown_report(review: Review) -> str:
    """The whole review, cut at a whole finding where it would be too long."""
    lines = [
        COMMENT_MARK,
        "### Schema review",
        "",
        f"{summary(review)[:1].upper()}{_escaped(summary(review)[1:])}.",
        "",
    ]
    used = sum(len(line) + 1 for line in lines) + 200
    for index, finding in enumerate(review.findings):
        block = _block(review, finding)
        used += len(block) + 1
        if used > LONGEST:
            lines.append(f"{len(review.findings) - index} more; run `keyweave diff` to see them all.")
            break
        lines.append(block)
    if review.ignored and used <= LONGEST:
        lines.append(_ignored(review, LONGEST - used))
    return "\n".join(lines).rstrip("\n") + "\n"


def _block(review: Review, finding: ChangeFinding) -> str:
    effect = finding.effect
    parts = [
        ("Running code", effect.code),
        ("Stored data", effect.data),
        ("Rolling deploy", effect.deploy),
        ("What to do", action_text(finding)),
    ]
    if finding.cost is not None:
        parts.append(("Cost", str(finding.cost)))
    rows = "\n".join(f"- **{title}:** {_escaped(text)}" for title, text in parts)
    title = (
        f"<b>{finding.level.value}</b> <code>{finding.rule}</code> {html.escape(_one_line(finding.message))}"
    )
    where = f"`{review.where(finding)}`, {finding.category.value}"
    opened = " open" if finding.level is Level.ERROR else ""
    return f"<details{opened}><summary>{title}</summary>\n\n{where}\n\n{rows}\n\n</details>\n"


def _ignored(review: Review, room: int) -> str:
    rows = []
    for each in review.ignored:
        row = f"- `{each.finding.rule}` {_escaped(each.finding.message)}: {_escaped(each.reason)}"
        room -= len(row) + 1
        if room < 0:
            break
        rows.append(row)
    body = "\n".join(rows)
    return f"<details><summary>{len(review.ignored)} ignored</summary>\n\n{body}\n\n</details>\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _escaped(text: str) -> str:
    """Text with everything escaped that Markdown interprets, except `code`."""
    parts = re.split(r"(`[^`]*`)", _one_line(text))
    return "".join(
        part if index % 2 else re.sub(r"([\\*_\[\]<>#|~@])", r"\\\1", part)
        for index, part in enumerate(parts)
    )
