"""The plan that deletes rows, as the bytes of its command.

As in `changes.packed`, the plan is built only if the server answers with anything but OK. A test compares both, word for word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from keyweave.changes.answer import Ticket
from keyweave.changes.change import Change
from keyweave.changes.packed import NUMBERS, RowPacker, packed_word
from keyweave.changes.plan import FIXED_KEYS, OTHER_WORDS
from keyweave.changes.verbs import commands_of
from keyweave.document.codec import op_of
from keyweave.effects import Packed

_DELETES: Final = packed_word(commands_of(("delete", "ledger")))
_DELETES_AND_RELEASES: Final = packed_word(commands_of(("delete", "release", "ledger")))
_DELETE_WORDS: Final = 4
"""Words of a row that is deleted, without those of its entries."""
_GUARDS: Final = {guard: packed_word(guard) for guard in ("revision", "unchanged", "same")}


def may_pack(change: Change) -> bool:
    """Return whether a change deletes a row and nothing else, and is guarded by what the store held of it."""
    return change.prepared is None and change.guard in _GUARDS and not change.dangling


def pack_removals(
    rows: Sequence[tuple[Change, RowPacker]],
    op: str,
    ticket: Ticket,
    until: int,
    *,
    sha: str,
    renew: bool,
    shown: bool,
) -> Packed | None:
    """Return the command of the first try to delete rows of one partition.

    Args:
        rows: changes that `may_pack`, each with what packs the plans of its entity.
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
        name, guard = packer.document + row.key, _GUARDS[row.guard]
        documents += f"${len(name)}\r\n{name}\r\n"
        if row.guard == "same":
            guards.append(f"{guard}{NUMBERS[number]}${len(row.document)}\r\n".encode())
            guards.append(b"%b\r\n" % row.document)
            words += 3
        else:
            assert row.old is not None
            revision, writer = str(row.old.revision), op_of(row.old)
            guards.append(
                f"{guard}{NUMBERS[number]}${len(revision)}\r\n{revision}\r\n"
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
        assert row.old is not None
        left, count = packer.left(row.old.snapshot, views, claims)
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
