"""Compare two schemas: each rule examines every pair of its kind, then ignores are applied."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.load import Located

from .catalogue import RULES
from .finding import Change, ChangeFinding, Review, Side
from .ignore import apply_ignores
from .pairs import pairs_of
from .rule import Rule


def compare(old: Located | None, new: Located, *, against: str = "", prefix: str = "") -> Review:
    """What changed from `old` to `new`.

    Args:
        old: None when there was no schema: everything is new, and no stored data can be affected.
        new: the schema under review; its ignores apply.
        against: the name of `old` in reports.
        prefix: what reports put before the file names of `old`.
    """
    found = sorted(_findings(old, new), key=lambda finding: finding.order) if old is not None else []
    return apply_ignores(found, new, against=against, prefix=prefix)


def _findings(old: Located, new: Located) -> Iterator[ChangeFinding]:
    for pair in pairs_of(old.schema, new.schema):
        for rule in RULES:
            if type(pair) is rule.compares:
                for change in rule.find(pair):
                    yield _finding(rule, change, old, new)


def _finding(rule: Rule[object], change: Change, old: Located, new: Located) -> ChangeFinding:
    spot = change.spot
    located = old if spot.side is Side.OLD else new
    return ChangeFinding(
        rule=rule.id,
        category=rule.category,
        level=rule.level,
        position=located.source_map.position(spot.entity, spot.path),
        side=spot.side,
        subject=change.subject,
        part=change.part,
        message=change.message,
        effect=rule.effect,
        cost=change.cost,
    )
