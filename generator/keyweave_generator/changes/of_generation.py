"""Rules about the generation of a view or unique constraint, which gives each definition its own keys.

A namespace remembers the definition of every index: its fields by name, its order, its normalization. Code that has another
definition under the same generation does not open the namespace, so old and new entries never share keys.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.costs import unique_cost, view_cost
from keyweave_generator.model import Unique, View

from .finding import Category, Change, Effect, Level, Side
from .pairs import EntityPair, kept
from .rule import rule
from .wording import order_text

BACKFILL = ("keyweave backfill",)
DROP = ("keyweave drop-view",)


@rule(
    "INDEX_GENERATION_KEPT",
    EntityPair,
    Category.INDEX,
    Level.ERROR,
    "A view or unique constraint has another definition under the same generation. A renamed field is another definition.",
    Effect(
        code="Refuses to open a namespace that holds the index: SchemaMismatchError.",
        deploy="New code does not start beside old code.",
        action="Raise `generation` of the index in the same change, or give the index another name.",
        commands=(*BACKFILL, *DROP),
    ),
)
def index_generation_kept(pair: EntityPair) -> Iterator[Change]:
    """Yield each index whose definition differs while its keys are the same."""
    for old, new in _both(pair):
        if old.generation == new.generation and definition(old) != definition(new):
            message = f"{new.name} was ({definition(old)}) and is ({definition(new)}), both generation {new.generation}"
            yield _change(pair, new, message, costly=False)


@rule(
    "INDEX_GENERATION_RAISED",
    EntityPair,
    Category.INDEX,
    Level.WARNING,
    "A view or unique constraint has a later generation: a new index beside the old one.",
    Effect(
        code="Its methods raise ViewNotBuiltError until the new generation is built.",
        data="Stored rows are not in the new generation until it is built. The old one takes memory until it is dropped.",
        deploy="Old code keeps the old generation, new code the new one. Rows that old code writes are not in the new one.",
        action="Deploy everywhere, build the new generation, then drop the old one.",
        commands=(*BACKFILL, *DROP),
    ),
)
def index_generation_raised(pair: EntityPair) -> Iterator[Change]:
    """Yield each index that gets a later generation, with its cost."""
    for old, new in _both(pair):
        if new.generation > old.generation:
            yield _change(pair, new, f"{new.name} was generation {old.generation} and is {new.generation}")


@rule(
    "INDEX_GENERATION_LOWERED",
    EntityPair,
    Category.INDEX,
    Level.ERROR,
    "A view or unique constraint goes back to an earlier generation.",
    Effect(
        code="Reads keys that an earlier definition filled, or refuses to open the namespace: SchemaMismatchError.",
        data="The keys of the earlier generation miss every row that was written since.",
        deploy="Rows that the code of the later generation writes are not in the earlier one.",
        action="Use the next generation, even for a definition that was used before.",
        commands=BACKFILL,
    ),
)
def index_generation_lowered(pair: EntityPair) -> Iterator[Change]:
    """Yield each index that returns to an earlier generation."""
    for old, new in _both(pair):
        if new.generation < old.generation:
            yield _change(pair, new, f"{new.name} was generation {old.generation} and is {new.generation}")


@rule(
    "INDEX_KIND_CHANGED",
    EntityPair,
    Category.INDEX,
    Level.ERROR,
    "A view becomes a unique constraint of the same name and generation, or the reverse.",
    Effect(
        code="Refuses to open a namespace that holds the index: SchemaMismatchError.",
        deploy="New code does not start beside old code.",
        action="Give the new index another name, or the next `generation`.",
        commands=(*BACKFILL, *DROP),
    ),
)
def index_kind_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield each index that changed its kind and kept its keys."""
    old_views, old_uniques = {view.stored for view in pair.old.views}, {
        each.stored for each in pair.old.uniques
    }
    for unique in pair.new.uniques:
        if unique.stored in old_views:
            yield _change(pair, unique, f"{unique.name} was a view and is a unique constraint")
    for view in pair.new.views:
        if view.stored in old_uniques:
            yield _change(pair, view, f"{view.name} was a unique constraint and is a view")


def definition(index: View | Unique) -> str:
    """The definition that the namespace remembers, as the runtime writes it."""
    if isinstance(index, View):
        each = f" each {index.each}" if index.each is not None else ""
        return f"{'+'.join(index.fields)}{each} by {order_text(index)}{' as text' if index.by_text else ''}{_where(index)}"
    steps = "".join(f" {step}" for step in sorted(index.normalize))
    return f"unique {'+'.join(index.fields)}{steps}{_where(index)}"


def _where(index: View | Unique) -> str:
    return f" where {index.where.meaning}" if index.where is not None else ""


def _both(pair: EntityPair) -> Iterator[tuple[View, View] | tuple[Unique, Unique]]:
    yield from kept(pair.old.views, pair.new.views)
    yield from kept(pair.old.uniques, pair.new.uniques)


def _change(pair: EntityPair, index: View | Unique, message: str, *, costly: bool = True) -> Change:
    section = "views" if isinstance(index, View) else "unique"
    cost = view_cost(pair.new, index) if isinstance(index, View) else unique_cost(pair.new, index)
    path = (section, index.name, "generation")
    return pair.change(Side.NEW, path, index.name, message, cost=cost if costly else None)
