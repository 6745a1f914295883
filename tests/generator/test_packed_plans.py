"""A packed plan has the words of the plan that it stands for, for every accepted schema and random rows."""

from __future__ import annotations

import importlib
import random
from typing import Any

import pytest
from msgspec import structs

from keyweave.changes.change import Change, replacement
from keyweave.changes.packed import Numbers
from keyweave.changes.removal import may_pack, pack_removals
from keyweave.commit.compose import plan_of
from keyweave.document.codec import Codec, Prepared
from keyweave.document.head import write_head
from keyweave.effects import Packed
from keyweave.errors import ValidationError
from keyweave.exchange.apply import Begun, begin
from keyweave.model.record import Stored, remember
from keyweave.opening.prepare import prepare
from keyweave.store.context import Context
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import NAMES, Corpus, sources
from tests.schemas.rows import row

PAIRS = 60


def as_text(word: Any) -> str:
    return word.decode() if isinstance(word, bytes) else str(word)


def planned(
    context: Context, codec: Codec, prepared: Prepared, stored: Stored | None, begun: Begun, *, shown: bool
) -> list[str]:
    """The words of the plan that is built."""
    plan = plan_of(context, [replacement(codec, prepared.snapshot, stored, prepared)], (), begun)
    if shown:
        plan.show_on_refusal(prepared.entity, prepared.key)
    command = plan.command(
        context.scripts["apply"].sha,
        "EVALSHA",
        ticket=begun.ticket,
        until=begun.until,
        grace_ms=context.policy.grace_ms,
        renew=begun.renew,
        again=False,
        writer=context.package.writer,
        clustered=False,
    )
    return list(map(as_text, command))


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_plan_has_the_words_of_the_plan(name: str, corpus: Corpus) -> None:
    schema, package = load_sources(sources(name)), corpus.load(name)
    _, context = prepare(
        importlib.import_module(f"{package.__name__}.package").PACKAGE, "redis://nowhere", namespace="packed"
    )
    draw = random.Random(name)
    compared = 0
    for entity in schema.entities:
        descriptor = context.package.entities[entity.name]
        # Rows are drawn without regard to checks, which have no part in plans.
        unchecked = structs.replace(descriptor, check=lambda record: None)
        codec, packer = Codec(unchecked, context.codecs[entity.name].retention), context.packer(descriptor)
        assert packer is not None
        for _ in range(PAIRS):
            first = row(draw, package, schema, entity, {}, refers=True)
            key = {part.name: getattr(first, part.name) for part in entity.key_parts}
            second = row(draw, package, schema, entity, key, refers=True)
            stored: Stored | None = None
            for record in (first, second, second):
                if stored is not None:
                    remember(record, stored)
                try:
                    prepared = codec.prepare(record, stored)
                except ValidationError:
                    continue
                begun = begin(context, packer.partition)
                begun.renew, shown = draw.random() < 0.5, draw.random() < 0.5
                packed = packer.put(
                    prepared, stored, begun.op, begun.ticket, begun.until, renew=begun.renew, shown=shown
                )
                words = planned(context, codec, prepared, stored, begun, shown=shown)
                if packed is None:
                    assert not "".join(words).replace(as_text(prepared.body), "").isascii()
                else:
                    assert list(packed) == words
                    compared += 1
                revision = draw.randrange(10**15, 10**16)
                stored = codec.memory(prepared, revision, revision - 5, 0, f"{draw.getrandbits(72):018x}")
    assert compared > PAIRS


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_plan_that_deletes_rows_has_the_words_of_the_plan(name: str, corpus: Corpus) -> None:
    schema, package = load_sources(sources(name)), corpus.load(name)
    _, context = prepare(
        importlib.import_module(f"{package.__name__}.package").PACKAGE, "redis://nowhere", namespace="packed"
    )
    draw, compared = random.Random(name), 0
    for group in sorted({entity.group for entity in schema.entities}):
        removals: list[Change] = []
        for entity in schema.entities:
            descriptor = context.package.entities[entity.name]
            codec = Codec(structs.replace(descriptor, check=lambda record: None), 0)
            for _ in range(PAIRS if entity.group == group else 0):
                record = row(draw, package, schema, entity, {}, refers=True)
                try:
                    prepared = codec.prepare(record, None)
                except ValidationError:
                    continue
                removals.append(removal_of(draw, context, codec, prepared))
        for _ in range(3 * PAIRS):
            some = draw.sample(removals, min(len(removals), draw.choice([1, 1, 2, 4])))
            if len({(each.entity.name, each.key) for each in some}) < len(some) or not some:
                continue
            compared += require_same_words(draw, context, some)
    assert compared > PAIRS / 2


def removal_of(draw: random.Random, context: Context, codec: Codec, prepared: Prepared) -> Change:
    """The removal of a row, guarded by its document or by its revision, with rows that refer to it or none."""
    revision = draw.randrange(10**15, 10**16)
    stored = codec.memory(prepared, revision, revision - 5, 0, f"{draw.getrandbits(72):018x}")
    entity, key = context.package.entities[codec.entity.name], prepared.key
    document = write_head(revision, revision - 5, 0, stored.op) + prepared.body
    counts: list[tuple[Any, str, tuple[str, ...], int]] = [
        (each.entity, each.reference.via, (key,), draw.randrange(3))
        for each in context.package.referrers[entity.name]
    ]
    guard = draw.choice(["revision", "unchanged", "same"])
    change = Change(
        entity,
        key,
        old=stored,
        prepared=None,
        guard=guard,
        document=document if guard == "same" else b"",
    )
    change.counts = counts
    assert may_pack(change)
    return change


def require_same_words(draw: random.Random, context: Context, some: list[Change]) -> bool:
    """Compare the packed plan that deletes rows with the plan that is built; return whether it was packed."""
    packers = [context.packer(each.entity) for each in some]
    rows = [(each, packer) for each, packer in zip(some, packers, strict=True) if packer is not None]
    assert len(rows) == len(some)
    begun = begin(context, rows[0][1].partition)
    begun.renew, shown = draw.random() < 0.5, draw.random() < 0.5
    sha = context.scripts["free"].sha
    packed = pack_removals(rows, begun.op, begun.ticket, begun.until, sha=sha, renew=begun.renew, shown=shown)
    plan = plan_of(context, some, (), begun)
    assert plan.only_removes
    if shown:
        plan.show_on_refusal(some[0].entity, some[0].key)
    command = plan.command(
        sha,
        "EVALSHA",
        ticket=begun.ticket,
        until=begun.until,
        grace_ms=context.policy.grace_ms,
        renew=begun.renew,
        again=False,
        writer=context.package.writer,
        clustered=False,
    )
    words = list(map(as_text, command))
    if packed is None:
        documents = [each.document.decode() for each in some]
        assert not "".join(word for word in words if word not in documents).isascii()
        return False
    assert list(packed) == words
    return True


def test_words_come_out_of_the_bytes_as_they_went_in() -> None:
    packed = Packed(b"*3\r\n$3\r\nSET\r\n$6\r\n\xc3\xa4$1\r\n\r\n$0\r\n\r\n")
    assert packed.words() == tuple(packed) == ("SET", "ä$1\r\n", "")
    assert (packed[0], packed[1:], len(packed), "SET" in packed) == ("SET", ("ä$1\r\n", ""), 3, True)


@pytest.mark.parametrize("first", [False, 0, True, 1])
def test_a_flag_and_its_number_are_packed_alike(first: int) -> None:
    numbers = Numbers()
    assert numbers[first] == f"$1\r\n{int(first)}\r\n"
    assert (numbers[0], numbers[False], numbers[1], numbers[True]) == ("$1\r\n0\r\n",) * 2 + (
        "$1\r\n1\r\n",
    ) * 2
