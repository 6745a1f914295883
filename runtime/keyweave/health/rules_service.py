"""Rules about what a managed service or an access rule refuses: which part of Keyweave is reduced, and which option it needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from keyweave.health.limits import Limits
from keyweave.health.report import Finding, Health, Severity

_REDUCED: Final = {
    "no-config": "Without CONFIG, appendfsync and snapshots are unknown, so findings about durability are incomplete.",
    "no-scan": "Without SCAN, check, reindex, backfill and export do not work, and entries of rows that the server "
    "freed before a sweep stay.",
    "declared-keys": "With declared keys only, pages, lookups and cascades take more exchanges, and searches "
    "intersect no views.",
    "short-commands": "With short commands, large cascades and bulk writes go in chunks, and large transactions are refused.",
    "one-database": "With one database, no URL may name another one: namespaces separate applications.",
}
"""What each restriction reduces. The others reduce nothing: a script is sent whole to a server that does not know it, and has keys."""


def restricted(health: Health, _: Limits) -> Iterator[Finding]:
    """What a service refuses decides what Keyweave can do there."""
    found = health.server.restrictions
    reduced = [_REDUCED[each] for each in found if each in _REDUCED]
    if reduced:
        yield Finding(
            id="service-restricted",
            severity=Severity.NOTICE,
            what=f"The service, or the rule of this user, has restrictions: {health.server.restricted}.",
            why=" ".join(reduced),
            action="docs/topologies.md has a table of managed services. If it is the rule of this user, examine the server with "
            "the user of the admin tool.",
            command="keyweave acl --for admin",
        )


def short_commands(health: Health, _: Limits) -> Iterator[Finding]:
    """A service that refuses long commands needs an option."""
    if "short-commands" in health.server.restrictions and health.command_words is None:
        yield Finding(
            id="commands-too-long",
            severity=Severity.WARNING,
            what="The service refuses a command of 4,000 words, and the option command_words is not set.",
            why="A cascade of a hundred rows, a bulk write or a large transaction sends longer ones, and fails.",
            action="Set command_words=3999 in Store.open or Store.over, and in the URL that this tool uses.",
            command="keyweave doctor --url 'rediss://HOST:6379?command_words=3999'",
        )
