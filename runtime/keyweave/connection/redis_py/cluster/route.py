"""Where a command goes: the slot of its key. Every key of a store begins with the hash tag of its partition."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

from redis.crc import key_slot

from keyweave.effects import Command, Word

N = TypeVar("N")

SLOTS: Final = 16_384

_TAGS: Final = 20_000
"""Most hash tags whose slots are remembered."""

_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_WILD: Final = re.compile(r"(?<!\\)(?:\\\\)*[*?\[]")

_slots: dict[Word, int] = {}


def slot_of_tag(tag: str | bytes) -> int:
    """Return the slot of a hash tag with its braces."""
    slot = _slots.get(tag)
    if slot is None:
        if len(_slots) >= _TAGS:
            _slots.clear()
        slot = _slots[tag] = key_slot(tag.encode() if isinstance(tag, str) else tag)
    return slot


def tag_of(word: Word) -> str | bytes | None:
    """Return the hash tag at the beginning of a word; None if the word is no key of a store."""
    if isinstance(word, str):
        return word[: word.find("}") + 1] if word.startswith("{") and "}" in word else None
    if isinstance(word, bytes):
        return word[: word.find(b"}") + 1] if word.startswith(b"{") and b"}" in word else None
    return None


def slot_of(command: Command) -> int | None:
    """Return the slot of a command's first key; None for a command without a key."""
    if command[0] == "SCAN":
        return None
    for word in command[1:]:
        if (tag := tag_of(word)) is not None:
            return slot_of_tag(tag)
    return None


def only_slot(commands: Sequence[Command]) -> int | None:
    """Return the slot of a pipeline whose keys are all in one partition; None for any other, and where a cursor is sent."""
    found: Word | None = None
    for command in commands:
        verb = command[0]
        if verb in CURSORS or verb == "DBSIZE":
            return None
        place = 3 if verb == "EVALSHA" else 1
        if len(command) <= place:
            continue  # TIME and the like go along
        tag = tag_of(command[place])
        if tag is None or (found is not None and tag != found):
            return None
        found = tag
    return None if found is None else slot_of_tag(found)  # type: ignore[arg-type]


def by_owner(
    commands: Sequence[Command], owners: dict[Word, N], owner: Callable[[int], N | None]
) -> dict[N, list[int]] | None:
    """Return the places of a pipeline's commands by the node that serves the slot of their first key.

    TIME goes along with the command before it.

    Args:
        owners: remembers the nodes by what the keys of a partition begin with, as long as no slot has another owner.
        owner: returns the node of a slot, if one is known.

    Returns:
        None if a command has no key, or a cursor, or belongs to a transaction, or no node is known.
    """
    found: dict[N, list[int]] = {}
    node: N | None = None
    verb, number = None, 1
    for place, command in enumerate(commands):
        if command[0] is not verb:
            verb = command[0]
            number = _KEYS.get(verb, 1)
        if len(command) <= number:
            if command[0] != "TIME" or node is None:
                return None
            found[node].append(place)
            continue
        if not number:
            return None
        word = command[number]
        # This runs for each command of every pipeline, so what a key begins with is examined once.
        if type(word) is str:
            begin: Word = word.partition("}")[0]
        elif type(word) is bytes:
            begin = word.partition(b"}")[0]
        else:
            return None
        node = owners.get(begin)
        if node is None:
            tag = tag_of(word)
            node = owner(slot_of_tag(tag)) if tag is not None else None
            if node is None:
                return None
            if len(owners) >= _TAGS:
                owners.clear()
            owners[begin] = node
        if node in found:
            found[node].append(place)
        else:
            found[node] = [place]
    return found


CURSORS: Final = {"SCAN": 1, "HSCAN": 2, "ZSCAN": 2}
"""Commands with a cursor, and the place of the cursor among their words. A cursor is of use on the node that gave it only."""

_KEYS: Final[dict[Word, int]] = {"EVALSHA": 3, **dict.fromkeys(CURSORS, 0)}
"""The place of the first key where it is not the first argument; 0 for commands with a cursor."""


CONFIRMING: Final = frozenset({"WAIT", "WAITAOF"})
"""Commands that say what has been confirmed of everything that was sent before them on the same connection."""


def scanned_tag(command: Command) -> str | None:
    """Return the hash tag that the pattern of a SCAN names; None for a pattern of several tags."""
    words = tuple(command)
    pattern = str(words[words.index("MATCH") + 1]) if "MATCH" in words else ""
    tag, brace, _ = pattern.partition("}")
    if not tag.startswith("{") or not brace or _WILD.search(tag):
        return None
    return _ESCAPED.sub(r"\1", tag) + brace


def split_by_slot(command: Command) -> Iterator[tuple[list[int], Command]]:
    """Yield a command with many keys as one command for each slot, with the places of its keys among all keys."""
    places: dict[int | None, list[int]] = {}
    for place, key in enumerate(command[1:]):
        tag = tag_of(key)
        places.setdefault(None if tag is None else slot_of_tag(tag), []).append(place)
    for each in places.values():
        yield each, (command[0], *(command[1 + place] for place in each))
