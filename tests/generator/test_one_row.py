"""Plans of one row, and of several that are deleted, on a real server: a key of the wrong type leaves everything as it was."""

from __future__ import annotations

import importlib
import random
from collections.abc import Mapping
from typing import Any

import pytest
from msgspec import structs

from keyweave.changes.change import Change, replacement
from keyweave.commit.compose import plan_of
from keyweave.document.codec import Codec
from keyweave.effects import Flow, Send, ServerError
from keyweave.errors import ValidationError
from keyweave.exchange.apply import begin
from keyweave.model.entry import ClaimEntry, ViewEntry
from keyweave.model.record import Stored, remember
from keyweave.opening.prepare import prepare
from keyweave.store.context import Context
from keyweave.sync.shell import Shell
from keyweave_generator.load import load_sources
from tests.contents import contents
from tests.generator.accepted.corpus import Corpus, sources
from tests.schemas.rows import row
from tests.servers.running import new_namespace, server_url

NAMES = ("atlas", "complete", "session")
"""Schemas with views in the orders of numbers, texts, creation and revision, and with unique constraints."""

ROWS = 4
FIXED_KEYS = 4
REFUSED = (b"EXISTS", b"TAKEN", b"CHANGED")
"""Rows are drawn without regard to each other."""

NEVER = 9 * 10**15
"""A latest time in the far future."""


class Site:
    """Plans of one row in a namespace, and every key of it."""

    def __init__(self, shell: Shell, context: Context) -> None:
        self.shell, self.context = shell, context

    def ask(self, *command: Any) -> Any:
        def flow() -> Flow[Any]:
            (reply,) = yield Send((command,))
            return reply

        return self.shell.run(flow())

    def keyspace(self) -> dict[bytes, Any]:
        """Every key with what it holds."""
        return contents(self.ask, self.context.keyspace.pattern())

    def plan(self, codec: Codec, record: Any, stored: Stored | None) -> tuple[Any, ...]:
        """The command that writes a record."""
        prepared = codec.prepare(record, stored)
        begun = begin(self.context, self.context.partition(codec.entity))
        self.context.state.ledger.answered(begun.ticket)
        plan = plan_of(self.context, [replacement(codec, prepared.snapshot, stored, prepared)], (), begun)
        command = plan.command(
            self.context.scripts["apply"].text,
            "EVAL",
            ticket=begun.ticket,
            until=NEVER,
            grace_ms=self.context.policy.grace_ms,
            renew=False,
            again=False,
            writer=self.context.package.writer,
            clustered=self.context.clustered,
        )
        return tuple(command)

    def removal(self, codec: Codec, rows: Mapping[str, Stored]) -> tuple[Any, ...]:
        """The command that deletes rows."""
        begun = begin(self.context, self.context.partition(codec.entity))
        self.context.state.ledger.answered(begun.ticket)
        entity = self.context.package.entities[codec.entity.name]
        changes = [
            Change(entity, key, old=stored, prepared=None, guard="revision") for key, stored in rows.items()
        ]
        plan = plan_of(self.context, changes, (), begun)
        command = plan.command(
            self.context.scripts["free"].text,
            "EVAL",
            ticket=begun.ticket,
            until=NEVER,
            grace_ms=self.context.policy.grace_ms,
            renew=False,
            again=False,
            writer=self.context.package.writer,
            clustered=self.context.clustered,
        )
        return tuple(command)

    def stored(self, codec: Codec, record: Any, stored: Stored | None, op: str, reply: Any) -> Stored:
        """What the store holds after a write."""
        revision, created, expires = map(int, reply[1:])
        return codec.memory(codec.prepare(record, stored), revision, created, expires, op)


@pytest.mark.parametrize("name", NAMES)
def test_a_key_of_the_wrong_type_leaves_every_key_as_it_was(name: str, corpus: Corpus) -> None:
    schema, package = load_sources(sources(name)), corpus.load(name)
    settings, context = prepare(
        importlib.import_module(f"{package.__name__}.package").PACKAGE,
        server_url(),
        namespace=new_namespace(name),
    )
    draw, damaged = random.Random(name), 0
    with Shell(settings) as shell:
        site = Site(shell, context)
        for entity in schema.entities:
            referring = {reference.field for reference in entity.references}
            if any(field.name in referring and not field.optional for field in entity.fields):
                continue
            descriptor = context.package.entities[entity.name]
            codec = Codec(structs.replace(descriptor, check=lambda record: None), 0)
            site.ask("HSET", context.partition(descriptor).schema, "current", context.package.writer)
            rows: dict[str, Stored] = {}
            for _ in range(ROWS):
                first = row(draw, package, schema, entity, {}, refers=False)
                key = {part.name: getattr(first, part.name) for part in entity.key_parts}
                second = row(draw, package, schema, entity, key, refers=False)
                stored: Stored | None = None
                for record in (first, second, second):
                    if stored is not None:
                        remember(record, stored)
                    try:
                        command = site.plan(codec, record, stored)
                    except ValidationError:
                        break
                    documents = int(command[3 + int(command[2]) + 5]) - FIXED_KEYS
                    for index in command[3 + FIXED_KEYS + documents : 3 + int(command[2])]:
                        kept = site.ask("DUMP", index)
                        site.ask("DEL", index)
                        site.ask("LPUSH", index, "damage")
                        before = site.keyspace()
                        reply = site.ask(*site.plan(codec, record, stored))
                        if isinstance(reply, ServerError):
                            assert reply.code == "WRONGTYPE"
                            damaged += 1
                        else:
                            assert reply[0] in REFUSED
                        assert site.keyspace() == before
                        site.ask("DEL", index)
                        if kept is not None:
                            site.ask("RESTORE", index, 0, kept)
                    command = site.plan(codec, record, stored)
                    reply = site.ask(*command)
                    if reply[0] != b"OK":
                        break
                    op = str(command[3 + int(command[2])])
                    stored = site.stored(codec, record, stored, op, reply)
                if stored is not None:
                    rows[codec.entity.key_of(codec.snapshot_of(stored))] = stored
            alone = dict([rows.popitem()]) if rows else {}
            for some in filter(None, (alone, rows)):
                damaged += require_whole_delete(site, codec, some)
    assert damaged > ROWS


def require_whole_delete(site: Site, codec: Codec, rows: Mapping[str, Stored]) -> int:
    """Delete rows while one of their keys after another has the wrong type, and then in earnest; return how often it was refused."""
    command, refused = site.removal(codec, rows), 0
    for index in command[3 + FIXED_KEYS + len(rows) : 3 + int(command[2])]:
        kept = site.ask("DUMP", index)
        site.ask("DEL", index)
        site.ask("LPUSH", index, "damage")
        before = site.keyspace()
        reply = site.ask(*site.removal(codec, rows))
        assert isinstance(reply, ServerError)
        assert reply.code == "WRONGTYPE"
        assert site.keyspace() == before
        refused += 1
        site.ask("DEL", index)
        if kept is not None:
            site.ask("RESTORE", index, 0, kept)
    before = site.keyspace()
    assert site.ask(*site.removal(codec, rows))[0] == b"OK"
    found = site.keyspace()
    partition, name = site.context.partition(codec.entity), codec.entity.name
    for key, stored in rows.items():
        document = partition.document(name, key).encode()
        assert document in before and document not in found
        for entry in codec.entity.entries(stored.snapshot):
            if isinstance(entry, ViewEntry):
                assert (
                    site.ask("ZSCORE", partition.view(name, entry.view, entry.values), entry.member) is None
                )
            elif isinstance(entry, ClaimEntry):
                assert site.ask("HGET", partition.claims(name, entry.unique), entry.value) != key.encode()
    return refused
