"""Rules about an entity as a whole: where its rows are stored, and the names of its errors."""

from __future__ import annotations

from collections.abc import Iterator

from .finding import Category, Change, Effect, Level, Side
from .pairs import EntityPair, kept
from .rule import rule


@rule(
    "ENTITY_GROUP_CHANGED",
    EntityPair,
    Category.STORAGE,
    Level.ERROR,
    "An entity moves to another group, whose name is part of every key.",
    Effect(
        code="Runs, but finds no row of the entity.",
        data="Stored rows stay under their old keys, where new code does not look.",
        deploy="Old and new code work on different rows.",
        action="Leave the entity where it is, or copy its rows with a program that opens both schemas.",
    ),
)
def entity_group_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield the move."""
    if pair.old.group != pair.new.group:
        yield pair.change(Side.NEW, ("group",), "", f"the group was {pair.old.group} and is {pair.new.group}")


@rule(
    "ENTITY_KEY_CHANGED",
    EntityPair,
    Category.STORAGE,
    Level.ERROR,
    "Another field identifies the rows of an entity, or other fields do together.",
    Effect(
        code="Methods that take a key expect the new key.",
        data="Stored rows are under their old keys, where new code does not look.",
        deploy="Old and new code write different keys for one row.",
        action="Add a new entity with the new key, copy the rows, then remove the old one.",
    ),
)
def entity_key_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield the new key; a renamed field is the same key, and other parts or another order of them are another one."""
    if pair.now(pair.old.key_names) != pair.new.key_names:
        message = f"the key was {_key_text(pair.old.key_names)} and is {_key_text(pair.new.key_names)}"
        yield pair.change(Side.NEW, ("key",), "", message)


def _key_text(names: tuple[str, ...]) -> str:
    return f"[{', '.join(names)}]" if len(names) > 1 else names[0]


@rule(
    "ENTITY_PARTITION_CHANGED",
    EntityPair,
    Category.STORAGE,
    Level.ERROR,
    "Another field decides in which partition of its group a row is stored.",
    Effect(
        code="Rows that shared a partition may no longer share one.",
        data="With one partition per group nothing moves. With several, new code looks for rows in the wrong partition.",
        deploy="With several partitions, old and new code work on different rows.",
        action="With one partition in every namespace, ignore it with that reason. Otherwise give the entity a new name.",
    ),
)
def entity_partition_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield the new field; a renamed one is the same."""
    old, new = pair.old.partition_by, pair.new.partition_by
    followed = (
        pair.old.partition_by == pair.old.key_names[0] and pair.new.partition_by == pair.new.key_names[0]
    )
    if pair.now((old,)) != (new,) and not followed:
        yield pair.change(Side.NEW, ("partition_by",), "", f"rows were partitioned by {old} and are by {new}")


@rule(
    "ERROR_RENAMED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "An error of an entity has another name.",
    Effect(
        code="Code that catches the old name fails on import, or does not catch the error.",
        action="Change the code that catches it.",
    ),
)
def error_renamed(pair: EntityPair) -> Iterator[Change]:
    """Yield each error whose name differs."""
    standard = "AlreadyExistsError"
    named: list[tuple[tuple[str, ...], str, str]] = [
        (("errors", "not_found"), pair.old.not_found_error, pair.new.not_found_error),
        (("errors", "exists"), pair.old.exists_error or standard, pair.new.exists_error or standard),
    ]
    named += [
        (("unique", new.name, "error"), old.error, new.error)
        for old, new in kept(pair.old.uniques, pair.new.uniques)
    ]
    for path, old_name, new_name in named:
        if old_name != new_name:
            part = path[1] if path[0] == "unique" else ""
            yield pair.change(Side.NEW, path, part, f"the error {old_name} is now called {new_name}")


@rule(
    "ENTITY_PLURAL_CHANGED",
    EntityPair,
    Category.API,
    Level.WARNING,
    "Several rows of an entity have another name.",
    Effect(
        code="The store's attribute has another name, and so have the methods that read rows with these.",
        action="Change the code that uses them.",
    ),
)
def entity_plural_changed(pair: EntityPair) -> Iterator[Change]:
    """Yield the two plurals."""
    if pair.old.many != pair.new.many:
        yield pair.change(Side.NEW, ("plural",), "", f"the plural was {pair.old.many} and is {pair.new.many}")
