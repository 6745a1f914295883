"""Rules about retention. A row gets its deadline from the write that makes the condition true, and keeps it while the condition holds."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.model import Retention

from .finding import Category, Change, Effect, Level, Side
from .pairs import EntityPair, RetentionPair
from .rule import rule
from .wording import duration_text

_EVERY_WRITE = "the row is written"
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
        yield pair.change(Side.NEW, ("retention",), "", f"rows end {retention_text(new)}")


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
        message = f"rows no longer end; they ended {retention_text(pair.old.retention)}"
        yield pair.change(Side.OLD, ("retention",), "", message)


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
    if pair.new.after is not None and pair.old.after is not None and pair.new.after < pair.old.after:
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
    if pair.new.after is not None and pair.old.after is not None and pair.new.after > pair.old.after:
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
    if pair.old.after is None or pair.new.after is None:
        return
    before, after = pair.old.when, pair.new.when
    old = pair.entity.owner.now_in(before.source) if before is not None else _EVERY_WRITE
    new = " ".join(after.source.split()) if after is not None else _EVERY_WRITE
    moved = pair.entity.moved_set(new)
    message = ""
    if old != new:
        message = f"rows ended after: {old}; they now end after: {new}"
    elif moved:
        message = f"rows end after a condition on {moved}, which has other members"
    elif before is not None and after is not None and pair.entity.owner.means_another(before, after):
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


@rule(
    "RETENTION_KIND_CHANGED",
    RetentionPair,
    Category.SEMANTIC,
    Level.WARNING,
    "Rows get their deadline in another way: from a field (`at`) or from a time (`after`), once or with every write (`sliding`).",
    Effect(
        code="Rows end at other moments.",
        data="A row keeps its deadline, or has none, until it is written.",
        deploy="The deadline of a row depends on which code wrote it last.",
        action="Make sure that the rows may be deleted then. Rewrite them to give each its new deadline.",
        commands=REWRITE,
    ),
)
def retention_kind_changed(pair: RetentionPair) -> Iterator[Change]:
    """Yield the two kinds; a renamed field is the same."""
    at = pair.entity.now((pair.old.at,)) if pair.old.at is not None else ()
    if at != ((pair.new.at,) if pair.new.at is not None else ()):
        old, new = retention_text(pair.old), retention_text(pair.new)
        key = "at" if pair.new.at is not None else "after"
        yield pair.entity.change(Side.NEW, ("retention", key), "", f"rows ended {old} and now end {new}")
    elif bool(pair.old.sliding) != bool(pair.new.sliding):
        how = "now renews" if pair.new.sliding else "no longer renews"
        yield pair.entity.change(Side.NEW, ("retention", "sliding"), "", f"every write {how} the deadline")


def retention_text(retention: Retention) -> str:
    """When rows end, in words."""
    if retention.at is not None or retention.after is None:
        return f"at the moment in {retention.at}"
    when = retention.when.source if retention.when is not None else _EVERY_WRITE
    return f"{duration_text(retention.after)} after: {when}"


def _after(pair: RetentionPair) -> Change:
    assert pair.old.after is not None
    assert pair.new.after is not None
    old, new = duration_text(pair.old.after), duration_text(pair.new.after)
    return pair.entity.change(
        Side.NEW, ("retention", "after"), "", f"rows ended after {old} and now end after {new}"
    )
