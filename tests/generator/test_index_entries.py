"""`index_entries` of two states, for every accepted schema: the entries in which they differ, without going through all of them."""

from __future__ import annotations

import importlib
import random
from collections.abc import Iterable
from math import isnan
from typing import Any

import pytest

from keyweave.model.entry import REVISION, Entry, ViewEntry
from keyweave_generator.load import load_sources
from tests.generator.accepted.corpus import NAMES, Corpus, sources
from tests.schemas.rows import row

PAIRS = 60


def moving(entries: Iterable[Entry]) -> list[Entry]:
    """The entries that move with every write."""
    return [each for each in entries if isinstance(each, ViewEntry) and each.score == REVISION]


def without(entries: Iterable[Entry], others: list[Entry]) -> list[Entry]:
    return [each for each in entries if each not in others]


@pytest.mark.parametrize("name", NAMES)
def test_the_changes_of_two_states_are_what_their_entries_differ_in(name: str, corpus: Corpus) -> None:
    schema, package = load_sources(sources(name)), corpus.load(name)
    descriptors = importlib.import_module(f"{package.__name__}.package").PACKAGE.entities
    draw = random.Random(name)
    for entity in schema.entities:
        descriptor = descriptors[entity.name]
        key: dict[str, Any] = {}
        key |= {
            part.name: getattr(row(draw, package, schema, entity, {}, refers=True), part.name)
            for part in entity.key_parts
        }
        for _ in range(PAIRS):
            before, after = (row(draw, package, schema, entity, key, refers=True) for _ in range(2))
            old, new = descriptor.entries(before), descriptor.entries(after)
            removed, added = descriptor.entries(before, after), descriptor.entries(after, before)
            assert without(removed, added) == without(old, new)
            assert without(added, removed) == without(new, old)
            assert moving(added) == moving(new)
            values = [getattr(before, field) for field in before.__struct_fields__]
            if not any(isinstance(value, float) and isnan(value) for value in values):
                assert descriptor.entries(before, before) == moving(old)
