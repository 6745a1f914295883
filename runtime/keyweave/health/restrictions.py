"""Restrictions of a managed service that an examination finds only by exchanges of their own: `keyweave doctor` sends them."""

from __future__ import annotations

from typing import Final

from keyweave.effects import Command, ConnectionFailure, Flow, Reply, Send, ServerError
from keyweave.health.connect import lasting
from keyweave.store.context import Context

_ONE: Final = "#!lua flags=no-writes\nreturn 1"

_WORDS: Final = 4_000
"""One word more than services with short commands accept."""


def costly_restrictions(context: Context, database: int) -> Flow[list[str]]:
    """Find out whether there are other databases and whether long commands are refused. Nothing is written or retried.

    A command that is longer than the policy's `command_words` is not sent.

    Args:
        database: the number of the connection's database, which stays selected.
    """
    found: list[str] = []
    if not context.clustered and (yield from _has_one_database(database)):
        found.append("one-database")
    if context.policy.command_words is None and (yield from _refuses_long_commands(context)):
        found.append("short-commands")
    return found


def _has_one_database(database: int) -> Flow[bool]:
    """Return whether another database is refused. A cluster is not asked: it has one by its nature."""
    try:
        replies: list[Reply] = yield Send((("SELECT", 1 if database == 0 else 0), ("SELECT", database)))
    except ConnectionFailure:
        return False
    # The refusal of a user without the permission says nothing about the databases of the server.
    return type(replies[0]) is ServerError and replies[0].code == "ERR"


def _refuses_long_commands(context: Context) -> Flow[bool]:
    clock = context.keyspace.partitions()[0].clock
    command: Command = ("EVAL", _ONE, 1, clock, *["x"] * (_WORDS - 4))
    try:
        (reply,) = yield Send((command,))
    except ConnectionFailure as failure:
        return (
            failure.reason == "closed"
        )  # a proxy that counts words may close the connection instead of an answer
    return lasting(reply)
