"""The review as annotations of GitHub Actions: one line per finding, which the runner shows beside the file."""

from __future__ import annotations

from .finding import ChangeFinding, Level, Review, Side
from .report_text import action_text, summary

_WORDS = {Level.ERROR: "error", Level.WARNING: "warning", Level.INFO: "notice"}


def github_report(review: Review) -> str:
    """The whole review. Lines of the old schema are not lines of the checkout, so they are named in the text only."""
    lines = [_annotation(review, finding) for finding in review.findings]
    return "\n".join([*lines, summary(review), ""])


def _annotation(review: Review, finding: ChangeFinding) -> str:
    position = finding.position
    properties = {"file": position.file}
    text = [finding.message]
    if finding.side is Side.NEW:
        properties |= {"line": str(position.line), "col": str(position.column)}
    else:
        text = [f"{finding.message} ({review.where(finding)})"]
    properties["title"] = f"{finding.rule} ({finding.category.value})"
    effect = finding.effect
    text += [
        f"Running code: {effect.code}",
        f"Stored data: {effect.data}",
        f"Rolling deploy: {effect.deploy}",
    ]
    text.append(f"What to do: {action_text(finding)}")
    if finding.cost is not None:
        text.append(f"Cost: {finding.cost}")
    written = ",".join(f"{name}={_property(value)}" for name, value in properties.items())
    return f"::{_WORDS[finding.level]} {written}::{_data(chr(10).join(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
