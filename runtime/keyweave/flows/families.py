"""Families: a row's removal and everything that refers to the row, found by the views of its references.

A level of a family is read together with the names of the level below it, in one pipeline. Nothing that is read
here is trusted later: every row is guarded by its revision, and every view by its number of members.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from keyweave.context import Context
from keyweave.effects import Command, Flow
from keyweave.entity import Entity, Referrer
from keyweave.entry import REVISION, ViewEntry
from keyweave.errors import ReferenceViolationError
from keyweave.flows.asking import ask
from keyweave.flows.handshaking import require_built
from keyweave.flows.reading import deadline_passed
from keyweave.unit import Change

_MANY: Final = 500

Place: TypeAlias = tuple[str, str]
"""Entity and key of a row."""

Member: TypeAlias = tuple[Change, Referrer, str]
"""An entry that says: by this reference, the row with this key refers to this parent."""


def read_family(
    context: Context, entity: Entity[Any], key: str, guard: str, most: int | None
) -> Flow[tuple[Change, list[Member] | None] | None]:
    """The removal of a row, dead or alive, and who refers to it: up to `most` by each reference, all for None.

    Who refers to it is None, too, while an index is not built: `members_of` asks for it, or refuses to.
    """
    document_key = context.partition(entity).document(entity.name, key)
    # An index that is not built is refused only to who needs it: a row that stays needs no family.
    built = not context.unbuilt
    ranges = (yield from _ranges(context, entity, key, most)) if built else []
    document, *lists = yield from ask(context, (("GET", document_key), *[command for _, command in ranges]))
    if document is None:
        return None
    change = _removal(context, entity, key, document, guard)
    if not built:
        return change, None
    return change, _note(change, [referrer for referrer, _ in ranges], lists)


def _removal(context: Context, entity: Entity[Any], key: str, document: bytes, guard: str) -> Change:
    codec = context.codec(entity)
    stored = codec.recall(document)
    return Change(entity, key, old=stored, old_entries=codec.entries_of(stored), prepared=None, guard=guard)


def place(change: Change) -> Place:
    """Where the row of a change is."""
    return change.entity.name, change.key


def members_of(context: Context, parents: list[Change], most: int | None) -> Flow[list[Member]]:
    """Who refers to the parents, up to `most` by each reference. The parents' guards are set accordingly."""
    asked: list[tuple[Change, list[Referrer]]] = []
    commands: list[Command] = []
    for parent in parents:
        ranges = yield from _ranges(context, parent.entity, parent.key, most)
        asked.append((parent, [referrer for referrer, _ in ranges]))
        commands += [command for _, command in ranges]
    lists = iter((yield from ask(context, tuple(commands))) if commands else ())
    return [
        member
        for parent, referrers in asked
        for member in _note(parent, referrers, [next(lists) for _ in referrers])
    ]


def _ranges(
    context: Context, entity: Entity[Any], key: str, most: int | None
) -> Flow[list[tuple[Referrer, Command]]]:
    """What to ask for to learn who refers to a row, by their views."""
    found: list[tuple[Referrer, Command]] = []
    for referrer in context.package.referrers[entity.name]:
        if context.unbuilt:
            yield from require_built(context, referrer.entity, referrer.reference.via)
        partition = context.partition(referrer.entity)
        view = partition.view(referrer.entity.name, referrer.reference.via, (key,))
        found.append((referrer, ("ZRANGE", view, 0, -1 if most is None else most - 1)))
    return found


def _note(parent: Change, referrers: list[Referrer], lists: list[list[bytes]]) -> list[Member]:
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


def place_of(member: Member) -> Place:
    """Where a row is that refers to a parent."""
    return member[1].entity.name, member[2]


def load_members(
    context: Context, members: list[Member], most: int | None
) -> Flow[tuple[list[Change], list[Member]]]:
    """The rows of `members`, each once, dead ones included. An entry without a document is noted on its parent.

    Returns:
        The rows, and who refers to them: up to `most` by each reference, all by default; nobody is asked for 0.

    Raises:
        ReferenceViolationError: a live row refers to its parent with restrict.
    """
    children: dict[Place, Change] = {}
    below: list[Member] = []
    for start in range(0, len(members), _MANY):
        part = members[start : start + _MANY]
        keys = [
            context.partition(referrer.entity).document(referrer.entity.name, key)
            for _, referrer, key in part
        ]
        asked: dict[Place, list[tuple[Referrer, Command]]] = {}
        for member in part if most != 0 else ():
            at = place_of(member)
            if at not in asked and at not in children:
                asked[at] = yield from _ranges(context, member[1].entity, member[2], most)
        ranges = [command for each in asked.values() for _, command in each]
        documents, *lists = yield from ask(context, (("MGET", *keys), *ranges))
        answers = iter(lists)
        found = {
            at: ([referrer for referrer, _ in each], [next(answers) for _ in each])
            for at, each in asked.items()
        }
        for member, document in zip(part, documents, strict=True):
            child = yield from _child(context, member, document)
            if child is not None and place(child) not in children:
                children[place(child)] = child
                below += _note(child, *found.get(place(child), ([], [])))
    return list(children.values()), below


def _child(context: Context, member: Member, document: bytes | None) -> Flow[Change | None]:
    parent, referrer, key = member
    entity, via = referrer.entity, referrer.reference.via
    if document is None:
        parent.dangling.append((entity, key, None, [ViewEntry(via, (parent.key,), key, REVISION)]))
        return None
    child = _removal(context, entity, key, document, "unchanged")
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
        context.stats.meet_expired(entity.name)
    return child


def restricted(parent: Change, entity: Entity[Any], field: str) -> ReferenceViolationError:
    """The error for a row that a live row refers to with restrict."""
    return ReferenceViolationError(
        f"{parent.entity.name}: rows of {entity.name} refer to it by {field}",
        entity=parent.entity.name,
        field=field,
        target=entity.name,
    )
