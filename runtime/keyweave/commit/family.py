"""Families: the removal of a row, and the rows that refer to it, found by the views of its references.

One script reads a row and its first level. Each further level is read in one pipeline, together with the keys of the
level below it. Other writers may change all of this before the removal. Therefore every row is guarded by its
revision, and every view by its number of members.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from keyweave.changes.change import Change
from keyweave.effects import Command, Flow, Word
from keyweave.errors import ReferenceViolationError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.bound import too_long
from keyweave.exchange.deadline import deadline_passed
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, Referrer
from keyweave.model.entry import REVISION, ViewEntry
from keyweave.store.context import Context

_BATCH: Final = 500

_MEMBERS_PER_ROW: Final = 2
"""Maximum number of members that the script reads for each row that it may return, including the next level."""

RowId: TypeAlias = tuple[str, str]
"""Entity and key of a row."""

Member: TypeAlias = tuple[Change, Referrer, str]
"""A view entry by which a row refers to a parent: the parent's removal, the reference, the key of the row."""

Rows: TypeAlias = dict[RowId, tuple[bytes | None, list[list[bytes]]]]
"""For each row its document, or None, and for each reference to such a row the keys of the referring rows."""


@dataclass(slots=True)
class Family:
    """The rows that refer to a row.

    Attributes:
        members: the view entries of these rows.
        rows: the rows of all members, or empty when they have not been read.
    """

    members: list[Member]
    rows: Rows = field(default_factory=dict)


def read_family(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int | None
) -> Flow[tuple[Change, Family | None] | None]:
    """Read a row, live or dead, with its family.

    Args:
        guard: the guard of the removal.
        limit: maximum number of members to read for each reference; None for all.

    Returns:
        The removal of the row and its family, or None when there is no document. The family is None when it was not
        read: an index is not built, the family is too large for one exchange, or the row is past its deadline and
        `guard` is not `dead`. `members_of` reads it then.
    """
    has_referrers = bool(context.package.referrers[entity.name])
    if context.unbuilt or not has_referrers:
        # Only `members_of` raises the error of an index that is not built: a row that is not removed needs no family.
        (document,) = yield from ask(
            context, (("GET", context.partition(entity).document(entity.name, key)),)
        )
        if document is None:
            return None
        return removal(context, entity, key, document, guard), None if has_referrers else Family([])
    # A sweep uses plain commands: most rows that it reads turn out to be live, or have no family.
    if guard == "dead" or limit is None:
        return (yield from family_by_keys(context, entity, key, guard, limit))
    found: tuple[Change, Family | None] | None
    found = yield from context.strategy.family(context, entity, key, guard, limit)
    return found


def family_by_script(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int
) -> Flow[tuple[Change, Family | None] | None]:
    """Return what `read_family` returns, in one round trip."""
    keys, arguments = _family_call(context, entity, key, limit)
    if too_long(context, keys, arguments):
        return (yield from family_by_keys(context, entity, key, guard, limit))
    reply: Any = yield from ask_script(context, "row_and_referrers", keys, arguments)
    return _parse_family(context, entity, key, guard, reply) if reply is not None else None


def family_by_keys(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int | None
) -> Flow[tuple[Change, Family | None] | None]:
    """Return what `read_family` returns, with the members of the family but not their rows."""
    document_key = context.partition(entity).document(entity.name, key)
    ranges = yield from _range_commands(context, entity, key, limit)
    document, *lists = yield from ask(context, (("GET", document_key), *[command for _, command in ranges]))
    if document is None:
        return None
    change = removal(context, entity, key, document, guard)
    return change, Family(_guard_members(change, [referrer for referrer, _ in ranges], lists))


def _family_call(
    context: Context, entity: Entity[Any], key: str, limit: int
) -> tuple[tuple[Word, ...], tuple[Word, ...]]:
    """Return the keys and arguments of the script `row_and_referrers`."""
    keys: list[Word] = [context.partition(entity).document(entity.name, key)]
    limit = min(limit, _BATCH)
    arguments: list[Word] = [limit, _MEMBERS_PER_ROW * limit]
    referrers = context.package.referrers
    for referrer in referrers[entity.name]:
        rows = referrer.entity
        partition, below = context.partition(rows), referrers[rows.name]
        keys.append(partition.view(rows.name, referrer.reference.via, (key,)))
        arguments += (partition.document_prefix(rows.name), len(below))
        for each in below:
            arguments.append(context.partition(each.entity).view_prefix(each.entity.name, each.reference.via))
    return tuple(keys), tuple(arguments)


def _parse_family(
    context: Context, entity: Entity[Any], key: str, guard: str, reply: list[Any]
) -> tuple[Change, Family | None]:
    """Return the row's removal from a reply of `row_and_referrers`, and the family if the reply includes it."""
    document, *views = reply
    change = removal(context, entity, key, document, guard)
    if not views:
        return change, None
    referrers = context.package.referrers[entity.name]
    family = Family(_guard_members(change, referrers, [members for members, _, _ in views]))
    row_ids = map(member_id, family.members)
    for referrer, (_, documents, below) in zip(referrers, views, strict=True):
        lists, kinds = iter(below), context.package.referrers[referrer.entity.name]
        for each in documents:
            family.rows[next(row_ids)] = each, [next(lists) for _ in kinds]
    return change, family


def removal(context: Context, entity: Entity[Any], key: str, document: bytes, guard: str) -> Change:
    """Return the removal of the row in a document."""
    codec = context.codec(entity)
    stored = codec.read_memory(document)
    codec.snapshot_of(stored)
    return Change(entity, key, old=stored, prepared=None, guard=guard)


def row_id(change: Change) -> RowId:
    """Return the entity name and key of a change's row."""
    return change.entity.name, change.key


def members_of(context: Context, parents: list[Change], limit: int | None) -> Flow[list[Member]]:
    """Read the rows that refer to the parents, up to `limit` for each reference, and set the parents' guards.

    Raises:
        ViewNotBuiltError: the view of a reference is not built.
    """
    asked: list[tuple[Change, list[Referrer]]] = []
    commands: list[Command] = []
    for parent in parents:
        ranges = yield from _range_commands(context, parent.entity, parent.key, limit)
        asked.append((parent, [referrer for referrer, _ in ranges]))
        commands += [command for _, command in ranges]
    lists = iter((yield from ask(context, tuple(commands))) if commands else ())
    return [
        member
        for parent, referrers in asked
        for member in _guard_members(parent, referrers, [next(lists) for _ in referrers])
    ]


def _range_commands(
    context: Context, entity: Entity[Any], key: str, limit: int | None
) -> Flow[list[tuple[Referrer, Command]]]:
    """Return the command for each reference to a row that reads the keys of its referring rows."""
    found: list[tuple[Referrer, Command]] = []
    for referrer in context.package.referrers[entity.name]:
        if context.unbuilt:
            yield from require_built(context, referrer.entity, referrer.reference.via)
        partition = context.partition(referrer.entity)
        view = partition.view(referrer.entity.name, referrer.reference.via, (key,))
        found.append((referrer, ("ZRANGE", view, 0, -1 if limit is None else limit - 1)))
    return found


def _guard_members(parent: Change, referrers: Sequence[Referrer], lists: list[list[bytes]]) -> list[Member]:
    """Return the members of a row's family from its views, and guard the row by the size of each view."""
    parent.dangling = ()
    parent.counts = [
        (referrer.entity, referrer.reference.via, (parent.key,), len(keys))
        for referrer, keys in zip(referrers, lists, strict=True)
    ]
    return [
        (parent, referrer, key.decode())
        for referrer, keys in zip(referrers, lists, strict=True)
        for key in keys
    ]


def member_id(member: Member) -> RowId:
    """Return the entity name and key of a member's row."""
    return member[1].entity.name, member[2]


def load_members(
    context: Context, members: list[Member], limit: int | None, known: Rows | None = None
) -> Flow[tuple[list[Change], list[Member]]]:
    """Read the rows of `members`, each once and including dead ones, with the members of the next level.

    An entry without a matching document is added to its parent's `dangling`.

    Args:
        limit: maximum number of members of the next level for each reference: None for all, 0 to read none.
        known: the rows, if they have been read.

    Returns:
        The removals of the rows, and the members of the next level.

    Raises:
        ReferenceViolationError: a live row refers to its parent with restrict.
        ViewNotBuiltError: the view of a reference is not built.
    """
    children: dict[RowId, Change] = {}
    below: list[Member] = []
    for start in range(0, len(members), _BATCH):
        part = members[start : start + _BATCH]
        rows = known or (yield from _read_rows(context, part, limit, children))
        for member in part:
            at = member_id(member)
            document, lists = rows[at]
            child = yield from _child(context, member, document)
            if child is not None and at not in children:
                children[at] = child
                if lists:
                    below += _guard_members(child, context.package.referrers[child.entity.name], lists)
    return list(children.values()), below


def _read_rows(
    context: Context, members: list[Member], limit: int | None, without: Container[RowId]
) -> Flow[Rows]:
    """Read the documents of `members`, and the rows that refer to them except for those in `without`."""
    asked: dict[RowId, list[Command]] = {}
    keys: list[str] = []
    for _, referrer, key in members:
        entity, at = referrer.entity, (referrer.entity.name, key)
        if at in asked:
            continue
        keys.append(context.partition(entity).document(entity.name, key))
        wanted = limit != 0 and at not in without
        ranges = (yield from _range_commands(context, entity, key, limit)) if wanted else []
        asked[at] = [command for _, command in ranges]
    commands = [command for each in asked.values() for command in each]
    documents, *lists = yield from ask(context, (("MGET", *keys), *commands))
    answers = iter(lists)
    return {
        at: (document, [next(answers) for _ in each])
        for (at, each), document in zip(asked.items(), documents, strict=True)
    }


def _child(context: Context, member: Member, document: bytes | None) -> Flow[Change | None]:
    parent, referrer, key = member
    entity, via = referrer.entity, referrer.reference.via
    if document is None:
        parent.add_dangling((entity, key, None, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    child = removal(context, entity, key, document, "unchanged")
    assert child.old is not None
    if referrer.reference.key_in(child.old.snapshot) != parent.key:
        # The server freed the row of this entry, and another row was created under its key. That row is not a child.
        entry = ViewEntry(via, (parent.key,), key, REVISION)
        parent.add_dangling((entity, key, child.old.revision, [entry]))
        return None
    if not referrer.reference.cascade:
        expires = child.old.expires
        if not expires or not (yield from deadline_passed(context, context.partition(entity), expires)):
            raise restricted(parent, entity, referrer.reference.field)
        context.state.stats.meet_expired(entity.name)
    return child


def restricted(parent: Change, entity: Entity[Any], field: str) -> ReferenceViolationError:
    """Return the error for a row that a live row refers to with restrict."""
    return ReferenceViolationError(
        f"{parent.entity.row(parent.key)}: rows of {entity.name} refer to it by {field}",
        entity=parent.entity.name,
        field=field,
        target=entity.name,
        key=parent.entity.shown(parent.key),
    )
