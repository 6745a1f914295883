"""Rules about the values and sets of an enum. Values are stored as written, so their order has no meaning."""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.problems import quote

from .finding import Category, Change, Effect, Level, Side
from .pairs import EnumPair
from .rule import rule
from .wording import names_text, used_by


@rule(
    "ENUM_VALUE_ADDED",
    EnumPair,
    Category.API,
    Level.WARNING,
    "An enum has a new value.",
    Effect(
        code="Code that handles every value has to handle the new one.",
        deploy="Old code that reads a row with the new value raises CorruptDocumentError.",
        action="Deploy everywhere before anything writes the new value.",
    ),
)
def enum_value_added(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that is new and was not reserved."""
    users = used_by(pair.schema.users(pair.new.name))
    for value in pair.new.values:
        if value not in pair.old.values and value not in pair.old.reserved:
            yield pair.change(
                Side.NEW, ("values", pair.new.place(value)), value, f"the value {quote(value)} is new{users}"
            )


@rule(
    "ENUM_VALUE_REMOVED",
    EnumPair,
    Category.STORAGE,
    Level.ERROR,
    "An enum loses a value.",
    Effect(
        code="The member is gone.",
        data="A row that holds the value cannot be read: CorruptDocumentError.",
        deploy="Rows that old code writes with the value cannot be read by new code.",
        action="With the value still in the enum, stop writing it and give the rows that hold it another value.",
    ),
)
def enum_value_removed(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that is gone."""
    users = used_by(pair.schema.users(pair.new.name))
    for value in pair.old.values:
        if value not in pair.new.values:
            yield pair.change(
                Side.OLD,
                ("values", pair.old.place(value)),
                value,
                f"the value {quote(value)} is removed{users}",
            )


@rule(
    "ENUM_VALUE_NOT_RESERVED",
    EnumPair,
    Category.STORAGE,
    Level.ERROR,
    "A value is removed from an enum and not put into its `reserved`.",
    Effect(
        data="If the value returns with another meaning, old rows and backups get that meaning.",
        action="Add the value to `reserved` of the enum.",
    ),
)
def enum_value_not_reserved(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that is gone and free to be used again."""
    for value in pair.old.values:
        if value not in pair.new.values and value not in pair.new.reserved:
            yield pair.change(
                Side.OLD,
                ("values", pair.old.place(value)),
                value,
                f"the removed value {quote(value)} is not reserved",
            )


@rule(
    "ENUM_VALUE_REUSED",
    EnumPair,
    Category.STORAGE,
    Level.ERROR,
    "A value that was reserved is in use again.",
    Effect(
        data="Old rows and backups that hold the value get its new meaning.",
        deploy="Old code that reads a row with the value raises CorruptDocumentError.",
        action="Choose another value, and keep this one in `reserved`.",
    ),
)
def enum_value_reused(pair: EnumPair) -> Iterator[Change]:
    """Yield each reserved value that is used again."""
    for value in pair.new.values:
        if value in pair.old.reserved:
            yield pair.change(
                Side.NEW,
                ("values", pair.new.place(value)),
                value,
                f"the value {quote(value)} was reserved and is used again",
            )


@rule(
    "ENUM_RESERVED_CHANGED",
    EnumPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A value leaves `reserved` without being used; nothing prevents its reuse.",
    Effect(
        data="If the value returns with another meaning, old rows and backups get that meaning.",
        action="Put the value back into `reserved`.",
    ),
)
def enum_reserved_changed(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that is no longer reserved and not used."""
    for index, value in enumerate(pair.old.reserved):
        if value not in pair.new.reserved and value not in pair.new.values:
            yield pair.change(
                Side.OLD, ("reserved", index), value, f"the value {quote(value)} is no longer reserved"
            )


@rule(
    "ENUM_NAME_CHANGED",
    EnumPair,
    Category.API,
    Level.WARNING,
    "A value of an enum has another name.",
    Effect(
        code="The member of the old name is gone.",
        action="Change the code that uses it. Stored rows hold the value, which stays.",
    ),
)
def enum_name_changed(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that stays and has another name."""
    for value in pair.new.values:
        if value in pair.old.values and pair.old.member(value) != pair.new.member(value):
            names = f"{pair.old.member(value)} to {pair.new.member(value)}"
            message = f"the name of {quote(value)} changes from {names}"
            yield pair.change(Side.NEW, ("values", pair.new.place(value)), value, message)


@rule("ENUM_VALUE_RESERVED", EnumPair, Category.SAFE, Level.INFO, "A value that was not in use is reserved.")
def enum_value_reserved(pair: EnumPair) -> Iterator[Change]:
    """Yield each value that is reserved and was not removed by this change."""
    for index, value in enumerate(pair.new.reserved):
        if value not in pair.old.reserved and value not in pair.old.values:
            yield pair.change(Side.NEW, ("reserved", index), value, f"the value {quote(value)} is reserved")


@rule(
    "ENUM_SET_ADDED",
    EnumPair,
    Category.SAFE,
    Level.INFO,
    "An enum has a new set.",
    Effect(code="Gets a property `is_…`."),
)
def enum_set_added(pair: EnumPair) -> Iterator[Change]:
    """Yield each set that is new."""
    for name in pair.new.sets:
        if name not in pair.old.sets:
            yield pair.change(Side.NEW, ("sets", name), name, f"the set {name} is new")


@rule(
    "ENUM_SET_REMOVED",
    EnumPair,
    Category.API,
    Level.WARNING,
    "An enum loses a set.",
    Effect(code="Its property `is_…` is gone.", action="Change the code that uses it."),
)
def enum_set_removed(pair: EnumPair) -> Iterator[Change]:
    """Yield each set that is gone."""
    for name in pair.old.sets:
        if name not in pair.new.sets:
            yield pair.change(Side.OLD, ("sets", name), name, f"the set {name} is removed")


@rule(
    "ENUM_SET_CHANGED",
    EnumPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A set of an enum has other members.",
    Effect(
        code="The property `is_…` returns another result for these values.",
        deploy="Old and new code disagree about these values.",
        action="Review the code that uses the set. Checks and retentions that use it have findings of their own.",
    ),
)
def enum_set_changed(pair: EnumPair) -> Iterator[Change]:
    """Yield each set with other members."""
    for name, values in pair.new.sets.items():
        before = pair.old.sets.get(name, values)
        gained = [value for value in values if value not in before]
        lost = [value for value in before if value not in values]
        if gained or lost:
            parts = [f"gains {names_text(gained)}"] if gained else []
            parts += [f"loses {names_text(lost)}"] if lost else []
            yield pair.change(Side.NEW, ("sets", name), name, f"the set {name} {' and '.join(parts)}")
