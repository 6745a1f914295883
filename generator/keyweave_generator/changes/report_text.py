"""The review as text: one paragraph per finding, whose first line is `file:line:column: …` for editors."""

from __future__ import annotations

import textwrap

from .finding import ChangeFinding, Level, Review

_WIDTH = 110
_INDENT = " " * 12


def summary(review: Review) -> str:
    """One line: how many findings there are of each level, against what."""
    if not review.against:
        return "everything is new: there is no schema to compare with"
    parts = [_count(review.count(level), level.value) for level in Level if review.count(level)]
    if review.ignored:
        parts.append(f"{len(review.ignored)} ignored")
    return f"against {review.against}: {', '.join(parts) or 'no change'}"


def text_report(review: Review) -> str:
    """The whole review."""
    lines: list[str] = []
    for finding in review.findings:
        lines += [*_paragraph(review, finding), ""]
    for each in review.ignored:
        finding = each.finding
        lines.append(f"{review.where(finding)}: ignored {finding.rule}: {finding.message}")
        lines += [*_labelled("reason", each.reason), ""]
    return "\n".join([*lines, summary(review), ""])


def action_text(finding: ChangeFinding) -> str:
    """What to do, with the commands that do it."""
    commands = " and ".join(f"`{command}`" for command in finding.effect.commands)
    return f"{finding.effect.action} Run {commands}." if commands else finding.effect.action


def _paragraph(review: Review, finding: ChangeFinding) -> list[str]:
    head = f"{finding.level.value} {finding.rule} ({finding.category.value}): {finding.message}"
    effect = finding.effect
    lines = [f"{review.where(finding)}: {head}"]
    for label, text in (("code", effect.code), ("data", effect.data), ("deploy", effect.deploy)):
        lines += _labelled(label, text)
    lines += _labelled("do", action_text(finding))
    if finding.cost is not None:
        lines += _labelled("cost", str(finding.cost))
    return lines


def _labelled(label: str, text: str) -> list[str]:
    first = f"    {label + ':':<8}"
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=first,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(number: int, word: str) -> str:
    plural = "s" if number != 1 and word != Level.INFO.value else ""
    return f"{number} {word}{plural}"
