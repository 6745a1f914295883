"""How many rows a group has, for the estimate of a repartition: cheap, or not at all."""

from __future__ import annotations

from typing import Any

from keyweave.effects import Command, Flow
from keyweave.exchange.ask import ask
from keyweave.model.entity import Entity
from keyweave.store.context import Context


def count_rows(context: Context, group: str) -> Flow[int | None]:
    """Return the number of rows of a group, as the sizes of views that have all rows of an entity say, in one exchange.

    Returns:
        None where an entity has no such view: its rows cannot be counted without a look at all keys.
    """
    entities = [each for each in context.package.entities.values() if each.group == group]
    views = [_whole_view(context, entity) for entity in entities]
    commands: list[Command] = [
        ("ZCARD", partition.view(entity.name, view, ()))
        for partition in context.keyspace.holders(group)
        for entity, view in zip(entities, views, strict=True)
        if view is not None
    ]
    if None in views or not commands:
        return None
    replies = yield from ask(context, tuple(commands))
    return sum(map(int, replies))


def _whole_view(context: Context, entity: Entity[Any]) -> str | None:
    """Return a view that has every row of an entity, in one key of each partition."""
    for name, view in entity.views.items():
        if view.whole and not view.selecting and f"{entity.name}.{name}" not in context.unbuilt:
            return name
    return None
