"""The plan that writes one row, as the bytes of its command: what `Plan.command` returns for it, packed.

Nearly every write is of one row. Its plan is not built: what is the same for each of them is packed once for a store, and the
generated `index_places` says where the row is in the indexes. If the server answers with anything but OK, the plan is built
after all. A test compares both, word for word.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

from keyweave.changes.answer import Ticket
from keyweave.changes.plan import FIXED_KEYS, OTHER_WORDS
from keyweave.changes.verbs import commands_of
from keyweave.document.codec import Prepared, op_of
from keyweave.effects import Packed
from keyweave.keyspace.keys import Partition
from keyweave.model.entity import Entity
from keyweave.model.entry import REVISION, ClaimEntry
from keyweave.model.places import Places, Sets
from keyweave.model.record import Stored

_PUT_WORDS: Final = 6
"""Words of a row that is put, without those of its entries."""

_NOWHERE: Final[Places] = ([], [])
_ABSENT: Final = "$6\r\nabsent\r\n$1\r\n1\r\n"
_REVISION: Final = "$8\r\nrevision\r\n$1\r\n1\r\n"
_PUT: Final = "$4\r\nrows\r\n$3\r\nput\r\n$1\r\n1\r\n"
_EMPTY: Final = "$0\r\n\r\n"
_RENEW: Final = "$5\r\nrenew\r\n"
_REMOVE: Final = "$6\r\nremove\r\n"
_REMOVES: Final = "$7\r\nremoves\r\n"
_ADD: Final = "$3\r\nadd\r\n"
_ADDS: Final = "$4\r\nadds\r\n"
_RELEASE: Final = "$7\r\nrelease\r\n"
_CLAIM: Final = "$5\r\nclaim\r\n"


def packed_word(text: str) -> str:
    """Return an ASCII word of a command, packed."""
    return f"${len(text)}\r\n{text}\r\n"


class Numbers(dict[int, str]):
    """Packed numbers. True and False are the numbers 1 and 0, whichever is asked for first."""

    def __missing__(self, number: int) -> str:
        word = packed_word(str(int(number)))
        if number < 4096:
            self[number] = word
        return word


NUMBERS: Final = Numbers()


@lru_cache(maxsize=64)
def _commands(has_deadline: bool, releases: bool, claims: bool, removes: bool, adds: bool) -> str:
    """The commands that the rows of a plan call, packed."""
    verbs = ["put with deadline" if has_deadline else "put"]
    changes = (("release", releases), ("claim", claims), ("remove", removes), ("add", adds))
    verbs += [verb for verb, happens in changes if happens]
    return packed_word(commands_of((*verbs, "ledger")))


class RowPacker:
    """Packs the plans that write rows of one entity, for one store.

    Args:
        entity: the entity, whose rows are written.
        partition: where its rows are.
        prefixes: what the keys of each view begin with.
        sha: digest of the script `apply`.
        grace_ms: milliseconds between a row's deadline and its native TTL.
        writer: digest of the indexes that this code keeps.

    Attributes:
        document: what the keys of documents begin with.
        grace: the milliseconds, packed.
        partition: where the rows are.
        writer: the digest, packed.
    """

    __slots__ = (
        "_claims",
        "_evalsha",
        "_fixed",
        "_member",
        "_places",
        "_prefixes",
        "_session",
        "_targets",
        "document",
        "grace",
        "partition",
        "writer",
    )

    def __init__(
        self,
        entity: Entity[Any],
        partition: Partition,
        prefixes: Mapping[str, str],
        *,
        sha: str,
        grace_ms: int,
        writer: str,
    ) -> None:
        self.partition: Final = partition
        self._places: Final = entity.places
        self._evalsha: Final = packed_word("EVALSHA") + packed_word(sha)
        self.grace: Final = packed_word(str(grace_ms))
        self.writer: Final = packed_word(writer)
        self.document: Final = partition.document_prefix(entity.name)
        self._member: Final = len(partition.tag)
        self._targets: Final = [
            (each, partition.document_prefix(each.target), each.target == entity.name)
            for each in entity.references
        ]
        self._prefixes: Final = prefixes
        self._claims: Final = {name: partition.claims(entity.name, name) for name in entity.uniques}
        self._session = self._fixed = ""

    def put(
        self,
        prepared: Prepared,
        stored: Stored | None,
        op: str,
        ticket: Ticket,
        until: int,
        *,
        renew: bool,
        shown: bool,
    ) -> Packed | None:
        """Return the command of the first try to write a row.

        Args:
            prepared: what to write.
            stored: what the store holds, with its snapshot, or None for a new row.
            op: id of the plan.
            ticket: its place in the ledger.
            until: server time in microseconds after which the server must not apply it.
            renew: whether the server extends the life of the ledger.
            shown: whether an EXISTS or CHANGED refusal includes the stored document.

        Returns:
            None if a word is not ASCII, so that its length differs from that of the text.
        """
        after, body, retain = prepared.snapshot, prepared.body, str(prepared.retain)
        document = self.document + prepared.key
        keys, documents = f"${len(document)}\r\n{document}\r\n", 1
        if stored is None:
            before: Any = None
            sets, claims = self._places(self._prefixes, after)
            sets = [each for each in sets if each[3]]
            left, released = _NOWHERE
            guards, words = _ABSENT, OTHER_WORDS + _PUT_WORDS + 2
        else:
            before = stored.snapshot
            sets, claims = self._places(self._prefixes, after, before)
            left, released = self._places(self._prefixes, before, after)
            if sets or left:
                sets, left = _difference(sets, left)
            revision, writer = str(stored.revision), op_of(stored)
            guards = f"{_REVISION}${len(revision)}\r\n{revision}\r\n${len(writer)}\r\n{writer}\r\n"
            words = OTHER_WORDS + _PUT_WORDS + 4
        entries, entry_words = "", 0
        claim_numbers: dict[str, int] = {}
        if claims or released:
            claims, released = _without(claims, released), _without(released, claims)
            for each in claims:
                guards += f"$4\r\nfree\r\n{self._claimed(each, claim_numbers)}"
            words += 4 * len(claims)
            for each in released:
                entries += f"{_RELEASE}{self._claimed(each, claim_numbers)}"
            for each in claims:
                entries += f"{_CLAIM}{self._claimed(each, claim_numbers)}"
            entry_words = 4 * (len(released) + len(claims))
        for target in self._changed_targets(before, after, prepared.key):
            documents += 1
            keys += packed_word(target)
            guards += f"$6\r\nexists\r\n{NUMBERS[documents]}"
            words += 2
        views: dict[str, int] = {}
        if left:
            entries, entry_words = _with_sets(entries, entry_words, views, left, (_REMOVE, _REMOVES))
        if sets:
            entries, entry_words = _with_sets(entries, entry_words, views, sets, (_ADD, _ADDS))
        for name in views:
            keys += f"${len(name)}\r\n{name}\r\n"
        for name in claim_numbers:
            keys += f"${len(name)}\r\n{name}\r\n"
        first_view = FIXED_KEYS + documents
        first_claim = first_view + len(views)
        all_keys = first_claim + len(claim_numbers)
        member, sequence, end = document[self._member :], str(ticket.sequence), str(until)
        front = (
            f"*{words + all_keys + entry_words}\r\n{self._evalsha}{NUMBERS[all_keys]}"
            f"{self._fixed if ticket.session == self._session else self.fixed(ticket.session)}{keys}"
            f"${len(op)}\r\n{op}\r\n{NUMBERS[ticket.slot]}${len(sequence)}\r\n{sequence}\r\n${len(end)}\r\n{end}\r\n"
            f"{self.grace}{NUMBERS[first_view]}{NUMBERS[first_claim]}{_RENEW if renew else _EMPTY}$0\r\n\r\n"
            f"{self.writer}{NUMBERS[shown]}"
            f"{_commands(retain != '0', bool(released), bool(claims), bool(left), bool(sets))}{guards}{_PUT}"
            f"${len(member)}\r\n{member}\r\n${len(retain)}\r\n{retain}\r\n${len(body)}\r\n"
        )
        tail = f"\r\n{NUMBERS[entry_words]}{entries}"
        if not (front.isascii() and tail.isascii()):
            return None
        return Packed(b"%b%b%b" % (front.encode(), body, tail.encode()))

    def _claimed(self, claim: ClaimEntry, numbers: dict[str, int]) -> str:
        """Return the number of a claim's constraint, its value and its owner, packed."""
        number = numbers.setdefault(self._claims[claim.unique], len(numbers) + 1)
        return f"{NUMBERS[number]}{packed_word(claim.value)}{packed_word(claim.owner)}"

    def _changed_targets(self, before: Any, after: Any, key: str) -> list[str]:
        """Return the documents that a row refers to, and has not referred to before by the same field; each once."""
        found: list[str] = []
        for reference, prefix, own_kind in self._targets:
            field = reference.field
            if before is None or getattr(before, field) != getattr(after, field):
                target = reference.key_in(after)
                if target is not None and not (own_kind and target == key) and prefix + target not in found:
                    found.append(prefix + target)
        return found

    def left(self, before: Any, views: dict[str, int], claims: dict[str, int]) -> tuple[str, int]:
        """Return the words of all entries that a row leaves, packed, and their number.

        Args:
            before: a record of the row.
            views, claims: the keys of views and of constraints by number; get those that are missing.
        """
        sets, released = self._places(self._prefixes, before)
        entries, count = "", 0
        for each in released:
            entries += f"{_RELEASE}{self._claimed(each, claims)}"
            count += 4
        present = [each for each in sets if each[3]]
        return _with_sets(entries, count, views, present, (_REMOVE, _REMOVES))

    def fixed(self, session: str) -> str:
        """Return the keys that every plan of a session names, packed."""
        if session == self._session:
            return self._fixed
        partition = self.partition
        fixed = (partition.clock, partition.expiry, partition.ledger(session), partition.schema)
        self._fixed = "".join(map(packed_word, fixed))
        self._session = session
        return self._fixed


def _with_sets(
    entries: str, count: int, views: dict[str, int], changed: list[Sets], verbs: tuple[str, str]
) -> tuple[str, int]:
    """Return the words of entries, packed, and their number, with those for the sets that a row joins or leaves.

    Args:
        views: the keys of views by number; gets those that are missing.
        verbs: the word for an entry in one set, and that for several sets, packed.
    """
    single, several = verbs
    for _, member, score, names in changed:
        value = score if type(score) is str else str(score)
        place = f"${len(member)}\r\n{member}\r\n${len(value)}\r\n{value}\r\n"
        if len(names) == 1:
            entries += f"{single}{NUMBERS[views.setdefault(names[0], len(views) + 1)]}{place}"
        else:
            numbers = "".join([NUMBERS[views.setdefault(name, len(views) + 1)] for name in names])
            entries += f"{several}{NUMBERS[len(names)]}{place}{numbers}"
            count += len(names)
        count += 4
    return entries, count


def _without(claims: list[ClaimEntry], others: list[ClaimEntry]) -> list[ClaimEntry]:
    return [each for each in claims if each not in others] if others else claims


def _difference(after: list[Sets], before: list[Sets]) -> tuple[list[Sets], list[Sets]]:
    """Return the sets into which a row is put, or in which it gets another score, and those that it is taken out of."""
    if len(after) == 1 == len(before) and after[0][:2] == before[0][:2]:
        order, member, score, keys = after[0]
        _, _, old_score, old_keys = before[0]
        new = [each for each in keys if each not in old_keys] if old_score == score != REVISION else keys
        gone = [each for each in old_keys if each not in keys]
        return [(order, member, score, new)] if new else [], (
            [(order, member, old_score, gone)] if gone else []
        )
    joined: list[Sets] = []
    left: list[Sets] = []
    for order, member, score, keys in after:
        new = keys
        for old_order, old_member, old_score, old_keys in before:
            if old_order == order and old_member == member and old_score == score != REVISION:
                new = [each for each in keys if each not in old_keys]
        if new:
            joined.append((order, member, score, new))
    for order, member, score, keys in before:
        gone = keys
        for new_order, new_member, _, new_keys in after:
            if new_order == order and new_member == member:
                gone = [each for each in keys if each not in new_keys]
        if gone:
            left.append((order, member, score, gone))
    return joined, left
