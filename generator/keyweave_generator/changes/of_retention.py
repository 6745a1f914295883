"""Rules about retention. A row gets its deadline from the write that makes the condition true, and keeps it while the condition holds."""

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
    "An entity gets a retention.",
    Effect(
        code="Rows for which the condition holds are deleted after the given time.",
        data="A stored row gets a deadline with its next write.",
        deploy="A write by old code removes the deadline.",
        action="Make sure that the rows may be deleted. Rewrite them to give each a deadline.",
        commands=REWRITE,
    ),
)
def retention_added(pair: EntityPair) -> Iterator[Change]:
    """Yield the new retention."""
    if pair.old.retention is None and pair.new.retention is not None:
        new = pair.new.retention
        message = f"rows end {duration_text(new.after)} after: {new.when.source}"
        yield pair.change(Side.NEW, ("retention",), "", message)


@rule(
    "RETENTION_REMOVED",
    EntityPair,
    Category.SEMANTIC,
    Level.WARNING,
    "An entity loses its retention.",
    Effect(
        code="Rows stay, and take memory, until they are deleted.",
        data="A row that has a deadline still ends, unless it is written before then.",
        deploy="A write by old code sets a deadline.",
        action="Rewrite the rows that have a deadline and must stay.",
        commands=REWRITE,
    ),
)
def retention_removed(pair: EntityPair) -> Iterator[Change]:
    """Yield the lost retention."""
    if pair.old.retention is not None and pair.new.retention is None:
        message = f"rows no longer end; they ended {duration_text(pair.old.retention.after)} after: "
        yield pair.change(Side.OLD, ("retention",), "", message + pair.old.retention.when.source)


@rule(
    "RETENTION_SHORTENED",
    RetentionPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows end sooner.",
    Effect(
        code="Rows are deleted sooner. A store that is opened with `retention` is not affected.",
        data="A row that has a deadline keeps it. Rows that end from now on get the shorter time.",
        deploy="The deadline of a row depends on which code ended it.",
        action="Make sure that no code needs the rows longer.",
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
    "Rows end later.",
    Effect(
        code="Rows take memory for longer. A store that is opened with `retention` is not affected.",
        data="A row that has a deadline keeps it. Rows that end from now on get the longer time.",
        deploy="The deadline of a row depends on which code ended it.",
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
    "The condition of a retention changes.",
    Effect(
        code="Rows that used to stay end, or the reverse.",
        data="A row keeps its deadline, or has none, until it is written.",
        deploy="Whether a row has a deadline depends on which code wrote it last.",
        action="Make sure that the rows may be deleted. Rewrite them to apply the new condition to all.",
        commands=REWRITE,
    ),
)
def retention_condition_changed(pair: RetentionPair) -> Iterator[Change]:
    """Yield a condition whose text differs, that uses a set with other members, or that is evaluated in another way."""
    old, new = pair.entity.owner.now_in(pair.old.when.source), " ".join(pair.new.when.source.split())
    moved = pair.entity.moved_set(new)
    message = ""
    if old != new:
        message = f"rows ended after: {old}; they now end after: {new}"
    elif moved:
        message = f"rows end after a condition on {moved}, which has other members"
    elif pair.entity.owner.means_another(pair.old.when, pair.new.when):
        message = f"the condition reads the same and means something else: {new}"
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
        yield pair.entity.change(Side.NEW, ("retention", "recommended"), "", "the recommended range changed")


def _after(pair: RetentionPair) -> Change:
    old, new = duration_text(pair.old.after), duration_text(pair.new.after)
    return pair.entity.change(
        Side.NEW, ("retention", "after"), "", f"rows ended after {old} and now end after {new}"
    )
