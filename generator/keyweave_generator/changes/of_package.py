"""Rules about the package: its name, its namespace, and which groups, enums, records and entities it has."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.model import Group

from .finding import Category, Change, Effect, Level, Side, Spot
from .pairs import SchemaPair, added, kept
from .rule import rule
from .wording import used_by


@rule(
    "PACKAGE_RENAMED",
    SchemaPair,
    Category.API,
    Level.WARNING,
    "The generated package has another import name.",
    Effect(
        code="Every import of the old package fails.",
        action="Generate, change the imports, delete the old package.",
    ),
)
def package_renamed(pair: SchemaPair) -> Iterator[Change]:
    """Yield the new name."""
    if pair.old.package != pair.new.package:
        spot = Spot(Side.NEW, None, ("package",))
        yield Change(spot, f"the package {pair.old.package} is now called {pair.new.package}")


@rule(
    "NAMESPACE_CHANGED",
    SchemaPair,
    Category.STORAGE,
    Level.ERROR,
    "The app or version of the namespace changes, which every key begins with.",
    Effect(
        code="Runs, but finds an empty store.",
        data="Every stored row stays under its old key, where new code does not look.",
        deploy="Old and new code work on different data.",
        action="Keep the namespace, or start with an empty one and copy the rows with a program that opens both.",
    ),
)
def namespace_changed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each part that no option of opening a store can restore."""
    yield from _namespace(pair, ("app", "version"))


@rule(
    "NAMESPACE_DEFAULT_CHANGED",
    SchemaPair,
    Category.SEMANTIC,
    Level.WARNING,
    "The default environment or tenant changes.",
    Effect(
        code="A store that is opened without `environment` or `namespace` is another one.",
        data="Rows under the old default stay there.",
        deploy="Old and new code that rely on the default work on different data.",
        action="Pass `environment` and `namespace` wherever a store is opened, then change the default.",
    ),
)
def namespace_default_changed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each part that is only a default."""
    yield from _namespace(pair, ("environment", "tenant"))


def _namespace(pair: SchemaPair, parts: tuple[str, ...]) -> Iterator[Change]:
    for part in parts:
        old, new = getattr(pair.old.namespace, part), getattr(pair.new.namespace, part)
        if old != new:
            spot = Spot(Side.NEW, None, ("namespace", part))
            yield Change(spot, f"namespace: {part} was {old} and is {new}", part=part)


@rule("GROUP_ADDED", SchemaPair, Category.SAFE, Level.INFO, "A group is new.")
def group_added(pair: SchemaPair) -> Iterator[Change]:
    """Yield each group that is new."""
    for group in added(pair.old.groups, pair.new.groups):
        spot = Spot(Side.NEW, None, ("groups", group.name))
        yield Change(spot, f"group {group.name} is new", part=group.name)


@rule("GROUP_REMOVED", SchemaPair, Category.SAFE, Level.INFO, "A group that no entity uses is removed.")
def group_removed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each group that is gone; entities that were in it have findings of their own."""
    for group in added(pair.new.groups, pair.old.groups):
        spot = Spot(Side.OLD, None, ("groups", group.name))
        yield Change(spot, f"group {group.name} is removed", part=group.name)


@rule(
    "GROUP_PARTITIONS_CHANGED",
    SchemaPair,
    Category.STORAGE,
    Level.WARNING,
    "New namespaces get another number of partitions of a group.",
    Effect(
        data="Namespaces that exist keep the number that they have: a store takes it from the registry.",
        deploy="Old and new code work on the same rows. Which of them opens a new namespace first decides its number.",
        action="Deploy the new code before a namespace is opened for the first time, or name the number when a store is opened.",
    ),
)
def group_partitions_changed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each group with another number of partitions."""
    for old, new in kept(pair.old.groups, pair.new.groups):
        if old.partitions != new.partitions:
            spot = Spot(Side.NEW, None, ("groups", new.name, "partitions"))
            text = f"group {new.name} had {_partitions(old)} and has {_partitions(new)}"
            yield Change(spot, text, part=new.name)


def _partitions(group: Group) -> str:
    return f"{group.partitions} partition{'s' if group.partitions > 1 else ''}"


@rule(
    "ENTITY_ADDED",
    SchemaPair,
    Category.SAFE,
    Level.INFO,
    "An entity is new.",
    Effect(
        code="Gets a class and a repository.",
        deploy="Old code does not see the rows. A delete by old code does not cascade to them.",
    ),
)
def entity_added(pair: SchemaPair) -> Iterator[Change]:
    """Yield each entity that is new."""
    for entity in added(pair.old.entities, pair.new.entities):
        spot = Spot(Side.NEW, entity.name, ("entity",))
        yield Change(spot, f"entity {entity.name} is new", entity.name)


@rule(
    "ENTITY_REMOVED",
    SchemaPair,
    Category.STORAGE,
    Level.ERROR,
    "An entity is removed, or renamed: a name is part of every key of its rows.",
    Effect(
        code="Its class, its repository and its errors are gone.",
        data="Its rows and entries stay on the server, where no new code reads, expires or deletes them.",
        deploy="Old code continues to write rows. Deletes by new code do not cascade to them.",
        action="Delete the rows with the old code first. To rename an entity, copy its rows.",
    ),
)
def entity_removed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each entity that is gone."""
    for entity in added(pair.new.entities, pair.old.entities):
        spot = Spot(Side.OLD, entity.name, ("entity",))
        yield Change(spot, f"entity {entity.name} is removed", entity.name)


@rule("RECORD_ADDED", SchemaPair, Category.SAFE, Level.INFO, "A record type is new.")
def record_added(pair: SchemaPair) -> Iterator[Change]:
    """Yield each record type that is new."""
    for record in added(pair.old.records, pair.new.records):
        spot = Spot(Side.NEW, None, ("records", record.name))
        yield Change(spot, f"record {record.name} is new{used_by(pair.users(record.name))}", record.name)


@rule(
    "RECORD_REMOVED",
    SchemaPair,
    Category.API,
    Level.WARNING,
    "A record type is removed or renamed.",
    Effect(
        code="Its class is gone.",
        action="Change the code that names it. Fields that held it have findings of their own.",
    ),
)
def record_removed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each record type that is gone."""
    for record in added(pair.new.records, pair.old.records):
        spot = Spot(Side.OLD, None, ("records", record.name))
        yield Change(spot, f"record {record.name} is removed", record.name)


@rule("ENUM_ADDED", SchemaPair, Category.SAFE, Level.INFO, "An enum is new.")
def enum_added(pair: SchemaPair) -> Iterator[Change]:
    """Yield each enum that is new."""
    for enum in added(pair.old.enums, pair.new.enums):
        spot = Spot(Side.NEW, None, ("enums", enum.name))
        yield Change(spot, f"enum {enum.name} is new{used_by(pair.users(enum.name))}", enum.name)


@rule(
    "ENUM_REMOVED",
    SchemaPair,
    Category.API,
    Level.WARNING,
    "An enum is removed or renamed.",
    Effect(
        code="Its class is gone.",
        action="Change the code that names it. Fields that held it have findings of their own.",
    ),
)
def enum_removed(pair: SchemaPair) -> Iterator[Change]:
    """Yield each enum that is gone."""
    for enum in added(pair.new.enums, pair.old.enums):
        spot = Spot(Side.OLD, None, ("enums", enum.name))
        yield Change(spot, f"enum {enum.name} is removed", enum.name)
