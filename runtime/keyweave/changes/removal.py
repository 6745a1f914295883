"""The removal of rows as this process remembers them, and its plan as the bytes of its command.

As in `changes.packed`, the plan is built only if the server answers with anything but OK. A test compares both, word for word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from keyweave.changes.answer import Ticket
from keyweave.changes.change import Change
from keyweave.changes.packed import NUMBERS, RowPacker, packed_word
from keyweave.changes.plan import FIXED_KEYS, OTHER_WORDS
from keyweave.changes.verbs import commands_of
from keyweave.document.codec import entries_of, op_of
from keyweave.effects import Packed
from keyweave.model.entity import Entity
from keyweave.model.record import Stored

_DELETES: Final = packed_word(commands_of(("delete", "ledger")))
_DELETES_AND_RELEASES: Final = packed_word(commands_of(("delete", "release", "ledger")))
_DELETE_WORDS: Final = 4
"""Words of a row that is deleted, without those of its entries."""


class Removal(NamedTuple):
    """The removal of one row.

    Attributes:
        entity: the row's entity.
        key: the row's id.
        stored: what the store probably holds, with its snapshot.
        document: the document that it must be, byte for byte; empty where its revision decides.
        counts: views with their values and the number of members that each must have.
    """

    entity: Entity[Any]
    key: str
    stored: Stored
    document: bytes
    counts: list[tuple[Entity[Any], str, tuple[str, ...], int]]

    def change(self) -> Change:
        """Return the change that removes the row."""
        stored, guard = self.stored, "same" if self.document else "revision"
        change = Change(
            self.entity,
            self.key,
            old=stored,
            old_entries=entries_of(self.entity, stored),
            prepared=None,
            guard=guard,
            document=self.document,
        )
        change.counts = self.counts
        return change


def pack_removals(
    rows: Sequence[tuple[Removal, RowPacker]],
    op: str,
    ticket: Ticket,
    until: int,
    *,
    sha: str,
    renew: bool,
    shown: bool,
) -> Packed | None:
    """Return the command of the first try to remove rows of one partition.

    Args:
        rows: each with what packs the plans of its entity.
        op: id of the plan.
        ticket: its place in the ledger.
        until: server time in microseconds after which the server must not apply it.
        sha: digest of the script `free`.
        renew: whether the server extends the life of the ledger.
        shown: whether a CHANGED refusal includes the stored document of the first row.

    Returns:
        None if a word other than a document is not ASCII, so that its length differs from that of the text.
    """
    views: dict[str, int] = {}
    claims: dict[str, int] = {}
    guards: list[bytes] = []
    documents = entries = ""
    words, count = OTHER_WORDS + _DELETE_WORDS * len(rows), 0
    for number, (row, packer) in enumerate(rows, 1):
        name, stored = packer.document + row.key, row.stored
        documents += f"${len(name)}\r\n{name}\r\n"
        if row.document:
            same, size = NUMBERS[number].encode(), len(row.document)
            guards.append(b"$4\r\nsame\r\n%b$%d\r\n%b\r\n" % (same, size, row.document))
            words += 3
        else:
            revision, writer = str(stored.revision), op_of(stored)
            guards.append(
                f"$8\r\nrevision\r\n{NUMBERS[number]}${len(revision)}\r\n{revision}\r\n"
                f"${len(writer)}\r\n{writer}\r\n".encode()
            )
            words += 4
        for entity, view, values, members in row.counts:
            key = packer.partition.view(entity.name, view, values)
            if not key.isascii():
                return None
            place = views.setdefault(key, len(views) + 1)
            guards.append(f"$5\r\ncount\r\n{NUMBERS[place]}{NUMBERS[members]}".encode())
            words += 3
    for number, (row, packer) in enumerate(rows, 1):
        left, count = packer.left(row.stored.snapshot, views, claims)
        member = f"{row.entity.name}:{row.key}"
        entries += f"$6\r\ndelete\r\n{NUMBERS[number]}${len(member)}\r\n{member}\r\n{NUMBERS[count]}{left}"
        words += count
    packer = rows[0][1]
    first_view = FIXED_KEYS + len(rows)
    first_claim = first_view + len(views)
    keys = first_claim + len(claims)
    names = "".join(map(packed_word, (*views, *claims)))
    front = (
        f"*{words + keys}\r\n$7\r\nEVALSHA\r\n{packed_word(sha)}{NUMBERS[keys]}{packer.fixed(ticket.session)}"
        f"{documents}{names}{packed_word(op)}{NUMBERS[ticket.slot]}{packed_word(str(ticket.sequence))}"
        f"{packed_word(str(until))}{packer.grace}{NUMBERS[first_view]}{NUMBERS[first_claim]}"
        f"{packed_word('renew' if renew else '')}$0\r\n\r\n{packer.writer}{NUMBERS[shown]}"
        f"{_DELETES_AND_RELEASES if claims else _DELETES}"
    )
    if not (front.isascii() and entries.isascii()):
        return None
    return Packed(b"%b%b$4\r\nrows\r\n%b" % (front.encode(), b"".join(guards), entries.encode()))
