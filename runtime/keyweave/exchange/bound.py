"""Keeping commands within the policy's `command_words`, for servers that refuse longer ones.

A command of many keys that only reads or deletes goes in parts, in the same pipeline. Its reply is put together again. Plans and
scripts cannot be cut here: their callers make smaller ones, and one that is too long is refused before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, TypeVar

from keyweave.effects import Command, Reply, ServerError, Word
from keyweave.errors import TransactionTooLargeError
from keyweave.store.context import Context

T = TypeVar("T")

_REPEATED: Final = {"MGET": 1, "EXISTS": 1, "UNLINK": 1, "ZMSCORE": 2}
"""Commands that may be sent in parts, and how many of their first words each part repeats."""

MOST_STREAMS: Final = 64
"""Maximum number of streams of one query; a filter that needs more is compared on documents."""

_WORDS_OF_A_STREAM: Final = 4
"""The most words of a script call for one of its lists: its key, the length of its group, and two ends."""

_WORDS_OF_A_CALL: Final = 4
"""The words of a call of a script that are no keys, with one argument."""

_OTHER_WORDS: Final = 20
"""More words than such a call has beside them, and more than a plan has without its rows."""


def most_lists(context: Context) -> int | None:
    """Return the maximum number of lists in one call of a script; None for any number."""
    most = context.policy.command_words
    return None if most is None else (most - _OTHER_WORDS) // _WORDS_OF_A_STREAM


def most_streams(context: Context) -> int:
    """Return the maximum number of streams that a plan of a query may have."""
    return min(MOST_STREAMS, most_lists(context) or MOST_STREAMS)


def require_fit(context: Context, words: int) -> None:
    """Refuse a command that has too many words.

    Raises:
        TransactionTooLargeError: it may not be sent.
    """
    most = context.policy.command_words
    if most is not None and words > most:
        raise TransactionTooLargeError(
            f"one atomic step needs a command of {words:,} words, and the option command_words permits {most:,}",
            words=words,
            most=most,
        )


def most_keys(context: Context) -> int | None:
    """Return the maximum number of keys in one call of a script that has one argument; None for any number."""
    most = context.policy.command_words
    return None if most is None else most - _WORDS_OF_A_CALL


def too_long(context: Context, keys: Sequence[Word], arguments: Sequence[Word]) -> bool:
    """Return whether a call of a script would have too many words."""
    most = context.policy.command_words
    return most is not None and 3 + len(keys) + len(arguments) > most


def bounded(context: Context, commands: Sequence[Command]) -> tuple[Sequence[Command], list[int] | None]:
    """Return commands of which none is too long, and of how many of them each given one is made; None if all are the same.

    Raises:
        TransactionTooLargeError: one of them is too long and cannot be sent in parts.
    """
    most = context.policy.command_words
    if most is None or all(len(command) <= most for command in commands):
        return commands, None
    sent: list[Command] = []
    parts: list[int] = []
    for command in commands:
        before = len(sent)
        repeated = _REPEATED.get(str(command[0]))
        if len(command) <= most or repeated is None:
            require_fit(context, len(command))
            sent.append(command)
        else:
            head, step = command[:repeated], most - repeated
            sent += [(*head, *command[start : start + step]) for start in range(repeated, len(command), step)]
        parts.append(len(sent) - before)
    return sent, parts


def joined(replies: Sequence[Reply], parts: Sequence[int]) -> list[Reply]:
    """Return the replies to the commands that were given to `bounded`."""
    following = iter(replies)
    return [_joined(list(islice(following, number))) for number in parts]


def _joined(replies: list[Reply]) -> Reply:
    """Return the reply to a command from the replies to its parts: one list, or the sum of their numbers."""
    refusal = next((reply for reply in replies if type(reply) is ServerError), None)
    if len(replies) == 1 or refusal is not None:
        return refusal or replies[0]
    if isinstance(replies[0], list):
        return [each for reply in replies for each in reply]
    return sum(replies)


def divided(rows: Sequence[T], error: TransactionTooLargeError) -> Iterator[list[T]]:
    """Yield rows whose plan was refused in the fewest parts of equal size that are likely to fit: two at least."""
    number = max(2, -(-(error.words - _OTHER_WORDS) // max(1, error.most - _OTHER_WORDS)))
    size = max(1, -(-len(rows) // number))
    for start in range(0, len(rows), size):
        yield list(rows[start : start + size])
