"""Rules about the fields of an entity or record, their names, and the names that it reserves.

A name that was used stays taken: documents keep the value of a removed field, and a new field of that name
would read it.
"""

from __future__ import annotations

from collections.abc import Iterator

from keyweave_generator.model import Field

from .finding import Category, Change, Effect, Level, Side
from .pairs import FieldPair, OwnerPair, added
from .rule import rule
from .wording import names_text, type_text, used_by, value_text


def _comes_with_a_value(field: Field) -> bool:
    return field.optional or field.has_default or field.managed is not None


def _new_fields(pair: OwnerPair) -> list[Field]:
    renamed = set(pair.renamed.values())
    return [field for field in added(pair.old.fields, pair.new.fields) if field.name not in renamed]


def _gone_fields(pair: OwnerPair) -> list[Field]:
    return [field for field in added(pair.new.fields, pair.old.fields) if field.name not in pair.renamed]


def _users(pair: OwnerPair) -> str:
    return "" if pair.is_entity else used_by(pair.schema.users(pair.name))


@rule(
    "FIELD_ADDED",
    OwnerPair,
    Category.SAFE,
    Level.INFO,
    "A field is new and optional, managed, or has a default.",
    Effect(
        code="The class has one more field; callers need not pass it.",
        data="Stored rows read as null or as the default.",
        deploy="Old code keeps the field when it writes a row that has it.",
    ),
)
def field_added(pair: OwnerPair) -> Iterator[Change]:
    """Yield each new field that old documents need not hold."""
    for field in _new_fields(pair):
        if _comes_with_a_value(field):
            message = f"field {field.name} is new: {type_text(field.type)}{_users(pair)}"
            yield pair.change(Side.NEW, ("fields", field.name), field.name, message)


@rule(
    "FIELD_ADDED_REQUIRED",
    OwnerPair,
    Category.STORAGE,
    Level.ERROR,
    "A field is new, required, and has no default.",
    Effect(
        code="Code that creates a record has to pass it.",
        data="A row that was stored without it cannot be read: CorruptDocumentError.",
        deploy="Rows that old code writes cannot be read by new code.",
        action="Make it optional or give it a default. Require it in a later release, when every row has a value.",
    ),
)
def field_added_required(pair: OwnerPair) -> Iterator[Change]:
    """Yield each new field that every document has to hold."""
    for field in _new_fields(pair):
        if not _comes_with_a_value(field):
            message = f"field {field.name} is new and required: {type_text(field.type)}{_users(pair)}"
            yield pair.change(Side.NEW, ("fields", field.name), field.name, message)


@rule(
    "FIELD_REMOVED",
    OwnerPair,
    Category.API,
    Level.WARNING,
    "A field is removed.",
    Effect(
        code="Code that names the field fails.",
        data="Stored values stay in their documents, through every write, until they are purged.",
        deploy="Old code cannot read rows that new code creates, if the field was required.",
        action="Reserve the name. Make a required field optional one release earlier. "
        "Purge the values when no old code runs.",
        commands=("keyweave migrate-documents",),
    ),
)
def field_removed(pair: OwnerPair) -> Iterator[Change]:
    """Yield each field that is gone and was not renamed."""
    for field in _gone_fields(pair):
        how = "required " if not _comes_with_a_value(field) else ""
        message = f"the {how}field {field.name} is removed{_users(pair)}"
        yield pair.change(Side.OLD, ("fields", field.name), field.name, message)


@rule(
    "FIELD_REMOVED_NOT_RESERVED",
    OwnerPair,
    Category.STORAGE,
    Level.ERROR,
    "A field is removed and its name not put into `reserved`.",
    Effect(
        data="A later field of that name would read the old values, which documents keep.",
        action="Add the name to `reserved`.",
    ),
)
def field_removed_not_reserved(pair: OwnerPair) -> Iterator[Change]:
    """Yield each field that is gone and whose name is free. A managed one was not stored under its name."""
    for field in _gone_fields(pair):
        if field.name not in pair.new.reserved and field.managed is None:
            message = f"the name of the removed field {field.name} is not reserved"
            yield pair.change(Side.OLD, ("fields", field.name), field.name, message)


@rule(
    "FIELD_RENAMED",
    OwnerPair,
    Category.STORAGE,
    Level.WARNING,
    "A field has another name, which `renamed_from` declares.",
    Effect(
        code="Code that names the field has to use the new name.",
        data="New code reads both names. A write stores the new one.",
        deploy="Old code finds no value in rows that new code wrote, and cannot read them if the field was required. "
        "Stop old code first, or add a field and copy the values.",
        action="Deploy, rewrite the rows, then remove `renamed_from` and reserve the old name.",
        commands=("keyweave migrate-documents",),
    ),
)
def field_renamed(pair: OwnerPair) -> Iterator[Change]:
    """Yield each field that has a new name."""
    for old, new in pair.renamed.items():
        yield pair.change(
            Side.NEW, ("fields", new, "renamed_from"), new, f"the field {old} is now called {new}"
        )


@rule(
    "FIELD_RENAME_ENDED",
    OwnerPair,
    Category.STORAGE,
    Level.ERROR,
    "A field loses its `renamed_from`: the old name is no longer read.",
    Effect(
        data="A row that still has the old name has no value for the field, and cannot be read if it is required.",
        action="Rewrite every row with the schema as it was. Then ignore this with that reason, "
        "and reserve the old name.",
        commands=("keyweave migrate-documents",),
    ),
)
def field_rename_ended(pair: OwnerPair) -> Iterator[Change]:
    """Yield each field that no longer reads its old name."""
    for each in pair.field_pairs():
        if each.old.renamed_from and each.new.renamed_from is None:
            message = f"the field {each.new.name} is no longer read as {each.old.renamed_from}"
            yield pair.change(Side.NEW, ("fields", each.new.name), each.new.name, message)


@rule(
    "FIELD_RENAME_CHANGED",
    OwnerPair,
    Category.STORAGE,
    Level.ERROR,
    "A field reads an old name that no field of the old schema has.",
    Effect(
        data="Documents may hold a value of an earlier field under that name, and new code would read it.",
        action="Remove `renamed_from`, or name the field that this change renames.",
    ),
)
def field_rename_changed(pair: OwnerPair) -> Iterator[Change]:
    """Yield each field that reads another name, without being renamed by this change."""
    before = {each.new.name: each.old.renamed_from for each in pair.field_pairs()}
    for field in pair.new.fields:
        if field.renamed_from and field.name not in pair.renamed.values():
            if before.get(field.name) != field.renamed_from:
                message = (
                    f"the field {field.name} reads the name {field.renamed_from}, which no field had before"
                )
                yield pair.change(Side.NEW, ("fields", field.name, "renamed_from"), field.name, message)


@rule(
    "RESERVED_NAME_REUSED",
    OwnerPair,
    Category.STORAGE,
    Level.ERROR,
    "A field has a name that was reserved.",
    Effect(
        data="Documents may hold a value of the earlier field, which the new one reads.",
        deploy="Old code keeps the new values.",
        action="Choose another name, and keep this one in `reserved`.",
    ),
)
def reserved_name_reused(pair: OwnerPair) -> Iterator[Change]:
    """Yield each new field whose name was reserved."""
    for field in pair.new.fields:
        if field.name in pair.old.reserved:
            yield pair.change(
                Side.NEW, ("fields", field.name), field.name, f"the name {field.name} was reserved"
            )


@rule(
    "RESERVED_NAME_DROPPED",
    OwnerPair,
    Category.SEMANTIC,
    Level.WARNING,
    "A name leaves `reserved` without being used; nothing prevents its reuse.",
    Effect(
        data="A later field of that name would read the old values, which documents keep.",
        action="Put the name back into `reserved`, unless its values were purged.",
    ),
)
def reserved_name_dropped(pair: OwnerPair) -> Iterator[Change]:
    """Yield each name that is no longer reserved and not used."""
    used = {field.name for field in pair.new.fields}
    for index, name in enumerate(pair.old.reserved):
        if name not in pair.new.reserved and name not in used:
            yield pair.change(Side.OLD, ("reserved", index), name, f"the name {name} is no longer reserved")


@rule("NAME_RESERVED", OwnerPair, Category.SAFE, Level.INFO, "A name that no field had is reserved.")
def name_reserved(pair: OwnerPair) -> Iterator[Change]:
    """Yield the names that are reserved without a removal."""
    known = {*pair.old.reserved, *(field.name for field in pair.old.fields)}
    names = [name for name in pair.new.reserved if name not in known]
    if names:
        yield pair.change(Side.NEW, ("reserved",), "", f"reserved: {names_text(names)}")


@rule(
    "FIELD_AUTO_ADDED",
    FieldPair,
    Category.SAFE,
    Level.INFO,
    "Records make their keys.",
    Effect(code="Callers need not pass the key."),
)
def field_auto_added(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.old.auto is None and pair.new.auto is not None:
        yield pair.change("auto", f"is now made by the record: {pair.new.auto}")


@rule(
    "FIELD_AUTO_CHANGED",
    FieldPair,
    Category.SAFE,
    Level.INFO,
    "Records make keys of another form.",
    Effect(code="New records have keys of the new form.", data="Stored rows keep their keys."),
)
def field_auto_changed(pair: FieldPair) -> Iterator[Change]:
    """Yield the two forms."""
    if pair.old.auto and pair.new.auto and pair.old.auto != pair.new.auto:
        yield pair.change("auto", f"auto was {value_text(pair.old.auto)} and is {value_text(pair.new.auto)}")


@rule(
    "FIELD_AUTO_REMOVED",
    FieldPair,
    Category.API,
    Level.WARNING,
    "Records no longer make their keys.",
    Effect(
        code="A record without a key cannot be made: TypeError.",
        action="Pass a key wherever a record is made.",
    ),
)
def field_auto_removed(pair: FieldPair) -> Iterator[Change]:
    """Yield the change."""
    if pair.old.auto is not None and pair.new.auto is None:
        yield pair.change("auto", f"is no longer made by the record; it was {value_text(pair.old.auto)}")
