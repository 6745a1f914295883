"""Rules about merges. A merge applies when it is called; lists that it stored before stay as they are."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Category, Change, Effect, Level, Side
from .pairs import EntityPair, MergePair
from .rule import rule
from .wording import names_text


@rule(
    "MERGE_ADDED",
    EntityPair,
    Category.SAFE,
    Level.INFO,
    "A list of records can be merged.",
    Effect(code="Gets a merge method."),
)
def merge_added(pair: EntityPair) -> Iterator[Change]:
    """Yield each merge that is new."""
    before = {*pair.now(each.field for each in pair.old.merges)}
    for each in pair.new.merges:
        if each.field not in before:
            yield pair.change(Side.NEW, ("merge", each.field), each.field, f"{each.field} can now be merged")


@rule(
    "MERGE_REMOVED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "A list of records can no longer be merged.",
    Effect(code="Its merge method is gone.", action="Change the code that calls it."),
)
def merge_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield each merge that is gone."""
    after = {each.field for each in pair.new.merges}
    for each in pair.old.merges:
        if pair.now((each.field,))[0] not in after:
            yield pair.change(
                Side.OLD, ("merge", each.field), each.field, f"{each.field} can no longer be merged"
            )


@rule(
    "MERGE_CHANGED",
    MergePair,
    Category.SEMANTIC,
    Level.WARNING,
    "A merge has another key, another normalization, or another rule for a field.",
    Effect(
        code="The same call gives another result.",
        data="Lists that were merged before stay as they are; elements that are equal under the new key stay "
        "separate until the next merge.",
        deploy="Old and new code merge the same row differently.",
        action="If sums matter, stop old code before new code merges.",
    ),
)
def merge_changed(pair: MergePair) -> Iterator[Change]:
    """Yield each part of the merge that differs. Rules of new fields do not affect stored values."""
    old, new = pair.old, pair.new
    if old.key != new.key:
        yield _change(pair, "key", f"the key was {names_text(old.key)} and is {names_text(new.key)}")
    if dict(old.normalize) != dict(new.normalize):
        yield _change(pair, "normalize", "key fields are normalized differently")
    for name, how in new.rules.items():
        before = old.rules.get(name, how)
        if before is not how:
            yield _change(pair, "rules", f"{name} was merged by {before.value} and is by {how.value}")


def _change(pair: MergePair, key: str, message: str) -> Change:
    field = pair.new.field
    return pair.entity.change(Side.NEW, ("merge", field, key), field, f"merge {field}: {message}")
