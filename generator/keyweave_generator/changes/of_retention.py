"""Rules about retention. A row gets its deadline from the write that makes the condition true, and keeps it while it is."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Category, Change, Effect, Level, Side
from .pairs import EntityPair, RetentionPair
from .rule import rule
from .wording import duration_text

REWRITE = ("keyweave migrate-documents",)


@rule(
    "RETENTION_ADDED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows of an entity can expire.",
    Effect(
        code="Rows for which the condition is true expire.",
        data="A stored row gets a deadline at its next write.",
        deploy="A write by old code removes the deadline.",
        action="Make sure that the rows may expire. Rewrite them to give all of them a deadline.",
        commands=REWRITE,
    ),
)
def retention_added(pair: EntityPair) -> Iterator[Change]:
    """Yield the new retention."""
    if pair.old.retention is None and pair.new.retention is not None:
        new = pair.new.retention
        message = f"rows expire {duration_text(new.after)} after: {new.when.source}"
        yield pair.change(Side.NEW, ("retention",), "", message)


@rule(
    "RETENTION_REMOVED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows of an entity no longer expire.",
    Effect(
        code="Rows stay, and use memory, until they are deleted.",
        data="A row that has a deadline still expires, unless it is written before.",
        deploy="A write by old code sets a deadline.",
        action="Rewrite the rows that have a deadline and must stay.",
        commands=REWRITE,
    ),
)
def retention_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield the lost retention."""
    if pair.old.retention is not None and pair.new.retention is None:
        message = f"rows no longer expire; they expired {duration_text(pair.old.retention.after)} after: "
        yield pair.change(Side.OLD, ("retention",), "", message + pair.old.retention.when.source)


@rule(
    "RETENTION_SHORTENED",
    RetentionPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows expire sooner.",
    Effect(
        code="Rows expire sooner and cannot be restored. A store that is opened with `retention` is not affected.",
        data="A row that has a deadline keeps it. New deadlines use the shorter time.",
        deploy="The deadline of a row depends on which code set it.",
        action="Make sure that the rows are not needed for longer.",
    ),
)
def retention_shortened(pair: RetentionPair) -> Iterator[Change]:
    """Yield the two times."""
    if pair.new.after < pair.old.after:
        yield _after(pair)


@rule(
    "RETENTION_LENGTHENED",
    RetentionPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows expire later.",
    Effect(
        code="Rows use memory for longer. A store that is opened with `retention` is not affected.",
        data="A row that has a deadline keeps it. New deadlines use the longer time.",
        deploy="The deadline of a row depends on which code set it.",
        action="Make sure that the server has enough memory.",
    ),
)
def retention_lengthened(pair: RetentionPair) -> Iterator[Change]:
    """Yield the two times."""
    if pair.new.after > pair.old.after:
        yield _after(pair)


@rule(
    "RETENTION_CONDITION_CHANGED",
    RetentionPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Other rows expire.",
    Effect(
        code="Rows that stayed expire, or the reverse.",
        data="A row keeps its deadline, or has none, until it is written.",
        deploy="Whether a row has a deadline depends on which code wrote it last.",
        action="Make sure that the rows may expire. Rewrite them to apply the new condition to all.",
        commands=REWRITE,
    ),
)
def retention_condition_changed(pair: RetentionPair) -> Iterator[Change]:
    """Yield another condition, or the same over a set that has other members."""
    old, new = pair.entity.owner.now_in(pair.old.when.source), " ".join(pair.new.when.source.split())
    moved = pair.entity.moved_set(new)
    message = ""
    if old != new:
        message = f"rows expired after: {old}; they expire after: {new}"
    elif moved:
        message = f"rows expire after a condition on {moved}, which has other members"
    if message:
        yield pair.entity.change(Side.NEW, ("retention", "when"), "", message)


@rule(
    "RETENTION_RECOMMENDED_CHANGED",
    RetentionPair,
    Category.SAFE,
    Level.INFO,
    "The recommended range of a retention changes.",
)
def retention_recommended_changed(pair: RetentionPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.old.recommended != pair.new.recommended:
        yield pair.entity.change(
            Side.NEW, ("retention", "recommended"), "", "another range of times is recommended"
        )


def _after(pair: RetentionPair) -> Change:
    old, new = duration_text(pair.old.after), duration_text(pair.new.after)
    return pair.entity.change(
        Side.NEW, ("retention", "after"), "", f"rows expired after {old} and expire after {new}"
    )
