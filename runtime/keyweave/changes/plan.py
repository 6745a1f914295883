"""Plans: what one atomic step checks and writes, and how the server answers.

A plan belongs to one partition. It is built from guards and rows, numbered as the script `apply` expects them.
It keeps its guards, so that a refusal can be turned into the caller's error.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

from keyweave.changes.answer import Applied, Guard, Outcome, Refusal, Status, Ticket
from keyweave.changes.verbs import commands_of
from keyweave.effects import Command, Word
from keyweave.errors import CrossPartitionError
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import REVISION, ClaimEntry, Entry, Score, ViewEntry

FIXED_KEYS: Final = 4
"""Keys of a plan that are not documents, views or claims."""

OTHER_WORDS: Final = 16
"""Words of the command of a plan that are not keys and do not belong to a guard or a row."""


class Plan:
    """Builds the keys and arguments of one call of `apply`.

    Args:
        op: the plan's id.

    Attributes:
        guards: the guards, in the order of their numbers in replies.
        written: entity and key of each document that the plan writes, in order.
        changes_documents: whether the plan writes or deletes a document.
        only_removes: whether the plan only removes data, so that a server at its memory limit accepts it.
        bounded: whether a try that came too late is answered LATE, because a later one would rest on homes that may have changed.
    """

    __slots__ = (
        "_claims",
        "_document_on_refusal",
        "_documents",
        "_guard_words",
        "_row_words",
        "_share_words",
        "_targets",
        "_verbs",
        "_views",
        "bounded",
        "changes_documents",
        "guards",
        "only_removes",
        "op",
        "partition",
        "written",
    )

    def __init__(self, partition: Partition, op: str) -> None:
        self.partition: Final = partition
        self.op: Final = op
        self.only_removes = True
        self.bounded = False
        self.guards: list[Guard] = []
        self.changes_documents = False
        self.written: list[tuple[Entity[Any], str]] = []
        self._documents: dict[str, int] = {}
        self._views: dict[str, int] = {}
        self._claims: dict[str, int] = {}
        self._guard_words: list[Word] = []
        self._share_words: list[Word] = []
        self._row_words: list[Word] = []
        self._verbs: dict[str, None] = {}
        self._targets: set[int] = set()
        self._document_on_refusal = 0

    @property
    def words(self) -> int:
        """The number of words of `command`, unless the partition is on a cluster."""
        keys = FIXED_KEYS + len(self._documents) + len(self._views) + len(self._claims)
        return keys + len(self._guard_words) + len(self._row_words) + OTHER_WORDS

    def show_on_refusal(self, entity: Entity[Any], key: str) -> None:
        """Let an EXISTS or CHANGED refusal for this row include its stored document."""
        self._document_on_refusal = self._document(entity, key)

    def guard_revision(self, entity: Entity[Any], key: str, revision: int, op: str = "") -> None:
        """Require that the row is live and unchanged since `revision`."""
        self._guard_words += ("revision", self._document(entity, key), revision, op)
        self.guards.append(Guard("revision", entity, key))

    def guard_absent(self, entity: Entity[Any], key: str) -> None:
        """Require that there is no live row."""
        self._guard_words += ("absent", self._document(entity, key))
        self.guards.append(Guard("absent", entity, key))

    def guard_exists(
        self, target: Entity[Any], target_key: str, entity: Entity[Any], key: str, field: str
    ) -> None:
        """Require that the row that `field` of the row `key` refers to is live; empty: the row itself. Each target is checked once."""
        document = self._document(target, target_key)
        if document in self._targets:
            return
        self._targets.add(document)
        self._guard_words += ("exists", document)
        self.guards.append(Guard("exists", entity, key, field))

    def guard_dead(self, entity: Entity[Any], key: str, revision: int, op: str = "") -> None:
        """Require that the row is past its deadline and unchanged since `revision`."""
        self._guard_words += ("dead", self._document(entity, key), revision, op)
        self.guards.append(Guard("dead", entity, key))

    def guard_unchanged(self, entity: Entity[Any], key: str, revision: int, op: str = "") -> None:
        """Require that the document has this revision, whether or not its deadline has passed."""
        self._guard_words += ("unchanged", self._document(entity, key), revision, op)
        self.guards.append(Guard("unchanged", entity, key))

    def guard_same(self, entity: Entity[Any], key: str, document: bytes) -> None:
        """Require that the document is this text, byte for byte, whether or not its deadline has passed."""
        self._guard_words += ("same", self._document(entity, key), document)
        self.guards.append(Guard("same", entity, key))

    def guard_missing(self, entity: Entity[Any], key: str) -> None:
        """Require that there is no document, live or dead."""
        self._guard_words += ("missing", self._document(entity, key))
        self.guards.append(Guard("missing", entity, key))

    def guard_gone(self, entity: Entity[Any], key: str, deadline: Word | None) -> None:
        """Require that there is no document, and that the row's entry in the expiry set is this reply to ZSCORE.

        A row that came back and was freed again has another deadline, and other entries than those of the first one.
        """
        self._guard_words += ("gone", self._document(entity, key), "" if deadline is None else deadline)
        self.guards.append(Guard("gone", entity, key))

    def guard_at(self, entity: Entity[Any], key: str, revision: int | None) -> None:
        """Require that the document has this revision, or that there is no document when `revision` is None."""
        if revision is None:
            self.guard_missing(entity, key)
        else:
            self.guard_unchanged(entity, key, revision)

    def guard_free(self, entity: Entity[Any], claim: ClaimEntry) -> None:
        """Require that the unique value is unclaimed or belongs to the claim's owner."""
        self._guard_words += ("free", self._claim(entity, claim.unique), claim.value, claim.owner)
        self.guards.append(Guard("free", entity, claim.owner, claim.unique))

    def guard_holds(self, entity: Entity[Any], unique: str, value: str, owner: str) -> None:
        """Require that the unique value belongs to `owner`."""
        self._guard_words += ("holds", self._claim(entity, unique), value, owner)
        self.guards.append(Guard("holds", entity, owner, unique))

    def guard_count(
        self, entity: Entity[Any], view: str, values: Sequence[str], number: int, key: str = ""
    ) -> None:
        """Require that the view has exactly `number` members."""
        self._guard_words += ("count", self._view(entity, view, values), number)
        self.guards.append(Guard("count", entity, key, view))

    def guard_member(self, entity: Entity[Any], entry: ViewEntry, key: str = "") -> None:
        """Require that the view has the entry's member.

        Together with `guard_count` it shows that the view has the same members as before: an entry without a document may
        be healed, and another row added in its place.
        """
        self._guard_words += ("member", self._view(entity, entry.view, entry.values), entry.member)
        self.guards.append(Guard("member", entity, key, entry.view))

    def guard_share(self, share: tuple[int, str] | None) -> None:
        """Require that the partition has what the client believes, while the partitions of its group are doubled.

        Args:
            share: as `Context.share_of` returns it; None where the group is not being doubled.
        """
        self._share_words = []
        if share is not None:
            changed = self.partition.changed
            self._share_words = ["doubling", self._claims.setdefault(changed, len(self._claims) + 1), *share]

    def guard_unfenced(self, entity: Entity[Any], unique: str, value: str, epoch: int, key: str) -> None:
        """Require that the partition does not refuse an epoch of a home.

        Args:
            unique: the constraint of a unique value, empty for a row.
            value: the unique value, or the row's id.
            key: id of the row that the guard is set for.
        """
        self.bounded = True
        fence = self._partition_of(entity).fence(entity.name, unique, value)
        number = self._claims.setdefault(fence, len(self._claims) + 1)
        self._guard_words += ("unfenced", number, epoch)
        self.guards.append(Guard("unfenced", entity, key, unique))

    def put(
        self,
        entity: Entity[Any],
        key: str,
        body: bytes,
        retain: int | str,
        old: list[Entry],
        new: list[Entry],
    ) -> None:
        """Write a document, and the difference between its old and new entries.

        Args:
            body: as in `Prepared`.
            retain: microseconds from the write to the deadline, unless the row has one; the same as a negative number, also
                if it has one; `=` and the deadline in microseconds since 1970; or 0 for none.
        """
        self.changes_documents, self.only_removes = True, False
        self._verbs["put with deadline" if retain else "put"] = None
        self._row_words += ("put", self._document(entity, key), f"{entity.name}:{key}", retain, body)
        self._difference(entity, old, new)
        self.written.append((entity, key))

    def delete(self, entity: Entity[Any], key: str, old: list[Entry]) -> None:
        """Delete a document and its entries."""
        self.changes_documents = True
        self._verbs["delete"] = None
        self._row_words += ("delete", self._document(entity, key), f"{entity.name}:{key}")
        self._difference(entity, old, [])

    def change_entries(self, entity: Entity[Any], old: list[Entry], new: list[Entry]) -> None:
        """Change entries without writing a document, for healing and repair."""
        self.only_removes = self.only_removes and not new
        self._row_words.append("entries")
        self._difference(entity, old, new)

    def restore(
        self,
        entity: Entity[Any],
        key: str,
        head: tuple[int, int, int],
        body: bytes,
        old: list[Entry],
        new: list[Entry],
    ) -> None:
        """Write a document with a given head (revision, created, expires), for imports and rewrites."""
        self.changes_documents = True
        self.only_removes = False
        self._verbs["put with deadline" if head[2] else "put"] = None
        self._row_words += ("restore", self._document(entity, key), f"{entity.name}:{key}", *head, body)
        self._difference(entity, old, new)
        self.written.append((entity, key))

    def follow_deadline(self, entity: Entity[Any], key: str) -> None:
        """Set the native TTL and the expiry entry from the document's head, or remove them when it has none."""
        self.only_removes = False
        self._verbs["deadline"] = None
        self._row_words += ("deadline", self._document(entity, key), f"{entity.name}:{key}")

    def advance_clock(self, revision: int) -> None:
        """Advance the partition's clock, so that later writes get revisions beyond `revision`."""
        self.only_removes = False
        self._verbs["advance"] = None
        self._row_words += ("advance", revision)

    def command(
        self,
        sha_or_text: str,
        verb: str,
        *,
        ticket: Ticket,
        until: int,
        grace_ms: int,
        renew: bool,
        again: bool,
        writer: str,
        clustered: bool,
    ) -> Command:
        """Return the command that applies this plan.

        Args:
            sha_or_text: digest or text of the script, as `verb` requires.
            verb: `EVALSHA` or `EVAL`.
            ticket: the plan's place in the ledger, the same for every try.
            until: server time in microseconds after which the server must not apply the plan.
            grace_ms: milliseconds between a row's deadline and its native TTL.
            renew: whether the server extends the life of the ledger.
            again: whether an earlier try may still be on its way.
            writer: digest of the indexes that this code keeps.
            clustered: whether the partition is on a cluster. There the plan names one key more, which never exists: without it a
                slot that moves key by key could end the script in the middle, when it writes a key again that it has emptied.
        """
        partition = self.partition
        views = FIXED_KEYS + len(self._documents)
        claims = views + len(self._views)
        return (
            verb,
            sha_or_text,
            claims + len(self._claims) + clustered,
            partition.clock,
            partition.expiry,
            partition.ledger(ticket.session),
            partition.schema,
            *self._documents,
            *self._views,
            *self._claims,
            *((partition.moving,) if clustered else ()),
            self.op,
            ticket.slot,
            ticket.sequence,
            until,
            grace_ms,
            views,
            claims,
            "renew" if renew else "",
            "again" if again else "",
            writer if self.changes_documents else "",
            self._document_on_refusal,
            commands_of((*self._verbs, "ledger")),
            *self._share_words,
            *self._guard_words,
            "rows",
            *self._row_words,
        )

    def outcome(self, reply: Sequence[Any]) -> Outcome:
        """Return the outcome in a reply of `apply` that is OK, a guard that did not hold, or LATE for a bounded plan."""
        if reply[0] == b"OK":
            numbers = [int(number) for number in reply[1:]]
            if len(numbers) == 3:
                return Applied(((numbers[0], numbers[1], numbers[2]),))
            return Applied(tuple(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True)))
        status = Status(reply[0].decode())
        if status is Status.LATE:
            return Refusal(status, self.guards[0])
        guard = self.guards[int(reply[1]) - 1]
        document = reply[3] if len(reply) > 3 else None
        return Refusal(status, guard, reply[2].decode(), document)

    def _difference(self, entity: Entity[Any], old: list[Entry], new: list[Entry]) -> None:
        words: list[Any] = []
        views, verbs = self._views, self._verbs
        name, view_key = entity.name, self._partition_of(entity).view
        removed: dict[tuple[str, str, Score], list[str]] = {}
        added: dict[tuple[str, str, Score], list[str]] = {}
        # Comparing a few entries is faster than hashing them: an enum member is hashed by Python code.
        for entry in old:
            if type(entry) is ViewEntry:
                if not _has_place(new, entry):
                    key = view_key(name, entry.view, entry.values)
                    place = (_order_of(entity, entry), entry.member, entry.score)
                    removed.setdefault(place, []).append(key)
            elif type(entry) is ClaimEntry and entry not in new:
                words += ("release", self._claim(entity, entry.unique), entry.value, entry.owner)
                verbs["release"] = None
        for entry in new:
            if type(entry) is ViewEntry:
                if entry not in old or entry.score == REVISION:
                    key = view_key(name, entry.view, entry.values)
                    place = (_order_of(entity, entry), entry.member, entry.score)
                    added.setdefault(place, []).append(key)
            elif type(entry) is ClaimEntry and entry not in old:
                words += ("claim", self._claim(entity, entry.unique), entry.value, entry.owner)
                verbs["claim"] = None
        for verb, changed in (("remove", removed), ("add", added)):
            if changed:
                verbs[verb] = None
            for place in _in_order(entity, changed):
                _, member, score = place
                numbers = [views.setdefault(key, len(views) + 1) for key in changed[place]]
                if len(numbers) == 1:
                    words += (verb, numbers[0], member, score)
                else:
                    words += (verb + "s", len(numbers), member, score, *numbers)
        self._row_words.append(len(words))
        self._row_words += words

    def _partition_of(self, entity: Entity[Any]) -> Partition:
        if entity.group != self.partition.group:
            raise CrossPartitionError(
                f"{entity.name} is in group {entity.group!r} and cannot change in one step with group "
                f"{self.partition.group!r}"
            )
        return self.partition

    def _document(self, entity: Entity[Any], key: str) -> int:
        partition, documents = self.partition, self._documents
        if entity.group != partition.group:
            self._partition_of(entity)
        return documents.setdefault(partition.document(entity.name, key), len(documents) + 1)

    def _view(self, entity: Entity[Any], view: str, values: Sequence[str]) -> int:
        name = self._partition_of(entity).view(entity.name, view, values)
        views = self._views
        return views.setdefault(name, len(views) + 1)

    def _claim(self, entity: Entity[Any], unique: str) -> int:
        name = self._partition_of(entity).claims(entity.name, unique)
        claims = self._claims
        return claims.setdefault(name, len(claims) + 1)


def _order_of(entity: Entity[Any], entry: ViewEntry) -> str:
    """Return the order of an entry's view; empty for a view that the schema no longer has."""
    view = entity.views.get(entry.view)
    return view.order if view is not None else ""


def _in_order(
    entity: Entity[Any], places: Collection[tuple[str, str, Score]]
) -> Collection[tuple[str, str, Score]]:
    """Return places in the order in which the views of `entity` first name their orders."""
    if len(places) < 2:
        return places
    orders = list(dict.fromkeys(["", *(view.order for view in entity.views.values())]))
    return sorted(places, key=lambda place: orders.index(place[0]))


def _has_place(entries: list[Entry], entry: ViewEntry) -> bool:
    """Return whether one of the entries is in the same place, with any score."""
    for each in entries:
        if type(each) is ViewEntry and each.view == entry.view:
            if each.values == entry.values and each.member == entry.member:
                return True
    return False
