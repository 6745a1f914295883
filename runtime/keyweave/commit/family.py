"""Families: a row's removal and everything that refers to the row, found by the views of its references.

A row comes with its first level from one script. A further level is read together with the names of the level below
it, in one pipeline. Nothing that is read here is trusted later: every row is guarded by its revision, and every view by its number of members.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from keyweave.changes.unit import Change
from keyweave.effects import Command, Flow, Word
from keyweave.errors import ReferenceViolationError
from keyweave.exchange.ask import ask, ask_script
from keyweave.exchange.deadline import deadline_passed
from keyweave.exchange.handshake import require_built
from keyweave.model.entity import Entity, Referrer
from keyweave.model.entry import REVISION, ViewEntry
from keyweave.store.context import Context

_BATCH: Final = 500

_MEMBERS_PER_ROW: Final = 2
"""Most members that are looked at, those of the next level included, for each row whose document may come at once."""

RowId: TypeAlias = tuple[str, str]
"""Entity and key of a row."""

Member: TypeAlias = tuple[Change, Referrer, str]
"""An entry that says: by this reference, the row with this key refers to this parent."""

Rows: TypeAlias = dict[RowId, tuple[bytes | None, list[list[bytes]]]]
"""The documents of rows, None where there is none, and for each reference to such a row who refers to it."""


@dataclass(slots=True)
class Family:
    """Who refers to a row.

    Attributes:
        members: the entries that say so.
        rows: what was read of all of them, if anything was.
    """

    members: list[Member]
    rows: Rows = field(default_factory=dict)


def read_family(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int | None
) -> Flow[tuple[Change, Family | None] | None]:
    """The removal of a row, dead or alive, and who refers to it: up to `limit` by each reference, all for None.

    Who refers to it is None when it is not known: while an index is not built, and `members_of` asks for it, or refuses
    to; when the family is too large to be read at once; when the row is past its deadline, and `guard` is not `dead`.
    """
    if context.state.unbuilt or not context.package.referrers[entity.name]:
        # An index that is not built is refused only to who needs it: a row that stays needs no family.
        (document,) = yield from ask(
            context, (("GET", context.partition(entity).document(entity.name, key)),)
        )
        if document is None:
            return None
        return removal(context, entity, key, document, guard), None if context.state.unbuilt else Family([])
    # A sweep asks plainly: it meets more rows that turn out to be alive than families.
    if guard == "dead" or limit is None:
        return (yield from family_by_keys(context, entity, key, guard, limit))
    found: tuple[Change, Family | None] | None
    found = yield from context.strategy.family(context, entity, key, guard, limit)
    return found


def family_by_script(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int
) -> Flow[tuple[Change, Family | None] | None]:
    """What `read_family` returns, in one trip."""
    reply: Any = yield from ask_script(
        context, "row_and_referrers", *_family_call(context, entity, key, limit)
    )
    return _parse_family(context, entity, key, guard, reply) if reply is not None else None


def family_by_keys(
    context: Context, entity: Entity[Any], key: str, guard: str, limit: int | None
) -> Flow[tuple[Change, Family | None] | None]:
    """What `read_family` returns, without the rows of those who refer to the row."""
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
    """Keys and arguments of `row_and_referrers`."""
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
    """The removal of the row that `row_and_referrers` answered with, and its family if that came along."""
    document, *views = reply
    change = removal(context, entity, key, document, guard)
    if not views:
        return change, None
    referrers = context.package.referrers[entity.name]
    family = Family(_guard_members(change, referrers, [members for members, _, _ in views]))
    places = map(member_id, family.members)
    for referrer, (_, documents, below) in zip(referrers, views, strict=True):
        lists, kinds = iter(below), context.package.referrers[referrer.entity.name]
        for each in documents:
            family.rows[next(places)] = each, [next(lists) for _ in kinds]
    return change, family


def removal(context: Context, entity: Entity[Any], key: str, document: bytes, guard: str) -> Change:
    """The removal of the row that a document holds."""
    codec = context.codec(entity)
    stored = codec.read_memory(document)
    return Change(entity, key, old=stored, old_entries=codec.entries_of(stored), prepared=None, guard=guard)


def row_id(change: Change) -> RowId:
    """Where the row of a change is."""
    return change.entity.name, change.key


def members_of(context: Context, parents: list[Change], limit: int | None) -> Flow[list[Member]]:
    """Who refers to the parents, up to `limit` by each reference. The parents' guards are set accordingly."""
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
    """What to ask for to learn who refers to a row, by their views."""
    found: list[tuple[Referrer, Command]] = []
    for referrer in context.package.referrers[entity.name]:
        if context.state.unbuilt:
            yield from require_built(context, referrer.entity, referrer.reference.via)
        partition = context.partition(referrer.entity)
        view = partition.view(referrer.entity.name, referrer.reference.via, (key,))
        found.append((referrer, ("ZRANGE", view, 0, -1 if limit is None else limit - 1)))
    return found


def _guard_members(parent: Change, referrers: Sequence[Referrer], lists: list[list[bytes]]) -> list[Member]:
    """Who refers to a row, as its views say. Its guards are set accordingly."""
    parent.dangling = []
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
    """Where a row is that refers to a parent."""
    return member[1].entity.name, member[2]


def load_members(
    context: Context, members: list[Member], limit: int | None, known: Rows | None = None
) -> Flow[tuple[list[Change], list[Member]]]:
    """The rows of `members`, each once, dead ones included. An entry without a document is noted on its parent.

    Args:
        limit: how many of who refers to the rows to ask for, by each reference: None for all, 0 to ask for nobody.
        known: what was read of the rows already, if anything was.

    Returns:
        The rows, and who refers to them.

    Raises:
        ReferenceViolationError: a live row refers to its parent with restrict.
    """
    children: dict[RowId, Change] = {}
    below: list[Member] = []
    for start in range(0, len(members), _BATCH):
        part = members[start : start + _BATCH]
        rows = known or (yield from _read_rows(context, part, limit, children))
        for member in part:
            document, lists = rows[member_id(member)]
            child = yield from _child(context, member, document)
            if child is not None and row_id(child) not in children:
                children[row_id(child)] = child
                below += _guard_members(
                    child, context.package.referrers[child.entity.name] if lists else (), lists
                )
    return list(children.values()), below


def _read_rows(
    context: Context, members: list[Member], limit: int | None, without: Container[RowId]
) -> Flow[Rows]:
    """The documents of `members`, and but for those in `without` who refers to them."""
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
        parent.dangling.append((entity, key, None, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    child = removal(context, entity, key, document, "unchanged")
    assert child.old is not None
    if getattr(child.old.snapshot, referrer.reference.field) != parent.key:
        # The server freed the row of this entry, and its key has been given to another: that one is no child.
        entry = ViewEntry(via, (parent.key,), key, REVISION)
        parent.dangling.append((entity, key, child.old.revision, [entry]))
        return None
    if not referrer.reference.cascade:
        expires = child.old.expires
        if not expires or not (yield from deadline_passed(context, expires)):
            raise restricted(parent, entity, referrer.reference.field)
        context.state.stats.meet_expired(entity.name)
    return child


def restricted(parent: Change, entity: Entity[Any], field: str) -> ReferenceViolationError:
    """The error for a row that a live row refers to with restrict."""
    return ReferenceViolationError(
        f"{parent.entity.name}: rows of {entity.name} refer to it by {field}",
        entity=parent.entity.name,
        field=field,
        target=entity.name,
    )
