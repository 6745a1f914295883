"""Rules about unique constraints, and the values that their rows claim."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.costs import unique_cost

from .finding import Category, Change, Effect, Level, Side
from .of_generation import BACKFILL, DROP
from .of_view import condition_message, reread
from .pairs import EntityPair, UniquePair, added
from .rule import rule
from .wording import names_text


@rule(
    "UNIQUE_ADDED_TO_EXISTING_ENTITY",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "An entity that may have rows gets a unique constraint.",
    Effect(
        code="Gets a lookup, which raises ViewNotBuiltError until the constraint is built, and an error.",
        data="Stored rows claim nothing until it is built. Rows that collide are reported, and nothing is changed.",
        deploy="Old code writes rows without claims, so duplicates can still appear.",
        action="Deploy everywhere, then build the constraint. If rows collide, change them and build again.",
        commands=BACKFILL,
    ),
)
def unique_added(pair: EntityPair) -> Iterator[Change]:
    """Yield each constraint that is new, with what it costs."""
    for unique in added(pair.old.uniques, pair.new.uniques):
        how = f", {' and '.join(unique.normalize)}" if unique.normalize else ""
        message = f"unique {unique.name} is new: {names_text(unique.fields)}{how}"
        yield pair.change(
            Side.NEW, ("unique", unique.name), unique.name, message, cost=unique_cost(pair.new, unique)
        )


@rule(
    "UNIQUE_REMOVED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "A unique constraint is removed or renamed.",
    Effect(
        code="Its lookup is gone, and its error if no other constraint has it.",
        data="Duplicates are accepted. Its claims stay on the server and take memory until they are dropped.",
        deploy="Old code refuses what new code accepts, and does not see the rows that new code writes.",
        action="Stop using it one release earlier. Deploy everywhere, then drop it.",
        commands=DROP,
    ),
)
def unique_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield each constraint that is gone."""
    for unique in added(pair.new.uniques, pair.old.uniques):
        yield pair.change(Side.OLD, ("unique", unique.name), unique.name, f"unique {unique.name} is removed")


@rule(
    "UNIQUE_FIELDS_CHANGED",
    UniquePair,
    Category.INDEX,
    Level.WARNING,
    "A unique constraint covers other fields, or the same in another order.",
    Effect(
        code="Its lookup takes other arguments, and raises ViewNotBuiltError until the constraint is built.",
        data="Under a new generation, stored rows claim nothing until it is built. Rows that collide are reported.",
        deploy="Under a new generation, old code continues with the old keys. Neither sees the claims of the other, "
        "so duplicates can appear.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def unique_fields_changed(pair: UniquePair) -> Iterator[Change]:
    """Yield the two lists of fields; renamed fields are the same."""
    old, new = pair.entity.now(pair.old.fields), pair.new.fields
    if old != new:
        message = (
            f"unique {pair.new.name} was over {names_text(pair.old.fields)} and is over {names_text(new)}"
        )
        yield _change(pair, "fields", message)


@rule(
    "UNIQUE_NORMALIZE_CHANGED",
    UniquePair,
    Category.INDEX,
    Level.WARNING,
    "A unique constraint compares values in another way.",
    Effect(
        code="Its lookup finds other spellings.",
        data="Under a new generation, stored rows claim nothing until it is built. Rows that collide are reported.",
        deploy="Under a new generation, old code continues with the old keys. Neither sees the claims of the other, "
        "so duplicates can appear.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def unique_normalize_changed(pair: UniquePair) -> Iterator[Change]:
    """Yield the two normalizations."""
    if sorted(pair.old.normalize) != sorted(pair.new.normalize):
        old, new = (" and ".join(each) or "as written" for each in (pair.old.normalize, pair.new.normalize))
        yield _change(pair, "normalize", f"unique {pair.new.name} compared {old} and compares {new}")


@rule(
    "UNIQUE_CONDITION_CHANGED",
    UniquePair,
    Category.INDEX,
    Level.WARNING,
    "A unique constraint gets, loses or changes its condition, `where`.",
    Effect(
        code="Its lookup finds other rows, and raises ViewNotBuiltError until the constraint is built.",
        data="Under a new generation, stored rows claim nothing until it is built. Rows that collide are reported.",
        deploy="Under a new generation, old code continues with the old keys. Neither sees the claims of the other, "
        "so duplicates can appear.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def unique_condition_changed(pair: UniquePair) -> Iterator[Change]:
    """Yield the two conditions."""
    message = condition_message(pair.entity, pair.old.where, pair.new.where)
    if message:
        yield _change(pair, "where", f"unique {pair.new.name} {message}")


@rule(
    "UNIQUE_ENTRIES_CHANGED",
    UniquePair,
    Category.INDEX,
    Level.WARNING,
    "A field of a unique constraint reads differently from stored rows, so the rows claim other values.",
    Effect(
        data="Rows that were stored before hold their old claims, or none.",
        deploy="Old and new code claim different values for one row.",
        action="Raise `generation`. Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def unique_entries_changed(pair: UniquePair) -> Iterator[Change]:
    """Yield the constraint once for each of its fields that reads differently, unless it gets a later generation."""
    if pair.new.generation > pair.old.generation:
        return
    where = pair.new.where.fields if pair.new.where is not None else ()
    for field, reason in reread(pair.entity, dict.fromkeys((*pair.new.fields, *where))):
        yield _change(pair, "fields", f"unique {pair.new.name}: {field} {reason}")


def _change(pair: UniquePair, key: str, message: str) -> Change:
    entity = pair.entity
    path = ("unique", pair.new.name, key)
    return entity.change(Side.NEW, path, pair.new.name, message, cost=unique_cost(entity.new, pair.new))
