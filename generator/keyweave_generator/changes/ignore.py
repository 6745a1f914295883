"""Ignores: findings that the package file accepts, each with a reason.

An ignore names a rule, and may name an entity and a part of it. Findings of level error are accepted only one by one:
each needs an ignore that names everything that the finding names.
"""

from __future__ import annotations

from collections.abc import Iterable

from keyweave_generator.load import Located
from keyweave_generator.model import Ignore
from keyweave_generator.problems import suggestion

from .catalogue import (
    IGNORE_UNUSED,
    IGNORE_UNUSED_CATEGORY,
    IGNORE_UNUSED_EFFECT,
    IGNORE_UNUSED_LEVEL,
    RULES,
)
from .finding import ChangeFinding, Ignored, Level, Review, Side


def apply_ignores(findings: Iterable[ChangeFinding], new: Located, *, against: str, prefix: str) -> Review:
    """Separate the findings that are ignored, and add a finding for each ignore that matches none."""
    ignores = new.schema.ignores
    kept: list[ChangeFinding] = []
    ignored: list[Ignored] = []
    used: set[int] = set()
    for finding in findings:
        matching = [index for index, each in enumerate(ignores) if accepts(each, finding)]
        used.update(matching)
        if matching:
            ignored.append(Ignored(finding, ignores[matching[0]].reason))
        else:
            kept.append(finding)
    for index, ignore in enumerate(ignores):
        if index not in used:
            kept.append(_unused(index, ignore, kept, new))
    return Review(tuple(sorted(kept, key=lambda finding: finding.order)), tuple(ignored), against, prefix)


def accepts(ignore: Ignore, finding: ChangeFinding) -> bool:
    """Return whether `ignore` accepts `finding`."""
    if not _matches(ignore, finding):
        return False
    named = (ignore.entity or "", ignore.field or "") == (finding.subject, finding.part)
    return named or finding.level is not Level.ERROR


def _matches(ignore: Ignore, finding: ChangeFinding) -> bool:
    return (
        ignore.rule == finding.rule
        and ignore.entity in (None, finding.subject)
        and ignore.field in (None, finding.part)
    )


def _unused(index: int, ignore: Ignore, kept: Iterable[ChangeFinding], new: Located) -> ChangeFinding:
    known = [rule.id for rule in RULES]
    refused = next((finding for finding in kept if _matches(ignore, finding)), None)
    if ignore.rule not in known:
        message = f"ignore: there is no rule {ignore.rule}{suggestion(ignore.rule, known)}"
    elif refused is not None:
        missing = [
            f"{key}: {value}"
            for key, value in (("entity", refused.subject), ("field", refused.part))
            if value and value not in (ignore.entity, ignore.field)
        ]
        message = (
            f"ignore: each finding of level error needs an entry of its own: add {' and '.join(missing)}"
        )
    else:
        message = f"ignore: no finding of {ignore.rule} matches this entry"
    return ChangeFinding(
        rule=IGNORE_UNUSED,
        category=IGNORE_UNUSED_CATEGORY,
        level=IGNORE_UNUSED_LEVEL,
        position=new.source_map.position(None, ("ignore", index)),
        side=Side.NEW,
        subject="",
        part="",
        message=message,
        effect=IGNORE_UNUSED_EFFECT,
    )
